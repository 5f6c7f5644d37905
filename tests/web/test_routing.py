"""Routing as clients see it: requests go in, responses come out."""

import pytest

from structweb import web
from tests.web.served import serving

pytestmark = pytest.mark.anyio

NAME = web.AppKey("name", str)


async def hello(request):
    return web.Response(text="hello")


async def show(request):
    return web.json_response(dict(request.match_info))


@pytest.mark.parametrize("allow_head", [True, False])
async def test_head_is_get_without_its_body(allow_head):
    app = web.Application()
    app.router.add_get("/", hello, allow_head=allow_head)
    async with serving(app) as served:
        got = await served.ask("/")
        connection = served.connect()
        head = await connection.ask("/", method="HEAD")
        assert (await connection.ask("/")).body == b"hello"  # nothing came behind the first head
    assert got.body == b"hello"
    if allow_head:
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        assert head.headers["content-length"] == "5"
    else:
        assert (head.status, head.headers["allow"]) == (405, "get")


async def test_a_handler_may_skip_the_body_of_head():
    async def handler(request):
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "1000000"})
        return web.Response(body=bytes(1_000_000))

    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as served:
        assert (await served.ask("/", method="HEAD")).headers["content-length"] == "1000000"


async def test_any_method_reaches_a_wildcard_route():
    async def handler(request):
        return web.Response(text=request.method)

    app = web.Application()
    app.router.add_route("*", "/", handler)
    async with serving(app) as served:
        for method in ("GET", "POST", "PROPFIND", "OPTIONS"):
            assert (await served.ask("/", method=method)).text == method


@pytest.mark.parametrize(
    ("target", "method", "status", "allow"),
    [
        ("/none", "GET", 404, None),
        ("/slash", "GET", 404, None),
        ("//get", "GET", 404, None),
        ("/get", "POST", 405, "get,head,put"),
        ("/get", "OPTIONS", 405, "get,head,put"),
        ("*", "OPTIONS", 404, None),
    ],
)
async def test_404_and_405(target, method, status, allow):
    app = web.Application()
    app.router.add_get("/get", hello)
    app.router.add_get("/slash/", hello)
    app.router.add_put("/{g:g.*}", hello)
    async with serving(app) as served:
        answer = await served.ask(target, method=method)
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == {404: "404: Not Found", 405: "405: Method Not Allowed"}[status]


@pytest.mark.parametrize(
    ("path", "target", "values"),
    [
        ("/{x}", "/a%20b", '{"x": "a b"}'),
        ("/{x}", "/a%2Fb", '{"x": "a/b"}'),
        ("/{x}", "/a%252Fb?x=y", '{"x": "a%2Fb"}'),
        ("/{x}", "/a+b", '{"x": "a+b"}'),
        ("/{x}", "/%zz", '{"x": "%zz"}'),
        ("/путь/{x}", "/%D0%BF%D1%83%D1%82%D1%8C/1", '{"x": "1"}'),
        ("/a b/{x}", "/a%20b/1", '{"x": "1"}'),
        ("/с п", "/%D1%81%20%D0%BF", "{}"),
        ("/%41", "/A", "{}"),
        (r"/{id:\d{2,3}}", "/123", '{"id": "123"}'),
        ("/{x}", "http://host/a%20b", '{"x": "a b"}'),
        ("/{x}", "/a#b", '{"x": "a"}'),
    ],
)
async def test_values_come_decoded(path, target, values):
    app = web.Application()
    app.router.add_get(path, show)
    async with serving(app) as served:
        answer = await served.ask(target)
    assert (answer.status, answer.text) == (200, values)


async def test_methods_of_an_object_are_handlers():
    class Greeter:
        def __init__(self, word):
            self.word = word

        async def suspending(self, request):
            return web.Response(text=self.word)

        def plain(self, request):
            return web.Response(text=f"plain {self.word}")

    app, greeter = web.Application(), Greeter("hi")
    app.router.add_get("/suspending", greeter.suspending)
    app.router.add_get("/plain", greeter.plain)
    async with serving(app) as served:
        assert (await served.ask("/suspending")).text == "hi"
        assert (await served.ask("/plain")).text == "plain hi"


@pytest.mark.parametrize("add", ["add_view", "add_route", "table", "definition"])
async def test_a_view_serves_the_verbs_it_defines(add):
    class Article(web.View):
        async def get(self):
            return web.Response(text=f"got {self.request.path}")

        async def post(self):
            return web.Response(text="posted")

    app, table = web.Application(), web.RouteTableDef()
    match add:
        case "add_view":
            app.router.add_view("/path/to", Article)
        case "add_route":
            app.router.add_route("*", "/path/to", Article)
        case "table":
            table.view("/path/to")(Article)
            app.add_routes(table)
        case "definition":
            app.add_routes([web.view("/path/to", Article)])
    async with serving(app) as served:
        assert (await served.ask("/path/to")).text == "got /path/to"
        assert (await served.ask("/path/to", method="POST")).text == "posted"
        for method in ("PUT", "HEAD", "PROPFIND"):
            answer = await served.ask("/path/to", method=method)
            assert (answer.status, answer.headers["allow"]) == (405, "get,post")


async def test_all_styles_of_registration_mix():
    app, routes = web.Application(), web.RouteTableDef()

    @routes.get("/decorated")
    async def decorated(request):
        return web.Response(text="decorated")

    app.router.add_get("/called", hello)
    app.add_routes([web.get("/listed", hello), web.post("/listed", show)])
    app.add_routes(routes)
    async with serving(app) as served:
        assert (await served.ask("/called")).text == "hello"
        assert (await served.ask("/listed")).text == "hello"
        assert (await served.ask("/listed", method="POST")).text == "{}"
        assert (await served.ask("/decorated")).text == "decorated"


async def test_criteria_of_ones_own():
    class AcceptChooser:
        def __init__(self):
            self._accepts = {}

        async def do_route(self, request):
            for accept in request.headers.getall("ACCEPT", []):
                acceptor = self._accepts.get(accept)
                if acceptor is not None:
                    return await acceptor(request)
            raise web.HTTPNotAcceptable

        def reg_acceptor(self, accept, handler):
            self._accepts[accept] = handler

    app, choose = web.Application(), AcceptChooser()
    choose.reg_acceptor("application/json", show)
    choose.reg_acceptor("text/plain", hello)
    app.router.add_route("*", "/data", choose.do_route)
    async with serving(app) as served:
        assert (await served.ask("/data", "Accept: text/plain")).text == "hello"
        assert (await served.ask("/data", "accept: image/png", "ACCEPT: application/json")).text == "{}"
        assert (await served.ask("/data", "Accept: image/png")).status == 406
        assert (await served.ask("/data")).status == 406


async def test_what_a_sub_application_lacks_passes_its_own_middlewares():
    seen = []

    @web.middleware
    async def note(request, handler):
        seen.append(request.app[NAME])
        return await handler(request)

    app, sub = web.Application(middlewares=[note]), web.Application(middlewares=[note])
    app[NAME], sub[NAME] = "app", "sub"
    sub.router.add_get("/a", hello)
    app.add_subapp("/sub", sub)
    app.router.add_get("/{tail:.*}", hello)
    async with serving(app) as served:
        assert (await served.ask("/sub/a")).text == "hello"
        assert (await served.ask("/sub/none")).status == 404
        assert (await served.ask("/sub/a", method="PUT")).headers["allow"] == "get,head"
        assert (await served.ask("/other")).text == "hello"
    assert seen == ["app", "sub"] * 3 + ["app"]


async def test_a_domain_is_chosen_by_the_host_field():
    app, domain = web.Application(), web.Application()
    app.router.add_get("/", hello)
    domain.router.add_get("/", show)
    app.add_domain("*.example.com", domain)
    async with serving(app) as served:
        assert (await served.ask("/")).text == "hello"
        connection = served.connect()
        await connection.stream.send(b"GET / HTTP/1.1\r\nHost: WWW.Example.com:81\r\n\r\n")
        assert (await connection.answer()).text == "{}"


async def test_a_request_knows_its_route_and_builds_urls():
    async def handler(request):
        route = request.match_info.route
        url = request.app.router["user"].url_for(user="john doe").with_query(a="b")
        return web.Response(text=f"{route.method} {route.resource.canonical} {route.name} {url}")

    app = web.Application()
    app.router.add_get("/{user}/info", handler, name="user")
    async with serving(app) as served:
        assert (await served.ask("/x/info")).text == "GET /{user}/info user /john%20doe/info?a=b"


async def test_a_body_is_asked_for_by_default():
    async def handler(request):
        return web.Response(text=await request.text())

    app = web.Application()
    app.router.add_post("/", handler)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await connection.stream.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.stream.send(b"hi")
        assert (await connection.answer()).text == "hi"
