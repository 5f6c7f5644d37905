"""WebSockets over real sockets: what a pipe cannot show."""

import anyio
import pytest

from structweb import web
from structweb._server.departures import ClientConnectionResetError
from tests.server.links import settled
from tests.web.frames import CLOSE, PING, PONG, TEXT, UPGRADE, close, frame, text
from tests.web.loopback import PATIENCE, connect
from tests.web.served import get

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


class SocketPeer:
    """The client's side of a WebSocket over TCP."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self.stream = stream
        self.data = b""

    async def exactly(self, count: int) -> bytes:
        """Read so many bytes."""
        with anyio.fail_after(PATIENCE):
            while len(self.data) < count:
                self.data += await self.stream.receive()
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    async def shake_hands(self, path: str) -> None:
        """Become a WebSocket."""
        await self.stream.send(get(path, *UPGRADE))
        while b"\r\n\r\n" not in self.data:
            self.data += await self.stream.receive()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")

    async def next(self) -> tuple[int, bytes]:
        """Read the next frame."""
        first, size = await self.exactly(2)
        if size == 126:
            size = int.from_bytes(await self.exactly(2), "big")
        return first & 15, await self.exactly(size)

    async def ended(self) -> None:
        """Wait for the server's end."""
        with anyio.fail_after(PATIENCE), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await self.stream.receive()


@pytest.fixture
async def room(anyio_backend):  # noqa: C901 - five handlers
    """Serve some handlers; lend what makes peers, and what the handlers tell."""
    told: list[object] = []

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=2, heartbeat=0.2 if request.path == "/heart" else None)
        await ws.prepare(request)
        async for message in ws:
            if message.type is web.WSMsgType.ERROR:
                told.append(type(message.data))
            else:
                await ws.send_str(message.data)
        told.append(ws.close_code)
        return ws

    async def cancelled(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        request.cancel_scope.cancel()
        await anyio.sleep(10)
        return ws

    async def closing(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=2)
        await ws.prepare(request)
        async with anyio.create_task_group() as group:
            group.start_soon(ws.close)
            with anyio.fail_after(1):
                told.append((await ws.receive()).type)
        return ws

    async def ticking(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        try:
            while True:
                await ws.send_str("tick")
        except ClientConnectionResetError:
            told.append("reset")
        return ws

    app = web.Application(disconnect="finish")
    for path, handler in (
        ("/", echo),
        ("/heart", echo),
        ("/cancelled", cancelled),
        ("/closing", closing),
        ("/ticking", ticking),
    ):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()

        async def meet(path: str) -> SocketPeer:
            peer = SocketPeer(await connect(runner.addresses[0]))
            await peer.shake_hands(path)
            return peer

        yield meet, told
    finally:
        await runner.cleanup()


async def test_an_echo_and_a_close(room):
    meet, told = room
    peer = await meet("/")
    for number in range(100):
        await peer.stream.send(text(f"{number}") + frame(PING, b"?"))
        assert sorted([await peer.next(), await peer.next()]) == [(TEXT, b"%d" % number), (PONG, b"?")]
    await peer.stream.send(close(1001))
    assert (await peer.next())[0] == CLOSE
    await peer.ended()
    await peer.stream.aclose()
    assert told == [1001]


async def test_a_cancelled_handler_says_1011(room):
    meet, _ = room
    peer = await meet("/cancelled")
    assert await peer.next() == (CLOSE, b"\x03\xf3")
    await peer.ended()
    await peer.stream.aclose()


async def test_closing_wakes_who_receives(room):
    """The peer says nothing, and the handler knows at once."""
    meet, told = room
    peer = await meet("/closing")
    assert await peer.next() == (CLOSE, b"\x03\xe8")
    await peer.stream.send(close())
    await peer.ended()
    await peer.stream.aclose()
    assert told == [web.WSMsgType.CLOSING]


async def test_a_dead_peer_is_dropped(room):
    meet, told = room
    peer = await meet("/heart")
    assert (await peer.next())[0] == PING
    await peer.ended()
    await peer.stream.aclose()
    assert told == [TimeoutError, 1006]


async def test_a_sender_notices_that_its_peer_is_gone(room):
    """It never receives, and is not cancelled."""
    meet, told = room
    peer = await meet("/ticking")
    assert await peer.next() == (TEXT, b"tick")
    await peer.stream.aclose()
    await settled(lambda: bool(told))
    assert told == ["reset"]
