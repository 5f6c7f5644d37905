"""The WebSocket client over TCP and TLS."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSListener
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from structweb.testing import connect_socket, connect_websocket
from tests.server.links import client_context, server_context
from tests.testing.wsproto_server import Server

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

PATIENCE = 10  # seconds before a test that waits for the other end fails


@asynccontextmanager
async def listening(serve: Callable[[Server, Request], Awaitable[None]], *, tls: bool = False) -> AsyncIterator[str]:
    """Serve WebSockets on this machine; yield where."""

    async def meet(stream: ByteStream) -> None:
        async with stream:
            server = Server(stream)
            request = await server.hears()
            assert isinstance(request, Request)
            await server.says(AcceptConnection())
            await serve(server, request)

    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET)
    port = tcp.extra(anyio.abc.SocketAttribute.local_port)
    listener = TLSListener(tcp, server_context(), standard_compatible=False) if tls else tcp
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, meet)
        with anyio.fail_after(PATIENCE):
            yield f"ws{'s' if tls else ''}://localhost:{port}"
        group.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_conversation(tls):
    asked = []

    async def echo(server: Server, request: Request) -> None:
        asked.append((request.host, request.target))
        while isinstance(event := await server.hears(), TextMessage):
            await server.says(TextMessage(event.data.upper()))
        assert event == CloseConnection(1000, "")
        await server.says(CloseConnection(1000))

    async with listening(echo, tls=tls) as url:
        async with await connect_websocket(f"{url}/a%20b?c=d", ssl_context=client_context() if tls else None) as ws:
            await ws.send_str("aha")
            assert await ws.receive_str() == "AHA"
        assert ws.close_code == 1000
    assert asked == [(url.partition("//")[2], "/a%20b?c=d")]


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("fault", ["reset", "vanish", "half_close"])
async def test_faults(fault, tls):
    seen = anyio.Event()

    async def listen(server: Server, _: Request) -> None:
        try:
            assert await server.hears() is None
            assert (fault == "reset") is False
        except anyio.BrokenResourceError:
            assert fault == "reset"
        seen.set()

    async with (
        listening(listen, tls=tls) as url,
        await connect_websocket(url, ssl_context=client_context() if tls else None, close_timeout=1) as ws,
    ):
        left = getattr(ws, fault)()
        if left is not None:
            await left
        await seen.wait()


async def test_a_stalled_client_holds_its_server_back():
    """It reads nothing ahead: what the kernels do not hold stays with the server."""
    stuck = anyio.Event()

    async def flood(server: Server, _: Request) -> None:
        with anyio.move_on_after(0.2) as scope:
            await server.stream.send(bytes(32_000_000))  # a peer that reads takes that in a tenth of the time
        assert scope.cancelled_caught
        stuck.set()

    async with listening(flood) as url, await connect_websocket(url, buffer=4096) as ws:
        ws.stall()
        await stuck.wait()


async def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="cannot connect to 127.0.0.1"):
        await connect_websocket(f"ws://127.0.0.1:{port}/")


async def test_a_closed_stream():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await connect_socket(*listener.getsockname()[:2])
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")
        await stream.aclose()
