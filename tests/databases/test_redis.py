"""A thousand requests against a Redis, cut at random: the pool stays whole, and every reply is for who has asked."""

from contextlib import AsyncExitStack

import anyio
import pytest

from structweb import web
from tests.databases.storm import REQUESTS, storm

coredis = pytest.importorskip("coredis")
pytestmark = [pytest.mark.anyio, pytest.mark.real_backends, pytest.mark.databases]

CONNECTIONS = 5


class WholePool(coredis.ConnectionPool):
    """coredis 6.9 loses a place of its pool for good when somebody is cancelled while he connects."""

    async def get_connection(self, **options: object):
        with anyio.CancelScope(shield=True):  # bounded by the pool's own timeout
            return await super().get_connection(**options)


async def test_a_thousand_requests_cut_at_random(redis):
    client = coredis.Redis(
        unix_socket_path=str(redis),
        max_connections=CONNECTIONS,
        pool_timeout=5,
        connection_pool_cls=WholePool,
        decode_responses=True,
    )

    async def pool(app: web.Application):
        async with client:
            yield
            async with AsyncExitStack() as whole:
                for _ in range(CONNECTIONS):  # each place of the pool can be taken
                    await whole.enter_async_context(client.connection_pool.acquire())

    async def handler(request: web.Request) -> web.Response:
        number = request.match_info["number"]
        await client.set(f"key {number}", number)
        await client.incr(f"asked {number}")
        return web.Response(text=str(await client.get(f"key {number}")))

    app = web.Application()
    app.cleanup_ctx.append(pool)
    app.router.add_get(r"/{number:\d+}", handler)
    tally = await storm(app, seed=1)
    assert tally.wrong == ()
    assert tally.answered > REQUESTS / 4
    assert tally.cut > REQUESTS / 4
