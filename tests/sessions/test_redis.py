"""Sessions in Redis: several processes, and clients of redis.asyncio."""

import httpx
import pytest
import redis.asyncio

from structweb.sessions.redis_storage import RedisStorage
from tests.examples.program import BACKEND_OPTIONS, Program
from tests.sessions.browser import Browser, app_with
from tests.web.served import serving


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_processes_share_it_and_a_restart_keeps_it(redis, backend):
    command = [
        "-m",
        "structweb",
        "serve",
        "-P",
        "0",
        *BACKEND_OPTIONS[backend],
        "tests.sessions.worker:init_func",
        str(redis),
    ]
    with httpx.Client(trust_env=False) as client:
        with Program(*command) as one, Program(*command) as other:
            first, second = (f"http://127.0.0.1:{worker.port()}" for worker in (one, other))
            client.get(f"{first}/put/Ann")
            assert client.get(f"{second}/").text == "Ann old"
            client.get(f"{second}/put/Bob")
            assert client.get(f"{first}/").text == "Bob old"
            for worker in (one, other):
                worker.interrupt()
                assert worker.ended() == 0
        with Program(*command) as again:
            assert client.get(f"http://127.0.0.1:{again.port()}/").text == "Bob old"


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_redis_asyncio_is_refused_on_trio(caplog, anyio_backend_name):
    """X-37: and there is 503 where nobody answers."""
    client = redis.asyncio.Redis(unix_socket_path="/nowhere/redis.sock")
    async with serving(app_with(RedisStorage(client))) as served:
        browser = Browser(served)
        browser.cookies = {"AIOHTTP_SESSION": "a"}
        answer = await browser.ask("/")
    if anyio_backend_name == "trio":
        assert answer.status == 500
        assert "works on asyncio only: on trio, RedisStorage needs a coredis.Redis" in caplog.text
    else:
        assert answer.status == 503
        assert "Redis does not keep sessions" in caplog.text
