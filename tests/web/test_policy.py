"""Limits and middlewares of single routes and of sub-applications, which aiohttp lacks."""

import gzip

import anyio
import pytest

from structweb import web
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio

NAME = web.AppKey("name", str)

MULTIPART = "Content-Type: multipart/form-data; boundary=B"
URLENCODED = "Content-Type: application/x-www-form-urlencoded"


def form_of(size: int) -> bytes:
    """Return a multipart form of one field of `size` bytes."""
    return b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * size + b"\r\n--B--\r\n"


def chunked(path: str, data: bytes, *fields: str) -> bytes:
    """Return a request whose body is one chunk, and goes on behind it."""
    head = get(path, "Transfer-Encoding: chunked", *fields, method="POST")
    return head + b"%x\r\n%b\r\n" % (len(data), data)


async def read(request):
    return web.Response(text=str(len(await request.read())))


async def text(request):
    return web.Response(text=str(len(await request.text())))


async def json(request):
    return web.Response(text=str(len(await request.json(loads=str))))


async def post(request):
    return web.Response(text=str(len(await request.post())))


async def whole_part(request):
    part = await (await request.multipart()).next()
    return web.Response(text=str(len(await part.read())))


async def tell(request):
    return web.Response(text=f"{request.client_max_size} {request.client_max_fields}")


READERS = {
    "read": (read, (), bytes),
    "text": (text, (), bytes),
    "json": (json, (), bytes),
    "post": (post, (URLENCODED,), bytes),
    "post of parts": (post, (MULTIPART,), form_of),
    "a part": (whole_part, (MULTIPART,), form_of),
}


@pytest.mark.parametrize("reader", READERS)
async def test_the_limit_of_a_route_holds_on_every_way_to_a_whole_body(reader):
    handler, fields, body = READERS[reader]
    app = web.Application(client_max_size=100_000)
    app.router.add_post("/small", handler, client_max_size=500)
    app.router.add_post("/large", handler, client_max_size=200_000)
    app.router.add_post("/other", handler)
    async with serving(app) as served:
        refused = await served.ask("/small", *fields, method="POST", body=body(1000))
        assert (refused.status, refused.text) == (413, "Maximum request body size 500 exceeded.")
        assert (await served.ask("/large", *fields, method="POST", body=body(150_000))).status == 200
        assert (await served.ask("/other", *fields, method="POST", body=body(1000))).status == 200
        assert (await served.ask("/other", *fields, method="POST", body=body(150_000))).status == 413


@pytest.mark.parametrize("reader", [name for name in READERS if name != "a part"])
async def test_what_is_announced_too_large_is_refused_before_it_is_sent(reader):
    handler, fields, _ = READERS[reader]
    app = web.Application()
    app.router.add_post("/", handler, client_max_size=500)
    async with serving(app) as served:
        assert (await served.ask("/", *fields, "Content-Length: 501", method="POST")).status == 413


@pytest.mark.parametrize("reader", READERS)
async def test_what_is_not_announced_is_refused_as_soon_as_it_is_too_large(reader):
    handler, fields, body = READERS[reader]
    app = web.Application()
    app.router.add_post("/", handler, client_max_size=500)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(chunked("/", body(1000)[:800], *fields))
        assert (await connection.answer()).status == 413


@pytest.mark.parametrize("reader", READERS)
async def test_it_is_the_decompressed_size_that_counts(reader):
    handler, fields, body = READERS[reader]
    app = web.Application()
    app.router.add_post("/", handler, client_max_size=500)
    packed = gzip.compress(body(100_000))
    assert len(packed) < 500
    async with serving(app) as served:
        answer = await served.ask("/", *fields, "Content-Encoding: gzip", method="POST", body=packed)
        assert answer.status == 413


async def test_fields_are_counted_by_route():
    app = web.Application(client_max_fields=3)
    app.router.add_post("/two", post, client_max_fields=2)
    app.router.add_post("/many", post, client_max_fields=0)
    app.router.add_post("/other", post)
    async with serving(app) as served:
        for path, status in {"/two": 413, "/many": 200, "/other": 200}.items():
            assert (await served.ask(path, URLENCODED, method="POST", body=b"a=1&b=2&c=3")).status == status
        answer = await served.ask("/two", URLENCODED, method="POST", body=b"a=1&b=2&c=3")
        assert answer.text == "Maximum number of form fields 2 exceeded."
        assert (await served.ask("/other", URLENCODED, method="POST", body=b"a=1&b=2&c=3&d=4")).status == 413
        assert (await served.ask("/many", URLENCODED, method="POST", body=b"a=1&" * 2000)).status == 200


async def test_the_innermost_word_counts():
    app = web.Application(client_max_size=10, client_max_fields=11)
    sub = web.Application(client_max_size=20)
    silent = web.Application()
    within = web.Application(client_max_fields=31)
    for each in (app, sub, silent, within):
        each.router.add_get("/", tell)
    sub.router.add_get("/own", tell, client_max_size=40, client_max_fields=41)
    sub.router.add_get("/without", tell, client_max_size=0, client_max_fields=0)
    sub.router.add_get("/none", tell, client_max_size=None, client_max_fields=None)
    sub.add_subapp("/within", within)
    app.add_subapp("/sub", sub)
    app.add_subapp("/silent", silent)
    async with serving(app) as served:
        connection = served.connect()  # one for all: nothing is left of a limit for the next request
        found = {
            path: (await connection.ask(path)).text
            for path in ("/", "/sub/", "/silent/", "/sub/own", "/sub/without", "/sub/none", "/sub/within/")
        }
        assert (await connection.ask("/")).text == "10 11"
    assert found == {
        "/": "10 11",
        "/sub/": "20 11",
        "/silent/": "10 11",
        "/sub/own": "40 41",
        "/sub/without": "0 0",
        "/sub/none": "0 0",
        "/sub/within/": "20 31",
    }


async def test_a_sub_application_tells_the_default_when_it_says_nothing():
    assert web.Application().client_max_size == 1024**2
    assert web.Application().client_max_fields == 1000
    assert web.Application(client_max_size=5, client_max_fields=6).client_max_size == 5


async def test_middlewares_outside_of_a_route_see_its_limits():
    @web.middleware
    async def read_first(request, handler):
        await request.read()
        return await handler(request)

    app = web.Application(middlewares=[read_first], client_max_size=10)
    app.router.add_post("/", read, client_max_size=100)
    sub = web.Application(client_max_size=200)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        assert (await served.ask("/", method="POST", body=b"x" * 90)).text == "90"
        assert (await served.ask("/", method="POST", body=b"x" * 101)).status == 413
        assert (await served.ask("/sub/nothing", method="POST", body=b"x" * 150)).status == 404
        assert (await served.ask("/nothing", method="POST", body=b"x" * 11)).status == 413


async def test_a_middleware_may_set_a_limit_of_its_own():
    @web.middleware
    async def generous(request, handler):
        return await handler(request.clone(client_max_size=1000))

    app = web.Application(middlewares=[generous])
    app.router.add_get("/", tell, client_max_size=10, client_max_fields=20)
    async with serving(app) as served:
        assert (await served.ask("/")).text == "1000 20"


async def test_an_expect_handler_sees_the_limits_of_its_route():
    async def expect(request):
        if int(request.headers["Content-Length"]) > request.client_max_size:
            return web.Response(status=413, text="do not send it")
        return await request.send_continue()

    app = web.Application()
    app.router.add_post("/", read, expect_handler=expect, client_max_size=10)
    async with serving(app) as served:
        answer = await served.ask("/", "Expect: 100-continue", "Content-Length: 11", method="POST")
        assert (answer.status, answer.text) == (413, "do not send it")


# -- middlewares ---------------------------------------------------------------------------------------------------


def noting(name, calls):
    """Make a middleware that notes when it is entered, in which application, and when it is left."""

    @web.middleware
    async def note(request, handler):
        calls.append(f"+{name} in {request.app[NAME]}")
        try:
            return await handler(request)
        finally:
            calls.append(f"-{name}")

    return note


async def test_middlewares_of_a_route_are_inside_of_those_of_its_applications():
    calls = []
    app = web.Application(middlewares=[noting("app", calls)])
    app[NAME] = "app"
    sub = web.Application(middlewares=[noting("sub", calls)])
    sub[NAME] = "sub"
    sub.router.add_get("/", tell, middlewares=[noting("first", calls), noting("second", calls)])
    sub.router.add_get("/other", tell)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        assert (await served.ask("/sub/")).status == 200
        inside = ["+app in app", "+sub in sub", "+first in sub", "+second in sub", "-second", "-first", "-sub", "-app"]
        assert calls == inside
        calls.clear()
        assert (await served.ask("/sub/other")).status == 200
        assert (await served.ask("/sub/", method="POST")).status == 405
        assert calls == ["+app in app", "+sub in sub", "-sub", "-app"] * 2


async def test_a_middleware_of_a_route_may_answer_itself_and_sees_the_metadata_of_the_handler():
    names = []

    async def guard(request, handler):
        names.append(handler.__name__)
        if "Authorization" not in request.headers:
            raise web.HTTPUnauthorized
        return await handler(request)

    app = web.Application()
    app.router.add_get("/", tell, middlewares=(guard,))
    async with serving(app) as served:
        assert (await served.ask("/")).status == 401
        assert (await served.ask("/", "Authorization: me")).status == 200
        assert (await served.ask("/", "Authorization: me", method="HEAD")).status == 200
    assert names == ["tell"] * 3


class Pages(web.View):
    async def get(self):
        return await tell(self.request)


def by_adders(app, options):
    app.router.add_get("/get", tell, **options)
    app.router.add_post("/post", tell, **options)
    app.router.add_put("/put", tell, **options)
    app.router.add_patch("/patch", tell, **options)
    app.router.add_delete("/delete", tell, **options)
    app.router.add_options("/options", tell, **options)
    app.router.add_route("GET", "/route", tell, **options)
    app.router.add_resource("/resource").add_route("GET", tell, **options)
    app.router.add_view("/view", Pages, **options)


def by_definitions(app, options):
    definitions = [
        *(
            getattr(web, verb)(f"/{verb}", tell, **options)
            for verb in ("get", "post", "put", "patch", "delete", "options")
        ),
        web.route("GET", "/route", tell, **options),
        web.view("/view", Pages, **options),
    ]
    app.add_routes(definitions)


def by_table(app, options):
    table = web.RouteTableDef()
    for verb in ("get", "post", "put", "patch", "delete", "options"):
        getattr(table, verb)(f"/{verb}", **options)(tell)
    table.route("GET", "/route", **options)(tell)
    table.view("/view", **options)(Pages)
    app.add_routes(table)


@pytest.mark.parametrize("register", [by_adders, by_definitions, by_table])
async def test_every_way_to_make_a_route_takes_them(register):
    calls = []

    async def note(request, handler):
        calls.append(request.path)
        return await handler(request)

    app = web.Application()
    register(app, {"client_max_size": 7, "client_max_fields": 8, "middlewares": [note]})
    async with serving(app) as served:
        paths = [resource.canonical for resource in app.router.resources()]
        for path in paths:
            method = path[1:].upper() if path[1:] in ("post", "put", "patch", "delete", "options") else "GET"
            assert (await served.ask(path, method=method)).text == "7 8"
    assert calls == paths


async def test_a_folder_of_files_takes_middlewares(tmp_path):
    (tmp_path / "a.txt").write_text("hello")

    async def guard(request, handler):
        if "Authorization" not in request.headers:
            raise web.HTTPUnauthorized
        return await handler(request)

    app = web.Application()
    resource = app.router.add_static("/files", tmp_path, middlewares=[guard])
    resource.set_options_route(tell)
    app.add_routes([web.static("/more", tmp_path, middlewares=[guard])])
    async with serving(app) as served:
        for path in ("/files/a.txt", "/more/a.txt", "/files/missing"):
            assert (await served.ask(path)).status == 401
        assert (await served.ask("/files/a.txt", method="OPTIONS")).status == 401
        assert (await served.ask("/files/a.txt", "Authorization: me", method="HEAD")).status == 200


async def test_a_route_tells_what_holds_for_it():
    app = web.Application()
    route = app.router.add_get("/", tell, client_max_size=7, disconnect="finish", middlewares=[web.middleware(tell)])
    assert route.middlewares == (tell,)
    assert (route.policy.client_max_size, route.disconnect) == (7, "finish")


# -- time ----------------------------------------------------------------------------------------------------------


async def slow(request):
    await anyio.sleep(30)
    return web.Response(text="done")


async def test_a_handler_may_have_its_time_limited():
    app = web.Application()
    sub = web.Application(handler_timeout=20)
    sub.router.add_get("/", slow)
    sub.router.add_get("/longer", slow, handler_timeout=60)
    sub.router.add_get("/free", slow, handler_timeout=None)
    app.add_subapp("/sub", sub)
    app.router.add_get("/", slow)
    app.router.add_get("/short", slow, handler_timeout=10)
    async with serving(app) as served:
        assert (await served.ask("/")).text == "done"
        began = anyio.current_time()
        assert (await served.ask("/short")).status == 504
        assert anyio.current_time() - began == pytest.approx(10, abs=0.01)
        assert (await served.ask("/sub/")).status == 504
        assert (await served.ask("/sub/longer")).text == "done"
        assert (await served.ask("/sub/free")).text == "done"


async def test_middlewares_of_applications_can_answer_for_a_handler_out_of_time():
    async def apologise(request, handler):
        try:
            return await handler(request)
        except TimeoutError:
            return web.Response(status=503, text="busy")

    async def slow_around(request, handler):
        await anyio.sleep(7)
        return await handler(request)

    app = web.Application(middlewares=[apologise])
    app.router.add_get("/", slow, handler_timeout=10)
    app.router.add_get("/around", tell, handler_timeout=5, middlewares=[slow_around])
    async with serving(app) as served:
        assert (await served.ask("/")).text == "busy"
        assert (await served.ask("/around")).text == "busy"


async def test_sending_the_response_is_not_the_handlers_time():
    app = web.Application()

    async def large(request):
        return web.Response(body=bytes(2**20))

    app.router.add_get("/", large, handler_timeout=5)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get("/"))
        await anyio.sleep(20)
        assert len((await connection.answer()).body) == 2**20


# -- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"client_max_size": -1}, ValueError),
        ({"client_max_fields": -1}, ValueError),
        ({"handler_timeout": 0}, ValueError),
        ({"handler_timeout": float("nan")}, ValueError),
        ({"disconnect": "perhaps"}, ValueError),
        ({"middlewares": tell}, TypeError),
        ({"middlewares": ["tell"]}, TypeError),
        ({"middlewares": iter([tell])}, TypeError),
        ({"max_size": 1}, TypeError),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(options, error):
    app = web.Application()
    with pytest.raises(error):
        app.router.add_get("/", tell, **options)
    with pytest.raises(error):
        app.router.add_post("/", tell, **options)


@pytest.mark.parametrize("options", [{"client_max_size": -1}, {"client_max_fields": -1}, {"handler_timeout": 0}])
def test_an_application_refuses_it_too(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        web.Application(**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"client_max_size": "1M"}, TypeError, "client_max_size must be a number, 0 or None for no limit, got '1M'"),
        ({"client_max_fields": -1}, ValueError, "client_max_fields must not be negative"),
        ({"handler_timeout": "5"}, ValueError, "handler_timeout must be more than 0 seconds, .* got '5'"),
        ({"deadline_header": 5}, ValueError, "deadline_header must be the name of a header, got 5"),
    ],
)
def test_limits_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        web.Application(**options)


async def test_a_middleware_that_is_none_ends_the_start():
    """Not the first request."""
    app = web.Application()
    below = web.Application(middlewares=[5])  # type: ignore[list-item]  # is what it tests
    app.add_subapp("/sub", below)
    with pytest.raises(TypeError, match="a middleware must be a function of request and handler, got 5"):
        await app.startup()
