"""A thousand requests against a PostgreSQL through a library for asyncio alone, cut at random: the pool stays whole."""

from contextlib import AsyncExitStack

import pytest

from structweb import web
from tests.databases.storm import REQUESTS, storm

asyncpg = pytest.importorskip("asyncpg")
pytestmark = [pytest.mark.anyio, pytest.mark.real_backends, pytest.mark.databases]

CONNECTIONS = 5


async def backends(pool) -> set[int]:
    """Return the processes of PostgreSQL that the pool is connected to."""
    async with AsyncExitStack() as whole:
        connections = [await whole.enter_async_context(pool.acquire(timeout=5)) for _ in range(CONNECTIONS)]
        assert not any(connection.is_in_transaction() for connection in connections)
        return {connection.get_server_pid() for connection in connections}


async def test_a_thousand_requests_cut_at_random(postgres, anyio_backend_name):
    if anyio_backend_name != "asyncio":
        pytest.skip("asyncpg is for asyncio")
    pools = []

    async def pool(app: web.Application):
        async with asyncpg.create_pool(
            host=str(postgres), user="postgres", database="postgres", min_size=CONNECTIONS, max_size=CONNECTIONS
        ) as made:
            await made.execute("CREATE TABLE IF NOT EXISTS twice (number int, part int)")
            await made.execute("TRUNCATE twice")
            pools.append(made)
            before = await backends(made)
            yield
            assert made.get_size() == CONNECTIONS
            assert made.get_idle_size() == CONNECTIONS
            assert await backends(made) == before  # no connection had to be thrown away
            torn = await made.fetch("SELECT number FROM twice GROUP BY number HAVING count(*) <> 2")
            assert torn == []

    async def write(number: int) -> int:
        async with pools[0].acquire() as connection, connection.transaction():
            await connection.execute("INSERT INTO twice VALUES ($1, 1)", number)
            await connection.execute("INSERT INTO twice VALUES ($1, 2)", number)
            return await connection.fetchval("SELECT number FROM twice WHERE number = $1 AND part = 2", number)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=str(await web.run_native(write, int(request.match_info["number"]))))

    app = web.Application()
    app.cleanup_ctx.append(pool)
    app.router.add_get(r"/{number:\d+}", handler)
    tally = await storm(app, seed=2)
    assert tally.wrong == ()
    assert tally.answered > REQUESTS / 4
    assert tally.cut > REQUESTS / 4
