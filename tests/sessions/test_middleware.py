"""The way of a session from the request to the response: copies of requests, tasks, storages inside of each other, caches."""

import anyio
import pytest

from structweb import web
from structweb.sessions import InMemoryStorage, SimpleCookieStorage, get_session, setup
from tests.sessions.browser import Browser, app_with
from tests.web.served import serving

pytestmark = pytest.mark.anyio


async def test_caches_do_not_give_others_what_was_made_of_a_session():
    async def static(request):
        return web.Response(text="for everybody", headers={"Cache-Control": "public, max-age=60"})

    async def crash(request):
        await get_session(request)
        raise LookupError

    async def own(request):
        await get_session(request)
        return web.Response(headers={"Vary": "Accept, cookie"})

    app = app_with(InMemoryStorage())
    for handler in (static, crash, own):
        app.router.add_get(f"/{handler.__name__}", handler)
    async with serving(app) as served:
        paths = ("/", "/put/Ann", "/put/Ann?then=forbid", "/put/Ann?then=stream", "/anew", "/crash")
        for path in paths:
            assert (await served.ask(path)).headers.get("vary") == "cookie", path
        assert (await served.ask("/own")).headers["vary"] == "accept, cookie"
        for path in ("/static", "/none"):
            assert "vary" not in (await served.ask(path)).headers


@pytest.mark.parametrize("crash", [False, True])
async def test_storages_inside_of_each_other_keep_their_sessions_apart(crash):
    """What the outer one encrypts must not get into the cookie of the inner one, which everybody can read."""
    outer, inner = InMemoryStorage(cookie_name="OUTER"), SimpleCookieStorage(cookie_name="INNER")

    @web.middleware
    async def secret(request, handler):
        (await get_session(request))["secret"] = 1
        try:
            return await handler(request)
        finally:
            assert dict(await get_session(request)) == {"secret": 1}

    async def handler(request):
        session = await get_session(request)
        assert dict(session) == {}
        session["open"] = 1
        if crash:
            raise web.HTTPForbidden
        return web.Response()

    app, below = web.Application(), web.Application()
    setup(app, outer)
    app.middlewares.append(secret)
    setup(below, inner)
    below.router.add_get("/", handler)
    app.add_subapp("/below", below)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(b"GET /below/ HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        head = (await connection.rest()).decode()
    assert "secret" not in head
    assert head.startswith("HTTP/1.1 403" if crash else "HTTP/1.1 200")
    cookies = sorted(line.partition("=")[0] for line in head.split("\r\n") if line.startswith("Set-Cookie"))
    assert cookies == ["Set-Cookie: INNER", "Set-Cookie: OUTER"]


async def test_tasks_of_a_handler_have_the_same_session():
    """Though both ask before either has it: what one of them changes must not be lost."""

    class Far(InMemoryStorage):
        async def load_session(self, request):
            await anyio.sleep(1)
            return await super().load_session(request)

    async def put(request):
        async def put_one(name):
            (await get_session(request))[name] = name

        async with anyio.create_task_group() as group:
            for name in ("first", "second"):
                group.start_soon(put_one, name)
        return web.Response()

    async def show_all(request):
        return web.Response(text=" ".join(sorted(await get_session(request))))

    app = web.Application()
    setup(app, Far())
    app.router.add_get("/put", put)
    app.router.add_get("/", show_all)
    async with serving(app) as served:
        browser = Browser(served)
        await browser.ask("/put")
        assert (await browser.ask("/")).text == "first second"


@pytest.mark.parametrize("then", ["", "?then=forbid", "?then=stream"])
async def test_a_middleware_may_hand_on_a_copy_of_the_request(then):
    """The session that the handler got from it is saved like any other, and everybody has the same."""

    @web.middleware
    async def copying(request, handler):
        try:
            return await handler(request.clone(client_max_size=10))
        finally:
            session = await get_session(request)
            assert session is await get_session(request.clone())
            seen.append(session["name"])

    seen = []
    app = app_with(InMemoryStorage())
    app.middlewares.append(copying)
    async with serving(app) as served:
        browser = Browser(served)
        answer = await browser.ask(f"/put/Ann{then}")
        assert answer.headers["vary"] == "Cookie"
        await browser.ask("/put/Bob")
        assert browser.cookies
        before = dict(browser.cookies)
        await browser.ask("/anew")
        assert browser.cookies != before
    assert seen == ["Ann", "Bob", "anew"]


async def test_a_storage_that_is_set_up_twice_has_one_session():
    """In an application, and in one below it."""

    @web.middleware
    async def mark(request, handler):
        session = await get_session(request)
        session["outside"] = 1
        response = await handler(request)
        assert session is await get_session(request)
        return response

    async def handler(request):
        session = await get_session(request)
        assert dict(session) == {"outside": 1}
        session["inside"] = 1
        return web.Response(text=" ".join(session))

    storage = SimpleCookieStorage()
    app, below = web.Application(), web.Application()
    setup(app, storage)
    app.middlewares.append(mark)
    setup(below, storage)
    below.router.add_get("/", handler)
    app.add_subapp("/below", below)
    async with serving(app) as served:
        answer = await served.ask("/below/")
    assert answer.text == "outside inside"
    assert "inside" in answer.headers["set-cookie"]
    assert "outside" in answer.headers["set-cookie"]
