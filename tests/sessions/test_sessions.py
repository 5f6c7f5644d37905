"""Sessions, whatever keeps them: the mapping, the cookie, keys, outages, extras."""

import gc
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack, contextmanager

import coredis
import pytest
from cryptography.fernet import Fernet

from structweb import web
from structweb.sessions import (
    SESSION_KEY,
    AbstractStorage,
    InMemoryStorage,
    Session,
    SignedCookieStorage,
    SimpleCookieStorage,
    get_session,
    session_middleware,
    setup,
)
from structweb.sessions.cookie_storage import EncryptedCookieStorage
from structweb.sessions.memcached_storage import MemcachedStorage
from structweb.sessions.nacl_storage import NaClCookieStorage
from structweb.sessions.redis_storage import RedisStorage
from tests.servers import folder, program, running
from tests.sessions.browser import Browser, app_with
from tests.web.served import serving

COOKIE = "AIOHTTP_SESSION"


def test_a_session_is_a_mapping():
    """T-19."""
    session = Session("id", data={"created": 1000, "session": {"a": [1]}}, new=False)
    assert (dict(session), session.created, session.identity, session.new) == ({"a": [1]}, 1000, "id", False)
    session["b"] = 2
    del session["a"]
    assert (list(session), len(session), session.empty, "b" in session) == (["b"], 1, False, True)
    assert session.created > 1000
    assert "2" not in repr(session).partition("created")[0]
    with pytest.raises(RuntimeError, match="renew"):
        session.set_new_identity("other")
    session.invalidate()
    assert session.empty
    fresh = Session("id", data={}, new=False)
    assert (fresh.new, fresh.identity) == (True, None)
    fresh.set_new_identity("mine")
    assert fresh.identity == "mine"


def test_an_old_session_loses_its_items():
    """T-20."""
    data = {"created": int(time.time()) - 100, "session": {"a": 1}}
    assert dict(Session("id", data=data, new=False, max_age=200)) == {"a": 1}
    old = Session("id", data=data, new=False, max_age=50)
    assert (old.empty, old.new, old.identity) == (True, False, "id")


@pytest.mark.anyio
async def test_the_cookie_is_secure_where_the_request_was():
    app = app_with(InMemoryStorage())
    app.middlewares.insert(0, web.trusted_proxies(["192.0.2.0/24"]))
    async with serving(app) as served:
        plain = await served.ask("/put/Ann")
        tls = await served.ask("/put/Ann", "X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.1")
        assert ("secure" in plain.headers["set-cookie"], "secure" in tls.headers["set-cookie"]) == (False, True)
    async with serving(app_with(InMemoryStorage(secure=True, samesite="Strict", httponly=False))) as served:
        cookie = (await served.ask("/put/Ann")).headers["set-cookie"]
        assert ("secure" in cookie, "samesite=strict" in cookie, "httponly" in cookie) == (True, True, False)


@pytest.mark.anyio
async def test_a_session_has_a_max_age_of_its_own():
    """T-19, T-21: None is as long as the browser runs, whatever the storage says."""
    ages = {"none": None, "short": 60}

    async def put(request):
        session = await get_session(request)
        session["name"] = "Ann"
        if request.match_info["age"] in ages:
            session.max_age = ages[request.match_info["age"]]
        return web.Response()

    app = web.Application()
    app.router.add_get("/{age:.*}", put)
    setup(app, InMemoryStorage(max_age=3600))
    async with serving(app) as served:
        for path, said in (("/", "max-age=3600"), ("/short", "max-age=60"), ("/none", None)):
            cookie = (await served.ask(path)).headers["set-cookie"]
            assert ("expires=" in cookie, "max-age=" in cookie) == (said is not None,) * 2
            assert (said or "") in cookie


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["two words", "x" * 181, "\u00e4", "a\n"])
async def test_a_key_that_could_not_be_read_again_is_an_error(key, caplog):
    """Else each request would begin a new session, without a word."""

    async def name(request):
        session = await get_session(request)
        session.set_new_identity(key)
        session["name"] = "Ann"
        return web.Response()

    app = app_with(InMemoryStorage(key_factory=lambda: key))
    app.router.add_get("/name", name)
    async with serving(app) as served:
        for path in ("/put/Ann", "/name"):
            assert (await served.ask(path)).status == 500
    assert "the key of a session must be" in caplog.text


@pytest.mark.anyio
async def test_a_change_behind_the_head_is_an_error(caplog):
    """T-18."""
    async with serving(app_with(InMemoryStorage())) as served:
        await served.ask("/late")
    assert "Cannot save session data into prepared response" in caplog.text


@pytest.mark.anyio
async def test_a_cookie_that_browsers_drop_is_a_warning(caplog):
    """T-28."""
    async with serving(app_with(SimpleCookieStorage())) as served:
        await served.ask("/put/" + "x" * 3000)
        assert "browsers drop it" not in caplog.text
        await served.ask("/put/" + "x" * 4100)
        assert "browsers drop it" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("storage", "keys"),
    [
        (SignedCookieStorage, [b"a" * 32, b"b" * 32]),
        (NaClCookieStorage, [b"a" * 32, b"b" * 32]),
        (EncryptedCookieStorage, [Fernet.generate_key().decode(), b"b" * 32]),
    ],
)
async def test_keys_are_rotated(storage, keys):
    old, new = keys
    cookies = {}
    for key, seen in ((old, "None new"), ([new, old], "Ann old"), (new, "Ann old"), (old, "None new")):
        async with serving(app_with(storage(key))) as served:
            browser = Browser(served)
            browser.cookies = cookies
            assert await browser.has() == seen
            await browser.ask("/put/Ann")
            cookies = browser.cookies


@pytest.mark.anyio
async def test_a_changed_or_expired_token_is_a_new_session():
    """T-23, T-24."""
    fernet = Fernet(Fernet.generate_key())
    text = b'{"created": %d, "session": {"name": "Ann"}}' % time.time()
    async with serving(app_with(EncryptedCookieStorage(fernet, max_age=60))) as served:
        browser = Browser(served)
        for age, seen in ((0, "Ann old"), (100, "None new")):
            browser.cookies[COOKIE] = fernet.encrypt_at_time(text, int(time.time()) - age).decode()
            assert await browser.has() == seen
    for storage in (SignedCookieStorage(b"k" * 32), NaClCookieStorage(b"k" * 32)):
        async with serving(app_with(storage)) as served:
            browser = Browser(served)
            await browser.ask("/put/Ann")
            good = browser.cookies[COOKIE]
            browser.cookies[COOKIE] = ("A" if good[0] != "A" else "B") + good[1:]
            assert await browser.has() == "None new"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["APP.ICAg", "APP."])
async def test_a_signed_cookie_is_good_under_its_own_name_only(name):
    """Not even where one name goes on where the other one ends: ``ICAg`` is base64 for spaces."""
    key = b"k" * 32
    async with serving(app_with(SignedCookieStorage(key, cookie_name=name))) as served:
        browser = Browser(served)
        await browser.ask("/put/Ann")
    async with serving(app_with(SignedCookieStorage(key, cookie_name="APP"))) as served:
        other = Browser(served)
        for cookie in (browser.cookies[name], f"{name.removeprefix('APP.')}.{browser.cookies[name]}"):
            other.cookies = {"APP": cookie}
            assert await other.has() == "None new"


@pytest.mark.anyio
async def test_without_a_middleware_and_with_a_wrong_storage():
    """T-15, T-16."""

    class Wrong(InMemoryStorage):
        async def load_session(self, request):
            return {}

    async def handler(request):
        with pytest.raises(RuntimeError, match="setup|expected a Session"):
            await get_session(request)
        assert SESSION_KEY not in request
        return web.Response(text="seen")

    for storage in (None, Wrong()):
        app = web.Application()
        if storage is not None:
            setup(app, storage)
        app.router.add_get("/", handler)
        async with serving(app) as served:
            assert (await served.ask()).text == "seen"
    with pytest.raises(RuntimeError, match="expected a session storage"):
        session_middleware(dict)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: RedisStorage(object()), TypeError),
        (lambda: MemcachedStorage(object()), TypeError),
        (lambda: EncryptedCookieStorage(b"short"), ValueError),
        (lambda: NaClCookieStorage([]), ValueError),
        (lambda: SignedCookieStorage(b"short"), ValueError),
        (AbstractStorage, TypeError),
    ],
)
def test_arguments_are_checked(make, error):
    with pytest.raises(error):
        make()


@contextmanager
def redis_on(port):
    """Run a Redis that a client can come back to: on a port."""

    def answers():
        socket.create_connection(("127.0.0.1", port)).close()
        return True

    with folder() as home:
        options = ["--port", port, "--bind", "127.0.0.1", "--dir", home, "--save", ""]
        with running([program("redis-server"), *options], home, answers):
            yield


# coredis leaves the memory streams of connections that it could not make to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function MemoryObject:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.anyio
@pytest.mark.real_backends
async def test_redis_goes_away_and_comes_back(caplog):
    """503 meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with AsyncExitStack() as stack:
        with redis_on(port):
            client = await stack.enter_async_context(coredis.Redis(host="127.0.0.1", port=port))
            browser = Browser(await stack.enter_async_context(serving(app_with(RedisStorage(client)))))
            await browser.ask("/put/Ann")
            assert await browser.has() == "Ann old"
        assert (await browser.ask("/")).status == 503
        with redis_on(port):
            assert await browser.has() == "None new"
            await browser.ask("/put/Ann")
            assert await browser.has() == "Ann old"
    caplog.clear()  # its records hold those connections
    del stack, client, browser
    gc.collect()  # here, where they are ignored


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("cookie_storage", "cryptography", "sessions"),
        ("nacl_storage", "nacl", "nacl"),
        ("redis_storage", "coredis", "redis"),
        ("memcached_storage", "pymemcache", "memcached"),
    ],
)
def test_a_missing_extra_names_the_command(module, package, extra):
    code = f"""
import sys, structweb, structweb.web, structweb.sessions
assert not {{"cryptography", "nacl", "coredis", "pymemcache"}} & set(sys.modules)
sys.modules[{package!r}] = None
try:
    import structweb.sessions.{module}
except ImportError as exc:
    assert "pip install 'structweb[{extra}]'" in str(exc), exc
else:
    raise SystemExit("imported")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
