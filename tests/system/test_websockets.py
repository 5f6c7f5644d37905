"""WebSockets of a whole server in memory, on virtual time: hearts that stop, peers that stall, and the end."""

import anyio
import pytest

from structweb import web
from structweb.testing import ClientWebSocket, open_websocket
from tests.system.house import House, open_house

pytestmark = pytest.mark.anyio

INTERVAL = 30.0
#: What a shutdown gives cancelled handlers and aborted sockets behind its budget, at most.
GRACES = 0.2


class Ends:
    """What became of handlers: their close code, and when that was."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []
        self.times: list[float] = []

    def add(self, ws: web.WebSocketResponse) -> None:
        self.codes.append(ws.close_code)
        self.times.append(anyio.current_time())


def application(talk, **options) -> tuple[web.Application, Ends]:
    """Return an application whose one handler does `talk` with a WebSocket, and where it tells its end."""
    ends = Ends()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(**options)
        await ws.prepare(request)
        try:
            await talk(ws)
        finally:
            ends.add(ws)
        return ws

    app = web.Application()
    app.router.add_get("/", handler)
    return app, ends


async def listen(ws: web.WebSocketResponse) -> None:
    """Receive until the end."""
    async for _ in ws:
        pass


async def tell(ws: web.WebSocketResponse) -> None:
    """Send, and never receive."""
    for number in range(100):
        await ws.send_str(f"message {number}")
        await anyio.sleep(INTERVAL / 7)


async def think(ws: web.WebSocketResponse) -> None:
    """Neither send nor receive."""
    await anyio.sleep_forever()


async def visit(house: House, **options) -> ClientWebSocket:
    return await open_websocket(house.connect(), **options)


# -- heartbeats


@pytest.mark.parametrize("talk", [listen, tell, think])
async def test_a_peer_that_answers_lives_through_ten_heartbeats(talk):
    """Whatever its handler does."""
    app, ends = application(talk, heartbeat=INTERVAL)
    async with open_house(app) as house, await visit(house) as client:
        with anyio.move_on_after(10 * INTERVAL):
            while not client.closed:
                await client.receive()
        assert not client.closed
        assert ends.codes == []
        client.vanish()


@pytest.mark.parametrize("talk", [listen, tell, think])
async def test_a_cut_cable_is_noticed_within_two_intervals(talk):
    """Nothing comes from it, and nothing arrives there: not even a FIN."""
    app, ends = application(talk, heartbeat=INTERVAL)
    async with open_house(app) as house, await visit(house) as client:
        with anyio.move_on_after(2.5 * INTERVAL):
            while not client.closed:
                await client.receive()
        cut = anyio.current_time()
        client.stall()
        await anyio.sleep(2 * INTERVAL)
        assert ends.codes == [1006]
        assert ends.times[0] - cut <= 2 * INTERVAL
        assert not house.server.connections


# -- the end of the server


@pytest.mark.parametrize("talk", [listen, tell, think])
async def test_everybody_is_told(talk):
    """A close handshake with each, and nobody waits for the budget."""
    app, _ = application(talk)
    async with open_house(app, shutdown_timeout=60) as house:
        clients = [await visit(house) for _ in range(10)]
        codes = []

        async def hear(client: ClientWebSocket) -> None:
            async for _ in client:
                pass
            codes.append(client.close_code)
            await client.stream.aclose()

        async with anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(hear, client)
            await anyio.wait_all_tasks_blocked()
            start = anyio.current_time()
            await house.server.shutdown(60)
            took = anyio.current_time() - start
        assert codes == [1001] * 10
        assert took < 10.5


async def test_a_thousand_deaf_peers_cost_one_budget():
    """Whoever does not answer the close frame is not waited for beyond it."""
    app, ends = application(listen, timeout=60)
    async with open_house(app) as house:
        clients = [await visit(house) for _ in range(1000)]
        start = anyio.current_time()
        await house.server.shutdown(5)
        assert anyio.current_time() - start <= 5 + GRACES
        assert len(ends.codes) == 1000
        for client in clients:
            assert [message async for message in client] == []
            assert client.close_code == 1001
            await client.stream.aclose()
