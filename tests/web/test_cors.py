"""Pages of other origins: what they are told they may read and send (B-19)."""

import re

import pytest

from structweb import web
from structweb._web.middleware import Middleware
from tests.web.served import serving
from tests.web.talk import Reply, ask, parse, request_bytes

pytestmark = pytest.mark.anyio

FRIEND = "https://friend.example"
FROM_FRIEND = f"Origin: {FRIEND}"
FROM_FOE = "Origin: https://foe.example"
PATTERN = re.compile(r"https://[a-z]+\.example\.org")


def fields_of(reply: Reply) -> dict[str, str]:
    """Return what a reply says of sharing; no field may come twice."""
    names = [name.lower() for name, _ in reply.fields]
    assert len(set(names)) == len(names), names
    return {name.lower(): value for name, value in reply.fields if name.lower().startswith(("access-control-", "vary"))}


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"piece")
    return response


async def denied(request: web.Request) -> web.Response:
    raise web.HTTPPaymentRequired


async def crash(request: web.Request) -> web.Response:
    raise RuntimeError("crash")


async def late(request: web.Request) -> web.Response:
    raise TimeoutError


async def own(request: web.Request) -> web.Response:
    return web.Response(headers={"Access-Control-Allow-Origin": "https://own.example", "Vary": "Accept, origin"})


async def compressed(request: web.Request) -> web.Response:
    response = web.Response(text="hello" * 100)
    response.enable_compression()
    return response


def app_with(*around: Middleware) -> web.Application:
    app = web.Application(middlewares=around)
    handlers = {"hello": hello, "streamed": streamed, "denied": denied, "crash": crash, "late": late, "own": own}
    for name, handler in handlers.items():
        app.router.add_get(f"/{name}", handler)
    app.router.add_get("/compressed", compressed)
    app.router.add_put("/put", hello)
    return app


async def preflight(app: web.Application, path: str = "/put", origin: str = FRIEND, method: str = "PUT") -> Reply:
    return await ask(app, path, f"Origin: {origin}", f"Access-Control-Request-Method: {method}", method="OPTIONS")


SHARED = {"access-control-allow-origin": FRIEND, "vary": "Origin"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("hello", 200), ("streamed", 200), ("denied", 402), ("crash", 500), ("late", 504), ("none", 404), ("put", 405)],
)
async def test_every_kind_of_response_says_who_may_read_it(path: str, status: int):
    app = app_with(web.cors_middleware([FRIEND]))
    reply = await ask(app, f"/{path}", FROM_FRIEND)
    assert (reply.status, fields_of(reply)) == (status, SHARED)


@pytest.mark.parametrize("path", ["hello", "streamed", "denied", "crash"])
@pytest.mark.parametrize("fields", [(), (FROM_FOE,), ("Origin: null",)])
async def test_others_are_answered_without_a_word_but_vary(path: str, fields: tuple[str, ...]):
    reply = await ask(app_with(web.cors_middleware([FRIEND])), f"/{path}", *fields)
    assert fields_of(reply) == {"vary": "Origin"}


async def test_files_too(tmp_path):
    (tmp_path / "file.txt").write_text("file")
    app = app_with(web.cors_middleware([FRIEND]))
    app.router.add_static("/files", tmp_path)
    for _ in range(2):  # the second time it is in the cache
        reply = await ask(app, "/files/file.txt", FROM_FRIEND)
        assert (reply.body, fields_of(reply)) == (b"file", SHARED)
        assert fields_of(await ask(app, "/files/file.txt", FROM_FOE)) == {"vary": "Origin"}


async def test_everybody_makes_no_difference_to_caches():
    """What was answered without an Origin may be kept, and handed to a page of another one."""
    app = app_with(web.cors_middleware("*", expose=["ETag"]))
    said = {"access-control-allow-origin": "*", "access-control-expose-headers": "ETag"}
    for path in ("/hello", "/streamed", "/denied"):
        assert fields_of(await ask(app, path, FROM_FOE)) == said
        assert fields_of(await ask(app, path)) == said
    reply = await preflight(app)
    assert (reply.status, reply.body) == (204, b"")
    assert fields_of(reply) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, HEAD, POST",
    }


async def test_all_that_can_be_said():
    cors = web.cors_middleware(
        [FRIEND, PATTERN],
        methods=["GET", "put"],
        headers=["X-Token", "Content-Type"],
        expose=["X-Count", "ETag"],
        credentials=True,
        max_age=600,
    )
    app = app_with(cors)
    for origin in (FRIEND, "https://any.example.org"):
        reply = await preflight(app, origin=origin)
        assert reply.status == 204
        assert fields_of(reply) == {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-allow-methods": "GET, PUT",
            "access-control-allow-headers": "X-Token, Content-Type",
            "access-control-max-age": "600",
            "vary": "Origin",
        }
        assert fields_of(await ask(app, "/hello", f"Origin: {origin}")) == {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": "X-Count, ETag",
            "vary": "Origin",
        }


@pytest.mark.parametrize(
    "origin",
    [
        "https://foe.example",
        "http://friend.example",
        "https://friend.example:8443",
        "https://friend.example.foe.example",
        "https://any.example.org.foe.example",
        "https://foe.example/https://any.example.org",
        "https://FRIEND.example",
        "null",
        "a\N{SNOWMAN}",
    ],
)
async def test_preflights_of_others_are_refused(origin: str):
    reply = await preflight(app_with(web.cors_middleware([FRIEND, PATTERN])), origin=origin)
    assert (reply.status, fields_of(reply)) == (403, {"vary": "Origin"})
    assert reply.body.startswith(b"CORS: the origin ")


async def test_null_matches_no_pattern():
    app = app_with(web.cors_middleware([re.compile(".*")]))
    assert (await preflight(app, origin="null")).status == 403
    assert (await preflight(app, origin="https://whoever.example")).status == 204


@pytest.mark.parametrize("path", ["/put", "/nothing", "/options"])
async def test_preflights_are_answered_whether_or_not_there_is_a_route(path: str):
    app = app_with(web.cors_middleware([FRIEND]))
    app.router.add_options("/options", crash)
    assert (await preflight(app, path)).status == 204


async def test_other_options_are_none_of_its_business():
    app = app_with(web.cors_middleware([FRIEND]))
    app.router.add_options("/options", hello)
    reply = await ask(app, "/options", FROM_FRIEND, method="OPTIONS")
    assert (reply.body, fields_of(reply)) == (b"hello", SHARED)
    reply = await ask(app, "/options", "Access-Control-Request-Method: PUT", method="OPTIONS")
    assert reply.body == b"hello"


async def test_options_with_a_body_are_no_preflight():
    async def read_first(request, handler):
        await request.read()
        return await handler(request)

    app = app_with(read_first, web.cors_middleware([FRIEND]))
    fields = (FROM_FRIEND, "Access-Control-Request-Method: PUT")
    assert (await ask(app, "/put", *fields, method="OPTIONS")).status == 204
    assert (await ask(app, "/put", *fields, method="OPTIONS", body=b"body")).status == 405


async def test_what_a_handler_says_itself_stays():
    reply = await ask(app_with(web.cors_middleware([FRIEND])), "/own", FROM_FRIEND)
    assert fields_of(reply) == {"access-control-allow-origin": "https://own.example", "vary": "Accept, origin"}


async def test_vary_has_both_behind_a_receiver_that_sets_it():
    async def set_vary(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Vary"] = "Cookie"

    app = app_with(web.cors_middleware([FRIEND]))
    app.on_response_prepare.append(set_vary)
    reply = await ask(app, "/hello", FROM_FRIEND)
    assert [value for name, value in reply.fields if name == "Vary"] == ["Cookie", "Origin"]


async def test_beside_compression():
    reply = await ask(app_with(web.cors_middleware([FRIEND])), "/compressed", FROM_FRIEND, "Accept-Encoding: gzip")
    assert reply.get("Content-Encoding") == "gzip"
    assert {value for name, value in reply.fields if name == "Vary"} == {"Accept-Encoding", "Origin"}


@pytest.mark.parametrize("path", ["hello", "streamed", "denied", "crash"])
@pytest.mark.parametrize("order", [1, -1])
async def test_around_and_inside_of_what_copies_requests(path: str, order: int):
    """Errors are answered with the request that the server made, streams with the one that the handler has."""
    around = [
        web.cors_middleware([FRIEND]),
        web.trusted_proxies(["192.0.2.0/24"]),
        web.trusted_proxies(["192.0.2.0/24"]),
    ]
    reply = await ask(app_with(*around[::order]), f"/{path}", FROM_FRIEND)
    assert fields_of(reply) == SHARED


async def test_nothing_is_left_for_the_next_request():
    app = app_with()
    app.router.add_get("/shared", hello, middlewares=[web.cors_middleware([FRIEND])])
    async with serving(app) as served:
        connection = served.connect()
        assert "vary" in (await connection.ask("/shared", FROM_FRIEND)).headers
        assert "vary" not in (await connection.ask("/hello", FROM_FRIEND)).headers


# -- parts of an application ---------------------------------------------------------------------------------------


async def test_a_sub_application_of_its_own():
    app = app_with()
    app.add_subapp("/sub", app_with(web.cors_middleware([FRIEND])))
    for path in ("/sub/hello", "/sub/nothing"):
        assert fields_of(await ask(app, path, FROM_FRIEND)) == SHARED
        assert (await preflight(app, path)).status == 204
    assert fields_of(await ask(app, "/hello", FROM_FRIEND)) == {}
    assert (await preflight(app, "/put")).status == 405


async def test_a_route_of_its_own():
    app = app_with()
    app.router.add_delete("/one/{x}", hello, middlewares=[web.cors_middleware([FRIEND], methods=["DELETE"])])
    app.router.add_put("/one/{x}", hello)
    reply = await preflight(app, "/one/1", method="DELETE")
    assert (reply.status, fields_of(reply)) == (204, SHARED | {"access-control-allow-methods": "DELETE"})
    assert fields_of(await ask(app, "/one/1", FROM_FRIEND, method="DELETE")) == SHARED
    assert fields_of(await ask(app, "/one/1", FROM_FRIEND, method="PUT")) == {}
    for method in ("PUT", "delete", "NONE", "a b"):
        assert (await preflight(app, "/one/1", method=method)).status == 405
    assert (await preflight(app, "/other", method="DELETE")).status == 404


async def test_the_innermost_counts():
    inner, innermost = "https://inner.example", "https://innermost.example"
    app = app_with(web.cors_middleware("*"))
    sub = app_with(web.cors_middleware([inner]))
    sub.router.add_put("/own", hello, middlewares=[web.cors_middleware([innermost])])
    app.add_subapp("/sub", sub)
    for path, origin in {"/put": "*", "/sub/put": inner, "/sub/own": innermost}.items():
        for asking in (inner, innermost, FRIEND):
            allowed = origin if origin in ("*", asking) else None
            for reply in (
                await preflight(app, path, asking),
                await ask(app, path, f"Origin: {asking}", method="PUT"),
            ):
                assert fields_of(reply).get("access-control-allow-origin") == allowed


async def test_guards_of_a_route_do_not_see_preflights():
    async def guard(request, handler):
        raise web.HTTPUnauthorized

    app = app_with()
    app.router.add_put("/guarded", hello, middlewares=[web.cors_middleware([FRIEND]), guard])
    assert (await preflight(app, "/guarded")).status == 204
    reply = await ask(app, "/guarded", FROM_FRIEND, method="PUT")
    assert (reply.status, fields_of(reply)) == (401, SHARED)


async def test_malformed_requests_have_no_origin():
    async with serving(app_with(web.cors_middleware([FRIEND]))) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/hello", FROM_FRIEND, "no field"))
        reply = parse(await connection.rest())
    assert (reply.status, fields_of(reply)) == (400, {"vary": "Origin"})


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"origins": "*"},
        {"origins": [FRIEND], "methods": "*"},
        {"origins": [FRIEND], "headers": ["X-A", "*"]},
        {"origins": [FRIEND], "expose": "*"},
    ],
)
def test_credentials_exclude_everybody(arguments):
    web.cors_middleware(**arguments)
    with pytest.raises(ValueError, match=r"^credentials exclude '\*', got it for "):
        web.cors_middleware(**arguments, credentials=True)


@pytest.mark.parametrize(
    "origin",
    [
        *("", "*", "null", "example.org", "//example.org", "https://example.org/", "https://example.org/path"),
        *("https://example.org:443", "http://example.org:80", "HTTPS://example.org", "https://Example.org"),
        *("https://*.example.org", "https://user@example.org", "https://example.org\n", b"https://example.org", 1),
        *("https://example.org:\u0664\u0664", re.compile(rb"https://.*\.example\.org")),
    ],
)
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(ValueError, match="as browsers send them"):
        web.cors_middleware([origin])


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:8080", "http://[::1]:8080", "chrome-extension://abcdef", "https://xn--bcher-kva.example"],
)
async def test_every_kind_of_origin(origin: str):
    assert (await preflight(app_with(web.cors_middleware(iter([origin]))), origin=origin)).status == 204


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {"origins": FRIEND}),
        (TypeError, {"origins": PATTERN}),
        (TypeError, {"methods": "PUT"}),
        (TypeError, {"headers": "X-A"}),
        (TypeError, {"expose": "X-A"}),
        (ValueError, {"methods": ["A B"]}),
        (ValueError, {"headers": ["X-A\r\nX-B: c"]}),
        (ValueError, {"expose": [""]}),
        (ValueError, {"max_age": -1}),
        (ValueError, {"max_age": 1.5}),
    ],
)
def test_arguments_are_checked(error, arguments):
    with pytest.raises(error, match="must be"):
        web.cors_middleware(**{"origins": [FRIEND]} | arguments)
