"""What rows of JSON, cookies, names and forms say beyond the tests of those modules."""

import re
from http.cookies import CookieError

import pytest

import structweb
from structweb import hdrs, web
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = pytest.mark.anyio


def cookies_of(reply) -> list[str]:
    return [value for name, value in reply.fields if name == "Set-Cookie"]


# -- S-45: JSON ----------------------------------------------------------------------------------------------------


async def test_json_of_a_plain_function_is_a_response_that_takes_cookies():
    def handler(request: web.Request) -> web.Response:
        response = web.json_response({"é": [1, None]})
        assert type(response) is web.Response
        response.set_cookie("a", "b")
        return response

    reply = await ask(handler)
    assert (reply.get("Content-Type"), reply.body) == ("application/json; charset=utf-8", b'{"\\u00e9": [1, null]}')
    assert cookies_of(reply) == ["a=b; Path=/"]


# -- W-124, W-125: cookies -----------------------------------------------------------------------------------------


async def test_cookies_of_an_error():
    def handler(request: web.Request) -> web.Response:
        error = web.HTTPForbidden()
        error.set_cookie("a", "b")
        error.del_cookie("gone")
        raise error

    reply = await ask(handler)
    assert reply.status == 403
    assert cookies_of(reply) == ["a=b; Path=/", 'gone=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/']


async def test_cookies_are_quoted_and_set_again():
    def handler(request: web.Request) -> web.Response:
        response = web.Response()
        response.set_cookie("quoted", 'b c;"é,', path="")
        response.set_cookie("empty", "", samesite="None", secure=False, partitioned=False)
        response.set_cookie("twice", "1", path="/a")
        response.set_cookie("twice", "2", path="/b")
        response.cookies["plain"] = "x"
        return response

    assert cookies_of(await ask(handler)) == [
        'quoted="b c\\073\\"\\351\\054"',
        'empty=""; Path=/; SameSite=None',
        "twice=2; Path=/b",
        "plain=x",
    ]


@pytest.mark.parametrize("name", ["", "a b", "a;", "a=b", "é", "a\r\nb"])
def test_names_that_no_cookie_may_have(name: str):
    with pytest.raises(CookieError):
        web.Response().set_cookie(name, "v")


async def test_cookies_that_were_sent_cannot_be_changed():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.set_cookie("a", "b")
        await response.prepare(request)
        assert response.cookies["a"].value == "b"
        for change in (
            lambda: response.set_cookie("late", "1"),
            lambda: response.del_cookie("a"),
            lambda: response.cookies.__setitem__("late", "1"),
            lambda: response.cookies.__delitem__("a"),
            lambda: response.cookies.load("late=1"),
        ):
            with pytest.raises(RuntimeError, match="cookies cannot be changed"):
                change()
        return response

    assert cookies_of(await ask(handler)) == ["a=b; Path=/"]


# -- W-119: limits of a part's header ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "options", "status"),
    [
        (b"A: " + b"x" * 97, {"max_field_size": 100}, 200),
        (b"A: " + b"x" * 98, {"max_field_size": 100}, 400),
        (b"A: b\r\n" * 4 + b"A: b", {"max_headers": 5}, 200),
        (b"A: b\r\n" * 5 + b"A: b", {"max_headers": 5}, 400),
    ],
)
async def test_limits_of_heads_are_those_of_parts(header: bytes, options: dict[str, int], status: int):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=str(len([part async for part in await request.multipart()])))

    sent = request_bytes(
        "/", "Content-Type: multipart/mixed; boundary=B", method="POST", body=b"--B\r\n" + header + b"\r\n\r\n--B--\r\n"
    )
    assert parse(await talk(app_of(handler), sent, **options)).status == status


# -- W-198, X-42, W-203: names -------------------------------------------------------------------------------------


async def test_normalized_paths_are_permanent_redirects():
    app = web.Application(middlewares=[web.normalize_path_middleware()])
    app.router.add_get("/a/", lambda request: web.Response())
    reply = await ask(app, "/a?q=1")
    assert (reply.status, reply.get("Location")) == (308, "/a/?q=1")


def test_names_that_users_import_from_elsewhere():
    """X-42: from the package itself, and the web ones from `web` too."""
    for name in ("ETag", "AbstractView", "AbstractAccessLogger", "WSMessage", "WSMsgType", "WSCloseCode"):
        assert getattr(structweb, name) is getattr(web, name, getattr(structweb, name))
    for name in ("MultipartReader", "MultipartWriter", "BodyPartReader", "FormData", "StreamReader", "EMPTY_PAYLOAD"):
        assert hasattr(structweb, name)
    assert issubclass(web.View, structweb.AbstractView)
    assert issubclass(web.AccessLogger, structweb.AbstractAccessLogger)


def test_names_of_headers():
    names = {name: value for name, value in vars(hdrs).items() if re.fullmatch("[A-Z][A-Z0-9_]+", name)}
    methods = {value for name, value in names.items() if name.startswith("METH_") and isinstance(value, str)}
    assert methods - {hdrs.METH_ANY} == hdrs.METH_ALL
    fields = {name: value for name, value in names.items() if not name.startswith("METH_")}
    assert len(fields) > 70
    assert {name: value.upper().replace("-", "_") for name, value in fields.items()} == {name: name for name in fields}


async def test_they_find_headers():
    def handler(request: web.Request) -> web.Response:
        return web.Response(headers={hdrs.CONTENT_LANGUAGE: request.headers[hdrs.ACCEPT_LANGUAGE]})

    assert (await ask(handler, "/", "accept-language: de")).get("Content-Language") == "de"


@pytest.mark.parametrize(
    ("thing", "name", "hint"),
    [
        ("request", "message", "method, version, raw_path"),
        ("request", "protocol", "get_extra_info"),
        ("request", "GET", "request.query"),
        ("response", "drain", "write"),
        ("response", "output_length", "body_length"),
    ],
)
async def test_names_that_are_gone_say_what_to_use(thing: str, name: str, hint: str):
    """W-143, W-200."""

    def handler(request: web.Request) -> web.Response:
        response = web.Response()
        with pytest.raises(AttributeError, match=hint):
            getattr({"request": request, "response": response}[thing], name)
        return response

    assert (await ask(handler)).status == 200
