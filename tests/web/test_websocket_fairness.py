"""What one WebSocket costs its neighbours: a turn now and then, whatever its peer sends."""

import anyio
import pytest

from structweb import web
from tests.web.frames import CONTINUATION, PING, PONG, TEXT, connect, frame
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio

#: A message in ten thousand fragments, most of them empty: one read, and 0.2 seconds of work.  The ping is behind them.
FLOOD = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, fin=False) * 10_000 + frame(PING) + frame(CONTINUATION, b"b")


@pytest.mark.parametrize("receives", [True, False], ids=["receive", "read ahead"])
async def test_a_neighbour_is_answered_while_a_flood_of_fragments_is_read(receives: bool):
    happened = []
    done = anyio.Event()

    async def flooded(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        if not receives:
            await done.wait()
        assert await ws.receive_str() == "ab"
        return ws

    async def neighbour(request: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/flooded", flooded)
    app.router.add_get("/", neighbour)
    async with serving(app) as served:
        peer = await connect(served, path="/flooded")
        connection = served.connect()
        assert (await connection.ask()).text == "here"

        async def flood() -> None:
            await peer.send(FLOOD)
            assert await peer.next() == (PONG, b"", 0)
            happened.append("flood")
            done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(flood)
            for _ in range(4):
                await connection.stream.send(get())
                assert (await connection.stream.receive()).endswith(b"here")
            happened.append("neighbour")
    assert happened == ["neighbour", "flood"]
