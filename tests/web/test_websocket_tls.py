"""WebSockets over TLS, from the client's first byte to the last: what TCP can do, TLS can."""

import anyio
import pytest

from structweb import web
from structweb.testing import ClientWebSocket, connect_websocket
from tests.server.links import client_context, server_context

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

#: Seconds before a test that waits for the other end fails.
PATIENCE = 20


class House:
    """Handlers behind TLS, and what they tell."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.ended = anyio.Event()
        app = web.Application()
        app.router.add_get("/echo", self.echo)
        app.router.add_get("/heart", self.heart)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=PATIENCE)

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=PATIENCE)
        await ws.prepare(request)
        self.told.append(request.scheme)
        async for message in ws:
            await (ws.send_str if message.type is web.WSMsgType.TEXT else ws.send_bytes)(message.data)
        self.told.append(ws.close_code)
        self.ended.set()
        return ws

    async def heart(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=0.1, timeout=PATIENCE)
        await ws.prepare(request)
        async for message in ws:
            self.told.append(type(message.data))
        self.told.append(ws.close_code)
        self.ended.set()
        return ws

    async def open(self) -> None:
        """Listen."""
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=server_context()).start()

    async def enter(self, path: str, **options: object) -> ClientWebSocket:
        """Connect a client."""
        port = self.runner.addresses[0][1]
        return await connect_websocket(f"wss://localhost:{port}{path}", ssl_context=client_context(), **options)


@pytest.fixture
async def house(anyio_backend):
    house = House()
    await house.open()
    try:
        with anyio.fail_after(PATIENCE):
            yield house
    finally:
        await house.runner.cleanup()


async def test_an_echo_and_a_close_handshake(house):
    async with await house.enter("/echo") as ws:
        for number in range(50):
            await ws.send_str(f"{number}")
            assert await ws.receive_str() == f"{number}"
        await ws.send_bytes(b"")
        assert await ws.receive_bytes() == b""
    assert ws.close_code == 1000
    await house.ended.wait()
    assert house.told == ["https", 1000]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "deflate"])
async def test_messages_of_many_records(house, compress):
    """Three megabytes are 200 records of TLS, more than any buffer holds, and come back whole."""
    data = bytes(range(256)) * 4096 * 3
    async with await house.enter("/echo", compress=compress) as ws, anyio.create_task_group() as group:
        group.start_soon(ws.send_bytes, data)
        assert await ws.receive_bytes() == data
    assert ws.close_code == 1000


async def test_a_peer_that_answers_lives_and_one_that_does_not_is_dropped(house):
    """Over TLS a cut cable looks like one over TCP: nothing comes."""
    async with await house.enter("/heart") as ws:
        with pytest.raises(TimeoutError):
            await ws.receive(timeout=0.5)  # answers pings meanwhile: three at least
        assert not ws.closed
        assert house.told == []
        ws.stall()
        await house.ended.wait()
    assert house.told == [TimeoutError, 1006]


async def test_a_peer_that_vanishes(house):
    """No close frame, no close_notify."""
    ws = await house.enter("/echo")
    ws.vanish()
    await house.ended.wait()
    assert house.told == ["https", 1006]
    await ws.stream.aclose()


async def test_a_shutdown_says_1001():
    """And waits for the answer, not for its time to be over."""
    house = House()

    async def hear(ws: ClientWebSocket) -> None:
        async for _ in ws:
            pass
        await ws.wait_ended()
        await ws.stream.aclose()

    async with anyio.create_task_group() as group:
        await house.open()
        try:
            ws = await house.enter("/echo")
            await ws.send_str("here")
            assert await ws.receive_str() == "here"
            group.start_soon(hear, ws)
            start = anyio.current_time()
        finally:
            await house.runner.cleanup()
    assert anyio.current_time() - start < PATIENCE / 2
    assert (ws.close_code, house.told) == (1001, ["https", 1001])
