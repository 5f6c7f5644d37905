"""Responses with their whole body (W-057, W-060..W-066, W-069..W-072, W-078, W-124, W-125, W-187)."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from http.cookies import CookieError

import pytest

from structweb._server.config import SERVER_SOFTWARE
from structweb._web.keys import NotAppKeyWarning, ResponseKey
from structweb._web.response import Response, json_bytes_response, json_response
from structweb._web.streaming import StreamResponse
from structweb._wire.conditional import ETag
from tests.web.served import serving
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = pytest.mark.anyio


async def sent(make, **options):
    """Return the response that the client gets for what `make` returns."""

    async def handler(request):
        return make()

    return await ask(handler, **options)


# -- W-057: status and state ---------------------------------------------------------------------------------------


def test_status_and_reason():
    assert (Response().status, Response().reason) == (200, "OK")
    assert Response(status=404).reason == "Not Found"
    assert Response(status=799).reason == ""
    assert Response(status=200, reason="Fine").reason == "Fine"
    response = StreamResponse(status=201)
    response.set_status(418, "Teapot")
    assert (response.status, response.reason) == (418, "Teapot")
    response.set_status(404)
    assert response.reason == "Not Found"


@pytest.mark.parametrize("reason", ["a\r\nb", "a\nb", "a\0b", "a\x7fb"])
def test_reason_has_no_control_characters(reason):
    with pytest.raises(ValueError, match="reason must not contain"):
        Response(reason=reason)


@pytest.mark.parametrize("status", [0, 99, 1000, -1])
def test_status_has_three_digits(status):
    with pytest.raises(ValueError, match="from 100 to 999"):
        Response(status=status)


KEY = ResponseKey("key", str)


def test_response_is_a_mapping_of_its_own():
    response = Response()
    response[KEY] = "value"
    assert response[KEY] == "value"
    assert dict(response) == {KEY: "value"}
    assert response
    assert Response()
    assert response == response  # noqa: PLR0124 - that is the question
    assert response != Response()
    assert {response: 1}[response] == 1
    with pytest.warns(NotAppKeyWarning, match="ResponseKey"):
        response["a text key of a response"] = 1
    assert repr(response) == "<Response OK not prepared>"
    with pytest.raises(AttributeError, match="no task"):
        response.task  # noqa: B018 - a property


async def test_sent_response_cannot_be_changed():
    kept = []

    async def handler(request):
        kept.append(Response(text="x"))
        return kept[0]

    await ask(handler)
    response = kept[0]
    assert response.prepared
    assert repr(response) == "<Response OK eof>"
    assert response.keep_alive is False
    with pytest.raises(RuntimeError, match="the status cannot be changed"):
        response.set_status(201)
    with pytest.raises(RuntimeError, match="cookies cannot be changed"):
        response.set_cookie("a", "b")
    with pytest.raises(RuntimeError, match="cookies cannot be changed"):
        response.del_cookie("a")


# -- W-060: making one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"body": b"", "text": ""}, ValueError, "either body or text"),
        ({"text": 1}, TypeError, "text must be a str, got 1"),
        ({"content_type": "text/html; charset=utf-8"}, ValueError, "must not contain a charset"),
        ({"text": "", "content_type": "text/html; charset=utf-8"}, ValueError, "must not contain a charset"),
        ({"headers": {"content-type": "a/b"}, "content_type": "a/b"}, ValueError, "have a Content-Type"),
        ({"headers": {"content-type": "a/b"}, "charset": "utf-8"}, ValueError, "have a Content-Type"),
        ({"text": "", "headers": {"content-type": "a/b"}, "charset": "utf-8"}, ValueError, "have a Content-Type"),
        ({"body": 1}, ValueError, "Unsupported body type int"),
        ({"body": [b"x"]}, ValueError, "Unsupported body type list"),
        ({"body": (piece for piece in [b"x"])}, ValueError, "Unsupported body type generator"),
    ],
)
def test_what_does_not_go_together(arguments, error, message):
    with pytest.raises(error, match=message):
        Response(**arguments)


def test_arguments_for_compression_are_taken():
    with ThreadPoolExecutor(1) as executor, pytest.warns(DeprecationWarning, match="give an anyio.CapacityLimiter"):
        assert Response(text="x", zlib_executor=executor, zlib_executor_size=1).text == "x"


def test_headers_are_copied():
    given = {"X": "1"}
    response = Response(headers=given)
    response.headers["X"] = "2"
    assert given == {"X": "1"}


@pytest.mark.parametrize(
    ("arguments", "content_type", "body"),
    [
        ({}, None, b""),
        ({"text": "\u00e9"}, "text/plain; charset=utf-8", b"\xc3\xa9"),
        ({"text": "\u00e9", "charset": "latin-1"}, "text/plain; charset=latin-1", b"\xe9"),
        ({"text": "x", "content_type": "text/html"}, "text/html; charset=utf-8", b"x"),
        ({"text": "x", "headers": {"A": "b"}}, "text/plain; charset=utf-8", b"x"),
        ({"text": "x", "headers": {"Content-Type": "text/html"}}, "text/html; charset=utf-8", b"x"),
        (
            {"text": "\u00e9", "headers": {"Content-Type": "text/x; charset=latin-1"}},
            "text/x; charset=latin-1",
            b"\xe9",
        ),
        ({"text": ""}, "text/plain; charset=utf-8", b""),
        ({"body": b"x"}, "application/octet-stream", b"x"),
        ({"body": b"x", "headers": {"A": "b"}}, "application/octet-stream", b"x"),
        ({"body": b"x", "headers": {"A": "b"}, "content_type": "image/png"}, "image/png", b"x"),
        ({"body": b"x", "content_type": "image/png"}, "image/png", b"x"),
        ({"body": b"x", "content_type": "text/html", "charset": "utf-8"}, "text/html; charset=utf-8", b"x"),
        ({"body": b"x", "charset": "utf-8"}, "application/octet-stream", b"x"),
        ({"body": bytearray(b"x")}, "application/octet-stream", b"x"),
        ({"body": memoryview(b"xyz")}, "application/octet-stream", b"xyz"),
        ({"body": memoryview(b"xyz")[::2]}, "application/octet-stream", b"xz"),
        ({"body": "\u00e9"}, "text/plain; charset=utf-8", b"\xc3\xa9"),
        ({"body": "x", "content_type": "text/html"}, "text/html", b"x"),
        ({"body": "x", "headers": {"A": "b"}}, "text/plain; charset=utf-8", b"x"),
        ({"body": b""}, None, b""),
    ],
)
async def test_bodies_and_their_types(arguments, content_type, body):
    """W-061, W-072: and the same once somebody looked at the headers."""
    for looked_at in (False, True):

        def make(looked_at=looked_at):
            response = Response(**arguments)
            if looked_at:
                assert response.headers.get("Content-Type", content_type) == content_type
            return response

        reply = await sent(make)
        assert reply.get("Content-Type") == content_type
        assert reply.body == body
        assert reply.get("Content-Length") == str(len(body))
        assert reply.get("Server") == SERVER_SOFTWARE
        assert reply.get("Date")


async def test_own_headers_win():
    reply = await sent(
        lambda: Response(
            text="x", headers=[("Date", "today"), ("Server", "mine"), ("Content-Length", "1"), ("A", "1"), ("A", "2")]
        )
    )
    assert reply.fields == [
        ("Date", "today"),
        ("Server", "mine"),
        ("Content-Length", "1"),
        ("A", "1"),
        ("A", "2"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Connection", "close"),
    ]


def test_text_and_body_can_be_set():
    response = Response(text="\u00e9")
    assert (response.text, response.body, response.content_length) == ("\u00e9", b"\xc3\xa9", 2)
    response.body = None
    assert (response.text, response.body, response.content_length) == (None, None, 0)
    response.charset = "latin-1"
    response.text = "\u00e9"
    assert response.body == b"\xe9"
    with pytest.raises(TypeError, match="text must be a str"):
        response.text = None
    response = Response(body=b"x")
    response.text = "y"
    assert (response.content_type, response.charset) == ("text/plain", "utf-8")


# -- W-062..W-064: headers with attributes -------------------------------------------------------------------------


def test_content_type_and_charset():
    response = Response()
    assert (response.content_type, response.charset) == ("application/octet-stream", None)
    with pytest.raises(RuntimeError, match="set content_type first"):
        response.charset = "utf-8"
    response.content_type = "text/html"
    response.charset = "UTF-8"
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    response.content_type = "text/css"
    assert response.headers["Content-Type"] == "text/css; charset=utf-8"
    response.charset = None
    assert response.headers["Content-Type"] == "text/css"


def test_content_length():
    with pytest.raises(RuntimeError, match="cannot be set"):
        Response().content_length = 1
    assert Response(headers={"Content-Length": "7"}).content_length == 7
    stream = StreamResponse()
    assert stream.content_length is None
    stream.content_length = 5
    assert stream.headers["Content-Length"] == "5"
    with pytest.raises(RuntimeError, match="cannot be chunked"):
        stream.enable_chunked_encoding()
    stream.content_length = None
    stream.content_length = None
    stream.enable_chunked_encoding()
    assert stream.chunked
    assert not stream.compression
    with pytest.raises(RuntimeError, match="cannot have a Content-Length"):
        stream.content_length = 5


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (1.2, "Thu, 01 Jan 1970 00:00:02 GMT"),
        (datetime(2001, 2, 3, 4, 5, 6, 7, UTC), "Sat, 03 Feb 2001 04:05:07 GMT"),
        (datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=1))), "Sat, 03 Feb 2001 03:05:06 GMT"),
        (datetime(2001, 2, 3, 4, 5, 6), "Sat, 03 Feb 2001 04:05:06 GMT"),  # noqa: DTZ001 - naive: taken for UTC
        ("Thu, 01 Jan 1970 00:00:01 GMT", "Thu, 01 Jan 1970 00:00:01 GMT"),
    ],
)
def test_last_modified(value, header):
    response = Response()
    assert response.last_modified is None
    response.last_modified = value
    assert response.headers["Last-Modified"] == header
    assert response.last_modified is not None
    assert response.last_modified.tzinfo is UTC
    response.last_modified = None
    assert "Last-Modified" not in response.headers
    with pytest.raises(TypeError, match="last_modified must be"):
        response.last_modified = object()


@pytest.mark.parametrize(
    ("value", "header", "read"),
    [
        ("abc", '"abc"', ETag("abc")),
        (ETag("abc", is_weak=True), 'W/"abc"', ETag("abc", is_weak=True)),
        ("*", "*", ETag("*")),
        (ETag("*"), "*", ETag("*")),
    ],
)
def test_etag(value, header, read):
    response = Response()
    assert response.etag is None
    response.etag = value
    assert response.headers["ETag"] == header
    assert response.etag == read
    response.etag = None
    assert "ETag" not in response.headers
    for bad in ('a"b', "a b", "", ETag('"')):
        with pytest.raises(ValueError, match="no quotes"):
            response.etag = bad
    with pytest.raises(ValueError, match="etag must be"):
        response.etag = 1


async def test_force_close():
    response = Response()
    assert response.keep_alive is None
    response.force_close()
    assert response.keep_alive is False

    def handler(request):
        answer = Response(text="x", headers={"A": "b"} if request.path == "/headers" else None)
        if request.path != "/open":
            answer.force_close()
        return answer

    for path in ("/open", "/close", "/headers"):
        async with serving(app_of(handler)) as served:
            connection = served.connect()
            reply = await connection.ask(path)
            if path == "/open":
                assert "connection" not in reply.headers
                reply = await connection.ask("/close")
            assert reply.headers["connection"] == "close"
            assert await connection.rest() == b""


async def test_http_1_0_is_kept_if_it_asks():
    sent = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n"
    first, second = (await talk(lambda request: Response(text="x"), sent)).split(b"HTTP/1.0 200 OK\r\n")[1:]
    assert b"Connection: keep-alive\r\n" in first
    assert b"Connection" not in second


# -- W-066: no body where none may be ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", [None, {"Content-Length": "5"}])
async def test_statuses_without_body(status, headers):
    data = await talk(lambda request: Response(status=status, body=b"hello", headers=headers), request_bytes())
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length" not in head
    assert b"Transfer-Encoding" not in head


async def test_head_has_the_headers_of_get():
    def handler(request):
        return Response(text="hello")

    reply = await ask(handler, method="HEAD")
    assert (reply.get("Content-Length"), reply.get("Content-Type")) == ("5", "text/plain; charset=utf-8")
    assert reply.body == b""


async def test_head_with_an_empty_body_tells_no_length():
    reply = await ask(lambda request: Response(), method="HEAD")
    assert reply.get("Content-Length") is None
    reply = await ask(lambda request: Response(headers={"Content-Length": "9"}), method="HEAD")
    assert reply.get("Content-Length") == "9"


async def test_chunked_whole_body():
    def make():
        response = Response(text="hello")
        response.enable_chunked_encoding()
        assert response.content_length is None
        return response

    reply = await sent(make)
    assert (reply.get("Transfer-Encoding"), reply.get("Content-Length"), reply.body) == ("chunked", None, b"hello")
    assert (await sent(make, version="1.0")).status == 500


# -- W-069, W-068: what must not be sent ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"A": "b\r\nC: d"}, {"A": "b\0"}, {"A\r\nB": "c"}, {"A b": "c"}, {"A:": "c"}, {"": "c"}, {"A": "\x7f"}],
)
async def test_header_injection_is_500(headers):
    reply = await sent(lambda: Response(text="secret", headers=headers))
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert reply.get("C") is None


async def test_wrong_length_is_500():
    assert (await sent(lambda: Response(text="hello", headers={"Content-Length": "4"}))).status == 500
    assert (await sent(lambda: Response(text="hello", headers={"Content-Length": "x"}))).status == 500
    assert (await sent(lambda: Response(text="hello", headers={"Transfer-Encoding": "chunked"}))).status == 500


async def test_response_serves_one_request():
    response = Response(text="once")

    async def handler(request):
        return response

    sent = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" + request_bytes()
    first, second = (await talk(handler, sent)).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 OK")
    assert second.startswith(b"500 ")


# -- W-058, W-071: sending by hand ---------------------------------------------------------------------------------


async def test_send_then_go_on():
    went_on = []

    async def handler(request):
        response = Response(text="sent")
        assert not response.prepared
        assert await response.prepare(request) is response
        assert await response.prepare(request) is response
        assert response.prepared
        assert repr(response) == "<Response OK GET / >"
        await response.write_eof()
        assert await response.prepare(request) is None
        await response.write_eof()
        went_on.append(response.body_length)
        return response

    data = await talk(handler, request_bytes())
    assert parse(data).body == b"sent"
    assert went_on == [len(data)]


async def test_write_eof_of_a_whole_response_takes_no_data():
    async def handler(request):
        response = Response(text="x")
        await response.prepare(request)
        with pytest.raises(TypeError, match="use a StreamResponse"):
            await response.write_eof(b"more")
        return response

    assert (await ask(handler)).body == b"x"


async def test_subclass_sends_its_own_way():
    class Shouting(Response):
        async def write_eof(self, data=b""):
            self.body = self.body.upper()
            await super().write_eof(data)

    assert (await sent(lambda: Shouting(text="hello"))).body == b"HELLO"


async def test_body_length_counts_the_head():
    kept = []

    async def handler(request):
        kept.append(Response(text="x"))
        assert kept[0].body_length == 0
        return kept[0]

    data = await talk(handler, request_bytes())
    assert kept[0].body_length == len(data)


# -- on_response_prepare -------------------------------------------------------------------------------------------


async def prepared_by(receiver, make):
    app = app_of(lambda request: make())
    app.on_response_prepare.append(receiver)
    return await ask(app)


async def test_receiver_sees_the_default_headers():
    seen = []

    async def receiver(request, response):
        assert response.prepared
        seen.append(dict(response.headers))
        with pytest.raises(RuntimeError, match="must come after"):
            await response.write(b"x")
        assert await response.prepare(request) is response

    reply = await prepared_by(receiver, lambda: Response(text="x"))
    assert seen[0].keys() == {"Content-Type", "Content-Length", "Date", "Server"}
    assert dict(reply.fields) == {**seen[0], "Connection": "close"}


async def test_receiver_may_take_headers_away():
    async def receiver(request, response):
        del response.headers["Server"], response.headers["Date"]

    for make in (lambda: Response(text="x"), StreamResponse):
        reply = await prepared_by(receiver, make)
        assert reply.status == 200
        assert (reply.get("Server"), reply.get("Date")) == (None, None)


async def test_receiver_may_change_everything():
    async def receiver(request, response):
        response.set_status(201)
        response.text = response.text * 2
        response.headers["A"] = "b"

    reply = await prepared_by(receiver, lambda: Response(text="xy"))
    assert (reply.status, reply.body, reply.get("A"), reply.get("Content-Length")) == (201, b"xyxy", "b", "4")

    async def empty(request, response):
        response.set_status(204)

    reply = await prepared_by(empty, lambda: Response(text="xy"))
    assert (reply.status, reply.body, reply.get("Content-Length")) == (204, b"", None)

    async def stream(request, response):
        async def pieces():
            yield b"a"
            yield b"b"

        response.body = pieces()

    reply = await prepared_by(stream, lambda: Response(text="xy"))
    assert (reply.body, reply.get("Content-Length"), reply.get("Transfer-Encoding")) == (b"ab", None, "chunked")


async def test_receiver_that_fails_is_500():
    calls = []

    async def receiver(request, response):
        calls.append(response)
        if len(calls) == 1:
            raise LookupError("no")

    assert (await prepared_by(receiver, lambda: Response(text="xy"))).status == 500
    assert not calls[0].prepared


# -- W-070: JSON ---------------------------------------------------------------------------------------------------


async def test_json_response():
    reply = await sent(lambda: json_response({"a": 1}, status=201, headers={"A": "b"}))
    assert (reply.status, reply.body, reply.get("A")) == (201, b'{"a": 1}', "b")
    assert reply.get("Content-Type") == "application/json; charset=utf-8"
    assert json_response(None).text == "null"
    assert json_response(text="[]").body == b"[]"
    assert json_response(body=b"[]").content_type == "application/json"
    assert json_response([1], dumps=str, content_type="text/x").text == "[1]"
    for other in ({"text": "x"}, {"body": b"x"}):
        with pytest.raises(ValueError, match="one of data, text and body"):
            json_response(1, **other)


async def test_json_bytes_response():
    def dumps(data):
        return json.dumps(data).encode()

    reply = await sent(lambda: json_bytes_response({"a": 1}, dumps=dumps))
    assert (reply.body, reply.get("Content-Type")) == (b'{"a": 1}', "application/json")
    assert json_bytes_response(dumps=dumps, body=b"[]").body == b"[]"
    with pytest.raises(ValueError, match="either data or body"):
        json_bytes_response(1, dumps=dumps, body=b"x")


# -- W-124, W-125: cookies -----------------------------------------------------------------------------------------


def cookies_of(reply):
    return [value for name, value in reply.fields if name == "Set-Cookie"]


async def test_cookies():
    def make():
        response = Response(text="x")
        response.set_cookie("a", "b;c", max_age=5, path="/p", secure=True, httponly=True, samesite="Lax", domain="d")
        response.set_cookie("p", "1", partitioned=True, expires="Sat, 03 Feb 2001 04:05:06 GMT", version="1")
        response.set_cookie("again", "1", max_age=5)
        response.set_cookie("again", "2", domain="d")
        response.del_cookie("gone", domain="d")
        return response

    assert cookies_of(await sent(make)) == [
        'a="b\\073c"; Domain=d; HttpOnly; Max-Age=5; Path=/p; SameSite=Lax; Secure',
        "p=1; expires=Sat, 03 Feb 2001 04:05:06 GMT; Partitioned; Path=/; Version=1",
        "again=2; Domain=d; Path=/",
        'gone=""; Domain=d; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/',
    ]


async def test_cookies_that_a_receiver_of_on_response_prepare_sets():
    """They are sent, too; those of the handler once, and not if the receiver has taken their field away."""

    async def handler(request):
        response = Response(text="x")
        response.set_cookie("kept", "1")
        response.set_cookie("changed", "1")
        response.set_cookie("taken", "1")
        return response

    async def receiver(request, response):
        fields = response.headers.popall("Set-Cookie")
        response.headers.extend([("Set-Cookie", field) for field in fields if not field.startswith("taken")])
        response.set_cookie("late", "1")
        response.set_cookie("changed", "2")

    app = app_of(handler)
    app.on_response_prepare.append(receiver)
    assert cookies_of(await ask(app)) == ["kept=1; Path=/", "changed=2; Path=/", "late=1; Path=/"]


async def test_deleted_cookie_that_is_set_again_lives():
    def make():
        response = StreamResponse()
        response.del_cookie("a")
        response.set_cookie("a", "b")
        assert response.cookies["a"].value == "b"
        return response

    assert cookies_of(await sent(make)) == ["a=b; Path=/"]


def test_illegal_cookie_name():
    with pytest.raises(CookieError):
        Response().set_cookie("a b", "c")


async def test_cookie_attributes_cannot_inject():
    def make():
        response = Response()
        response.set_cookie("a", "b", path="/\r\nX: y")
        return response

    assert (await sent(make)).status == 500


def test_responses_can_be_copied():
    response = Response(text="x", headers={"A": "b"})
    assert copy.copy(response).text == "x"
    assert pickle.loads(pickle.dumps(response)).headers["A"] == "b"  # noqa: S301 - made here
