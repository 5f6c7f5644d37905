"""Sessions in memcached: a server that goes away, and clients with few connections."""

import threading

import anyio
import pytest
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient

from structweb.sessions.memcached_storage import MemcachedStorage
from tests.servers import memcached_server
from tests.sessions.browser import Browser, app_with
from tests.web.served import serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


class SlowClient(Client):
    """Reads for several threads at the same time, or for none."""

    several: threading.Barrier

    def get(self, *args, **kwargs):
        self.several.wait(10)
        return super().get(*args, **kwargs)


class SlowPool(PooledClient):
    client_class = SlowClient


@pytest.mark.parametrize("make", [Client, PooledClient])
async def test_it_goes_away_and_comes_back(make, caplog):
    """X-37: 503 meanwhile."""
    with memcached_server() as address:
        client = make(address, connect_timeout=5, timeout=5)
        storage = MemcachedStorage(client)
        async with serving(app_with(storage)) as served:
            browser = Browser(served)
            await browser.ask("/put/Ann")
            assert await browser.has() == "Ann old"
    async with serving(app_with(storage)) as served:
        again = Browser(served)
        again.cookies = browser.cookies
        for path in ("/", "/put/Bob", "/renew"):
            answer = await again.ask(path)
            assert (answer.status, "set-cookie" in answer.headers) == (503, False)
        assert (await served.ask("/")).text == "None new"  # nothing had to be asked
        assert "memcached does not keep sessions" in caplog.text
        with memcached_server(address[1]):
            assert await again.has() == "None new"
            await again.ask("/put/Ann")
            assert await again.has() == "Ann old"
    client.close()


async def test_connections_that_it_has_ended_meanwhile_are_no_outage():
    """All that a pool has kept end when memcached is started again: the first one who asks must not pay for each."""
    SlowClient.several = threading.Barrier(4)
    client = SlowPool(("127.0.0.1", 0), connect_timeout=5, timeout=5)
    with memcached_server() as client.server:
        async with serving(app_with(MemcachedStorage(client))) as served:
            browser = Browser(served)
            await browser.ask("/put/Ann")
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(browser.ask, "/")
    assert len(client.client_pool.free) == 4
    SlowClient.several = threading.Barrier(1)
    with memcached_server(client.server[1]):
        async with serving(app_with(MemcachedStorage(client))) as served:
            again = Browser(served)
            again.cookies = browser.cookies
            assert await again.has() == "None new"
    client.close()


@pytest.mark.parametrize("hashing", [False, True])
async def test_no_more_requests_at_once_than_the_pool_has_connections(memcached, hashing):
    """Others wait for one: the pool itself would raise."""
    SlowClient.several = threading.Barrier(2)
    options = {"max_pool_size": 2, "connect_timeout": 5, "timeout": 5}
    if hashing:
        client = HashClient([memcached], use_pooling=True, **options)
        next(iter(client.clients.values())).client_class = SlowClient
    else:
        client = SlowPool(memcached, **options)
    async with serving(app_with(MemcachedStorage(client))) as served:
        browser = Browser(served)
        await browser.ask("/put/Ann")
        answers = []

        async def ask() -> None:
            answers.append(await browser.has())

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(ask)
        assert answers == ["Ann old"] * 6
    client.close()
