"""What every storage does: one suite over all of them, with real servers where there is one."""

from contextlib import asynccontextmanager

import anyio
import coredis
import pytest
import redis.asyncio
from cryptography.fernet import Fernet
from pymemcache.client.base import Client, PooledClient

from structweb import web
from structweb.sessions import InMemoryStorage, SignedCookieStorage, SimpleCookieStorage, get_session, new_session
from structweb.sessions.cookie_storage import EncryptedCookieStorage
from structweb.sessions.memcached_storage import MemcachedStorage
from structweb.sessions.nacl_storage import NaClCookieStorage
from structweb.sessions.redis_storage import RedisStorage
from tests.sessions.browser import Browser, app_with
from tests.web.served import serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

COOKIE = "AIOHTTP_SESSION"
KEY = bytes(range(32))
FERNET = Fernet.generate_key()
IN_COOKIES = ["simple", "signed", "encrypted", "nacl"]
ON_SERVERS = ["memory", "redis", "redis-asyncio", "memcached", "memcached-one"]


@pytest.fixture(scope="session", params=IN_COOKIES + ON_SERVERS)
def kind(request):
    server = request.param.partition("-")[0]
    if server in ("redis", "memcached"):
        request.getfixturevalue(server)
    return request.param


@pytest.fixture
def opened(kind, request, anyio_backend_name):
    """Return what opens a storage; each time as another process would."""
    records = {}

    @asynccontextmanager
    async def open_storage(**options):
        match kind:
            case "simple":
                yield SimpleCookieStorage(**options)
            case "signed":
                yield SignedCookieStorage(KEY, **options)
            case "encrypted":
                yield EncryptedCookieStorage(FERNET.decode(), **options)
            case "nacl":
                yield NaClCookieStorage(KEY, **options)
            case "memory":
                storage = InMemoryStorage(**options)
                storage._records = records
                yield storage
            case "redis":
                async with coredis.Redis(unix_socket_path=str(request.getfixturevalue("redis"))) as client:
                    yield RedisStorage(client, **options)
            case "redis-asyncio":
                if anyio_backend_name == "trio":
                    pytest.skip("redis.asyncio is for asyncio")
                async with redis.asyncio.Redis(unix_socket_path=str(request.getfixturevalue("redis"))) as client:
                    yield RedisStorage(client, **options)
            case _:
                make = PooledClient if kind == "memcached" else Client
                client = make(request.getfixturevalue("memcached"), connect_timeout=5, timeout=5)
                try:
                    yield MemcachedStorage(client, **options)
                finally:
                    client.close()

    return open_storage


@asynccontextmanager
async def browsing(opened, **options):
    async with opened(**options) as storage, serving(app_with(storage)) as served:
        yield Browser(served)


async def test_it_is_kept_from_request_to_request_and_over_a_restart(opened):
    async with browsing(opened) as browser:
        assert await browser.has() == "None new"
        assert browser.cookies == {}
        set_cookie = (await browser.ask("/put/Ann")).headers["set-cookie"]
        assert ("HttpOnly" in set_cookie, "SameSite=Lax" in set_cookie, "Secure" in set_cookie) == (True, True, False)
        assert await browser.has() == "Ann old"
    async with browsing(opened) as again:
        again.cookies = browser.cookies
        assert await again.has() == "Ann old"


@pytest.mark.parametrize(
    ("then", "status", "kept"),
    [("forbid", 403, True), ("redirect", 303, True), ("stream", 200, True), ("crash", 500, False)],
)
async def test_when_it_is_saved(opened, then, status, kept):
    async with browsing(opened) as browser:
        assert (await browser.ask(f"/put/Ann?then={then}")).status == status
        assert await browser.has() == ("Ann old" if kept else "None new")


async def test_two_workers_share_it(opened):
    async with browsing(opened) as one, browsing(opened) as two:
        await one.ask("/put/Ann")
        two.cookies = one.cookies
        assert await two.has() == "Ann old"
        await two.ask("/put/Bob")
        assert await one.has() == "Bob old"


async def test_invalidated_it_is_gone(opened, kind):
    async with browsing(opened) as browser:
        await browser.ask("/put/Ann")
        before = dict(browser.cookies)
        await browser.ask("/invalidate")
        assert browser.cookies == {}
        browser.cookies = before
        assert await browser.has() == ("Ann old" if kind in IN_COOKIES else "None new")


@pytest.mark.parametrize(("path", "name"), [("/renew", "Ann"), ("/anew", "anew")])
async def test_renewed_it_has_another_identity(opened, kind, path, name):
    """T-17: and who knew the old one knows nothing."""
    async with browsing(opened) as browser:
        await browser.ask("/put/Ann")
        before = dict(browser.cookies)
        await browser.ask(path)
        assert await browser.has() == f"{name} old"
        if kind in ON_SERVERS:
            assert browser.cookies != before
            browser.cookies = before
            assert await browser.has() == "None new"


@pytest.mark.parametrize("loads", [True, False])
async def test_an_empty_new_one_ends_the_one_before(opened, kind, loads):
    """T-17: as a logout, say."""

    async def leave(request):
        if loads:
            await get_session(request)
        await new_session(request)
        return web.Response()

    async with opened() as storage:
        app = app_with(storage)
        app.router.add_get("/leave", leave)
        async with serving(app) as served:
            browser = Browser(served)
            await browser.ask("/leave")
            await browser.ask("/put/Ann")
            before = dict(browser.cookies)
            await browser.ask("/leave")
            assert browser.cookies == {}
            browser.cookies = before
            if loads and kind in ON_SERVERS:
                assert await browser.has() == "None new"


@pytest.mark.parametrize("cookie", ["x", "gAAAAABkZm9v", "e30.e30", "5", "%00", "x" * 1000, '"a b"'])
async def test_a_forged_cookie_is_a_new_session(opened, cookie):
    """T-22 to T-27: never an error, and its identity is not taken over."""
    async with browsing(opened) as browser:
        browser.cookies[COOKIE] = cookie
        assert await browser.has() == "None new"
        await browser.ask("/put/Ann")
        assert browser.cookies[COOKIE] != cookie
        assert await browser.has() == "Ann old"


async def test_max_age(opened):
    async with browsing(opened, max_age=3600) as browser:
        set_cookie = (await browser.ask("/put/Ann")).headers["set-cookie"]
        assert "Max-Age=3600" in set_cookie
        assert "expires=" in set_cookie.lower()
        assert await browser.has() == "Ann old"
    async with browsing(opened, max_age=40 * 24 * 3600) as browser:
        await browser.ask("/put/Ann")
        assert await browser.has() == "Ann old"
    async with browsing(opened, max_age=-1) as browser:
        await browser.ask("/put/Ann")
        assert (await browser.has()).startswith("None")


@pytest.mark.parametrize(("ends", "saves"), [("invalidate", "put"), ("invalidate", "renew"), ("renew", "renew")])
async def test_what_was_ended_meanwhile_is_not_brought_back(opened, kind, ends, saves):
    """A slow request saves a session, or renews it, that another one has invalidated or renewed."""
    if kind in IN_COOKIES:
        pytest.skip("a cookie cannot be taken back")
    loaded, go = anyio.Event(), anyio.Event()

    async def slow(request):
        session = await get_session(request)
        loaded.set()
        await go.wait()
        if saves == "renew":
            session.renew()
        session["name"] = "slow"
        return web.Response()

    async with opened() as storage:
        app = app_with(storage)
        app.router.add_get("/slow", slow)
        async with serving(app) as served:
            browser, other = Browser(served), Browser(served)
            await browser.ask("/put/Ann")
            other.cookies = before = dict(browser.cookies)
            async with anyio.create_task_group() as group:
                group.start_soon(other.ask, "/slow")
                await loaded.wait()
                await browser.ask(f"/{ends}")
                go.set()
            assert other.cookies == before  # it was given no other one
            assert await other.has() == "None new"
            assert await browser.has() == ("Ann old" if ends == "renew" else "None new")


async def test_a_session_of_its_own_does_not_depend_on_the_one_before(opened):
    """At login, say: what a new session takes the place of may have been ended meanwhile."""
    loaded, go = anyio.Event(), anyio.Event()

    async def slow(request):
        await get_session(request)
        loaded.set()
        await go.wait()
        (await new_session(request))["name"] = "slow"
        return web.Response()

    async with opened() as storage:
        app = app_with(storage)
        app.router.add_get("/slow", slow)
        async with serving(app) as served:
            browser, other = Browser(served), Browser(served)
            await browser.ask("/put/Ann")
            other.cookies = dict(browser.cookies)
            async with anyio.create_task_group() as group:
                group.start_soon(other.ask, "/slow")
                await loaded.wait()
                await browser.ask("/invalidate")
                go.set()
            assert await other.has() == "slow old"
