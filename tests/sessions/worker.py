"""A worker of several: `structweb serve tests.sessions.worker:init_func PATH-OF-REDIS`."""

import coredis

from structweb import web
from structweb.sessions.redis_storage import RedisStorage
from tests.sessions.browser import app_with


def init_func(argv: list[str]) -> web.Application:
    client = coredis.Redis(unix_socket_path=argv[0])

    async def connected(app):
        async with client:
            yield

    app = app_with(RedisStorage(client))
    app.cleanup_ctx.append(connected)
    return app
