"""The clock of server-sent events, in virtual time."""

import anyio
import pytest

from examples import events
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio


async def test_it_ticks_from_where_the_client_was():
    async with serving(events.init_func([])) as served:
        assert 'new EventSource("/ticks")' in (await served.ask("/")).text
        for fields, number in ([], 1), (["Last-Event-ID: 41"], 42):
            connection = served.connect()
            await connection.stream.send(get("/ticks", *fields))
            for tick in (number, number + 1):
                await connection.stream.receive_until(b"id: %d\nevent: tick\ndata: %d s\n\n" % (tick, tick))
            connection.stream.close()
            await anyio.wait_all_tasks_blocked()
