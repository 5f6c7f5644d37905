"""Requests (W-043..W-056, X-15..X-18, X-41)."""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import pytest

from structweb._server.lifecycle import Engine
from structweb._web.app import Application
from structweb._web.content import PayloadAccessError
from structweb._web.errors import HTTPRequestEntityTooLarge
from structweb._web.handling import BareHandler
from structweb._web.keys import AppKey, NotAppKeyWarning, RequestKey
from structweb._web.request import BaseRequest, Request
from structweb._web.response import Response
from structweb._web.settings import settings_from
from structweb._wire.conditional import ETag
from structweb._wire.events import HttpVersion10, HttpVersion11
from structweb.testing.pipes import memory_pipe
from tests.web.served import Connection, serving
from tests.web.talk import app_of, ask, request_bytes, talk

pytestmark = pytest.mark.anyio


async def seen(look, *args, **options):
    """Return what `look` sees in a request."""
    found = []

    async def handler(request):
        found.append(look(request))
        return Response()

    reply = await ask(handler, *args, **options)
    assert reply.status == 200
    return found[0]


# -- W-043: state --------------------------------------------------------------------------------------------------

KEY = RequestKey("key", int)
APP_KEY = AppKey("key", int)


async def test_request_is_a_mapping_of_its_own():
    def look(request):
        assert len(request) == 0
        assert list(request) == []
        assert KEY not in request
        with pytest.raises(KeyError):
            request[KEY]
        with pytest.raises(KeyError):
            del request[KEY]
        request[KEY] = 1
        assert request[KEY] == 1
        assert dict(request) == {KEY: 1}
        assert request.get(KEY) == 1
        del request[KEY]
        assert len(request) == 0
        assert request
        assert request == request  # noqa: PLR0124 - that is the question
        assert request != {}
        assert hash(request)
        return repr(request)

    assert await seen(look, "/a%20b/%C3%A9?x=1") == "<Request GET /a b/\\xe9 >"


async def test_text_keys_warn_once_a_key():
    def look(request):
        key = f"key of {id(request)}"
        with pytest.warns(NotAppKeyWarning, match="RequestKey"):
            request[key] = 1
        request[key] = 2
        with pytest.warns(NotAppKeyWarning, match="ResponseKey"):
            Response()[key] = 3
        return request[key]

    assert await seen(look) == 2


async def test_attributes_of_ones_own_are_kept():
    def look(request):
        request.user = "me"
        return request.user

    assert await seen(look) == "me"


# -- W-044, W-045: where to ----------------------------------------------------------------------------------------


def where(request):
    return {
        name: str(getattr(request, name))
        for name in (
            [
                "method",
                "url",
                "rel_url",
                "path",
                "path_qs",
                "raw_path",
                "query_string",
                "scheme",
                "host",
                "remote",
                "secure",
            ]
        )
    } | {"query": list(request.query.items())}


async def test_origin_form():
    assert await seen(where, "/a%20b+c%2Fd?x=1%202+3&y#frag", host="ex.com:8080") == {
        "method": "GET",
        "url": "http://ex.com:8080/a%20b+c%2Fd?x=1%202+3&y#frag",
        "rel_url": "/a%20b+c%2Fd?x=1%202+3&y#frag",
        "path": "/a b+c/d",
        "path_qs": "/a%20b+c%2Fd?x=1%202+3&y#frag",
        "raw_path": "/a%20b+c%2Fd?x=1%202+3&y#frag",
        "query_string": "x=1 2 3&y",
        "scheme": "http",
        "host": "ex.com:8080",
        "remote": "192.0.2.1",
        "secure": "False",
        "query": [("x", "1 2 3"), ("y", "")],
    }


async def test_absolute_form_names_the_host_but_not_the_scheme():
    app = app_of(lambda request: Response(text=json.dumps(where(request))))
    app.router.add_route("*", "", lambda request: Response(text=json.dumps(where(request))))
    found = json.loads((await ask(app, "https://other.com:99/p%2Fq?z=1", host="ex.com")).body)
    assert found["url"] == "http://other.com:99/p%2Fq?z=1"
    assert found["host"] == "other.com"
    assert found["scheme"] == "http"
    assert found["path"] == "/p/q"
    assert found["raw_path"] == "https://other.com:99/p%2Fq?z=1"
    assert found["rel_url"] == "/p%2Fq?z=1"


@pytest.mark.parametrize(
    ("target", "path", "url"),
    [
        ("//evil.com/x", "//evil.com/x", "http://test//evil.com/x"),
        ("/%ff%zz?%ff", "/%ff%zz", "http://test/%ff%zz?%ff"),
        ("/../a/./b", "/../a/./b", "http://test/a/b"),
        ("/a?b?c#d?e", "/a", "http://test/a?b?c#d?e"),
        ("/a:b", "/a:b", "http://test/a:b"),
        ("/a#b?c", "/a", "http://test/a#b?c"),
    ],
)
async def test_odd_targets(target, path, url):
    def look(request):
        return request.path, request.rel_url.path, str(request.url)

    assert await seen(look, target) == (path, path, url)


@asynccontextmanager
async def bare(handler, factory=BaseRequest, **addresses):
    """Serve one connection with a handler and nothing around it."""
    settings = settings_from({}, "test")
    client, server = memory_pipe(**addresses)
    handle = BareHandler(handler, factory, settings)
    async with Engine(handle, settings.connections) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.serve_stream, server)
        yield Connection(client)
        client.close()


async def test_asterisk_and_authority_form():
    """No route has them: a bare server sees them."""

    async def handler(request):
        return Response(text=repr([request.path, str(request.rel_url), str(request.url), request.host]))

    async with bare(handler) as connection:
        assert (await connection.ask("*", method="OPTIONS")).text == "['*', '*', 'http://test/*', 'test']"
        await connection.stream.send(request_bytes("foo.com:443", method="CONNECT", host="foo.com:443"))
        assert b"200 OK" in await connection.rest()


async def test_request_without_an_application():
    async def handler(request):
        response = Response(text="x")
        response.set_cookie("a", "b")
        return response

    async with bare(handler) as connection:
        assert (await connection.ask()).headers["set-cookie"] == "a=b; path=/"


async def test_request_before_it_is_routed():
    app = Application()

    async def handler(request):
        for what in ("match_info", "config_dict"):
            with pytest.raises(RuntimeError, match="was not routed yet"):
                getattr(request, what)
        if request.path == "/app":
            return Response(text=repr(request.app is app))
        with pytest.raises(RuntimeError, match="was not routed yet"):
            request.app  # noqa: B018 - a property
        response = Response(text="x")
        response.set_cookie("a", "b")
        return response

    async with bare(handler, lambda exchange: Request(exchange, app=app)) as connection:
        assert (await connection.ask("/app")).text == "True"
    async with bare(handler, Request) as connection:
        assert (await connection.ask("/")).text == "x"


@pytest.mark.parametrize(
    ("local", "host"), [(("192.0.2.2", 80), "192.0.2.2"), (("::1", 80, 0, 0), "[::1]"), ("/run/sock", "/run/sock")]
)
async def test_without_host_and_behind_all_kinds_of_addresses(local, host):
    found = []

    async def handler(request):
        assert request.url is request.url
        found.append((request.host, request.remote, request.remote))
        return Response()

    for remote, seen_as in ((("2001:db8::1", 1, 0, 0), "2001:db8::1"), ("", ""), (None, None)):
        async with bare(handler, client_address=remote, server_address=local) as connection:
            await connection.stream.send(b"GET / HTTP/1.0\r\n\r\n")
            await connection.rest()
        assert found.pop() == (host, seen_as, seen_as)


async def test_send_continue():
    """X-17: what a handler of Expect calls."""

    async def expect(request):
        await request.send_continue()

    app = Application()
    app.router.add_post("/", read_all, expect_handler=expect)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Expect: 100-continue", "Content-Length: 3", method="POST"))
        assert await connection.stream.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.stream.send(b"abc")
        assert (await connection.answer()).text == "True b'abc'"


async def test_without_host_the_local_address_stands_in():
    def look(request):
        return request.host, request.version, request.keep_alive

    assert await seen(look, version="1.0", host="") == ("192.0.2.2", HttpVersion10, False)


async def test_forwarded_headers_change_nothing():
    fields = ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "Forwarded: for=1.2.3.4;proto=https;host=evil")
    found = await seen(where, "/", *fields)
    assert (found["remote"], found["scheme"], found["host"]) == ("192.0.2.1", "http", "test")


# -- W-046..W-051: headers -----------------------------------------------------------------------------------------


async def test_headers_keep_the_case_they_were_sent_in():
    def look(request):
        return dict(request.headers), request.raw_headers, request.headers["x-ODD"]

    headers, raw, value = await seen(look, "/", "X-oDD: caf\u00e9 \udcff")
    assert headers == {"Host": "test", "Connection": "close", "X-oDD": "caf\u00e9 \udcff"}
    assert raw == ((b"Host", b"test"), (b"Connection", b"close"), (b"X-oDD", b"caf\xc3\xa9 \xff"))
    assert value == "caf\u00e9 \udcff"


async def test_content_type_and_charset():
    def look(request):
        return request.content_type, request.charset, request.content_length, request.version

    assert await seen(look) == ("application/octet-stream", None, None, HttpVersion11)
    fields = ('Content-Type: Text/HTML; Charset="UTF-8"; x=y', "Content-Length: 0")
    assert await seen(look, "/", *fields) == ("text/html", "UTF-8", 0, HttpVersion11)
    assert (await seen(look, "/", "Content-Type: nonsense"))[0] == "application/octet-stream"


async def test_cookies():
    def look(request):
        assert request.cookies is request.cookies
        return dict(request.cookies)

    assert await seen(look) == {}
    found = await seen(look, "/", 'Cookie: bad[x]=1; path=/; q="a b\\"c\\054"; noval; =x; a=b=c', "Cookie: b=2; a=3")
    assert found == {"bad[x]": "1", "path": "/", "q": 'a b"c,', "noval": "", "a": "3", "b": "2"}


async def test_conditions():
    def look(request):
        return (
            request.if_match,
            request.if_none_match,
            request.if_modified_since,
            request.if_unmodified_since,
            request.if_range,
        )

    assert await seen(look) == (None, None, None, None, None)
    fields = (
        'If-Match: "a", W/"b","c d", x',
        "If-None-Match: *",
        "If-Modified-Since: Sat, 32 Jan 2000 00:00:00 GMT",
        "If-Unmodified-Since: nonsense",
        "If-Range: Sat, 01 Jan 2000 00:00:00 GMT",
    )
    assert await seen(look, "/", *fields) == (
        (ETag("a"), ETag("b", is_weak=True)),
        (ETag("*"),),
        None,
        None,
        datetime(2000, 1, 1, tzinfo=UTC),
    )


async def test_range():
    def look(request):
        return request.http_range

    assert await seen(look) == slice(None, None, 1)
    assert await seen(look, "/", "Range: bytes=2-5") == slice(2, 6, 1)

    def fail(request):
        with pytest.raises(ValueError, match="Range must"):
            request.http_range  # noqa: B018 - a property
        return True

    assert await seen(fail, "/", "Range: bytes=1-2,4-5")


async def test_forwarded():
    def look(request):
        return [dict(element) for element in request.forwarded]

    found = await seen(
        look, "/", 'Forwarded: for=1.2.3.4:80;by="[::1]", bad bad, for="a\\"b"', "Forwarded: proto=https"
    )
    assert found == [{"for": "1.2.3.4:80", "by": "[::1]"}, {}, {"for": 'a"b'}, {"proto": "https"}]


# -- W-055, X-15..X-17: the connection -----------------------------------------------------------------------------


async def test_what_asyncio_had_tells_what_to_use_instead():
    def look(request):
        for name in ("task", "loop", "protocol", "writer", "message"):
            assert not hasattr(request, name)
        with pytest.raises(AttributeError, match="cancel_scope"):
            request.task  # noqa: B018 - an attribute
        with pytest.raises(AttributeError, match=r"anyio\.current_time"):
            request.loop  # noqa: B018 - an attribute
        with pytest.raises(AttributeError, match="no attribute 'anything'"):
            request.anything  # noqa: B018 - an attribute
        return True

    assert await seen(look)


async def test_extra_info():
    def look(request):
        assert not hasattr(request.transport, "write")
        return (
            request.get_extra_info("peername"),
            request.transport.get_extra_info("peername"),
            request.get_extra_info("nonsense", 7),
            request.transport.get_extra_info("sslcontext"),
            request.transport.is_closing(),
        )

    peer, same, missing, tls, closing = await seen(look)
    assert peer == same
    assert (missing, tls, closing) == (7, None, False)


@pytest.mark.parametrize("ending", ["close", "abort"])
async def test_transport_closes_the_connection(ending):
    async def handler(request):
        getattr(request.transport, ending)()
        return Response(text="too late")

    assert await talk(handler, request_bytes()) == b""


async def test_cancel_scope_ends_the_handler():
    ended = []

    async def handler(request):
        request.cancel_scope.cancel()
        try:
            await anyio.sleep(1)
        finally:
            ended.append(True)
        return Response(text="too late")

    assert await talk(handler, request_bytes()) == b""
    assert ended == [True]


async def test_route_and_application():
    app = app_of(
        lambda request: Response(
            text=repr([request.match_info["tail"], request.app is app, request.config_dict[APP_KEY]])
        )
    )
    app[APP_KEY] = 1
    assert (await ask(app, "/some/where")).body == b"['some/where', True, 1]"


# -- W-052, W-053: the body ----------------------------------------------------------------------------------------


async def read_all(request):
    first = await request.read()
    assert await request.read() is first
    assert request.content.at_eof()
    assert not request.can_read_body
    return Response(text=f"{request.body_exists} {first!r}")


async def test_body_is_kept():
    assert (await ask(read_all, method="POST", body=b"abc")).body == b"True b'abc'"
    assert (await ask(read_all)).body == b"False b''"
    chunked = request_bytes("/", "Transfer-Encoding: chunked", method="POST") + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert b"True b'abc'" in await talk(read_all, chunked)


async def test_text_and_json():
    async def handler(request):
        text = await request.text()
        return Response(text=repr([text, await request.json(loads=lambda got: got.upper())]))

    reply = await ask(handler, "/", "Content-Type: text/plain; charset=latin-1", method="POST", body=b"\xe9")
    assert reply.body.decode() == "['\u00e9', '\u00c9']"

    async def answer_json(request):
        return Response(text=repr(await request.json()))

    assert (await ask(answer_json, method="POST", body=b'{"a": [1]}')).body == b"{'a': [1]}"


@pytest.mark.parametrize(
    ("fields", "body", "error"),
    [
        ((), b"{", json.JSONDecodeError),
        ((), b"\xff", UnicodeDecodeError),
        (("Content-Type: text/plain; charset=nonsense",), b"{}", LookupError),
    ],
)
async def test_what_is_no_json_raises(fields, body, error):
    async def handler(request):
        with pytest.raises(error):
            await request.json()
        return Response()

    assert (await ask(handler, "/", *fields, method="POST", body=body)).status == 200


async def test_too_large_a_body_is_413():
    async def handler(request):
        with pytest.raises(ValueError, match="Content Too Large"):
            await request.read()
        return Response(body=await request.read())

    app = app_of(handler, client_max_size=10)
    reply = await ask(app, method="POST", body=b"x" * 11)
    assert (reply.status, reply.body) == (413, b"Maximum request body size 10 exceeded.")
    app = app_of(read_all, client_max_size=10)
    assert (await ask(app, method="POST", body=b"x" * 10)).status == 200
    app = app_of(read_all, client_max_size=0)
    assert (await ask(app, method="POST", body=b"x" * 2_000_000)).status == 200


async def test_declared_too_large_is_refused_unread():
    """The client waits for 100 Continue: nothing of the body is there, and the limit is told all the same."""

    async def handler(request):
        with pytest.raises(HTTPRequestEntityTooLarge) as caught:
            await request.read()
        assert request.content.total_bytes == 0
        assert (caught.value.max_size, caught.value.actual_size) == (10, 1000)
        raise caught.value

    async with serving(app_of(handler, client_max_size=10)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 1000", method="POST"))
        assert (await connection.answer()).status == 413


async def test_chunked_is_counted_while_it_is_read():
    async def handler(request):
        with pytest.raises(HTTPRequestEntityTooLarge):
            await request.read()
        return Response(text=str(request.content.total_bytes < 100))

    async with serving(app_of(handler, client_max_size=10)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Transfer-Encoding: chunked", method="POST"))
        for _ in range(4):
            await connection.stream.send(b"5\r\nabcde\r\n")
        assert (await connection.answer()).text == "True"


async def test_cancelled_read_loses_nothing():
    async def handler(request):
        with anyio.move_on_after(1):
            await request.read()
        return Response(body=await request.read())

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 4", method="POST") + b"ab")
        await anyio.sleep(2)
        await connection.stream.send(b"cd")
        assert (await connection.answer()).body == b"abcd"


async def test_release_drops_the_body():
    async def handler(request):
        assert request.can_read_body
        await request.release()
        assert not request.can_read_body
        return Response(body=await request.read())

    reply = await ask(handler, method="POST", body=b"x" * 100_000)
    assert reply.body == b""


async def test_bodies_of_two_requests_stay_apart():
    kept = []

    async def handler(request):
        kept.append(request)
        if request.path == "/second":
            for early in (kept[0].content, kept[0]):
                with pytest.raises(PayloadAccessError):
                    await early.read()
            return Response(body=await request.read())
        return Response()

    sent = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\none"
    answers = await talk(handler, sent + request_bytes("/second", method="POST", body=b"two"))
    assert answers.endswith(b"\r\n\r\ntwo")


# -- W-054: copies -------------------------------------------------------------------------------------------------


async def test_clone():
    def look(request):
        request[KEY] = 1
        same = request.clone()
        assert (same.method, same.path, same.headers, same[KEY]) == ("GET", "/a", request.headers, 1)
        assert same.match_info is request.match_info
        assert same.content is request.content
        copy = request.clone(
            method="POST",
            rel_url="/b?c=d",
            headers={"Host": "other", "Content-Type": "text/plain"},
            scheme="https",
            remote="1.2.3.4",
            client_max_size=5,
            client_max_fields=6,
        )
        copy[KEY] = 2
        assert request[KEY] == 1
        assert (copy.client_max_size, copy.client_max_fields) == (5, 6)
        assert copy.content_type == "text/plain"
        assert copy.raw_headers == ((b"Host", b"other"), (b"Content-Type", b"text/plain"))
        found = where(copy)
        assert request.clone(host="named").host == "named"
        assert str(request.clone(host="named", rel_url="/x").url) == "http://named/x"
        return found

    found = await seen(look, "/a")
    assert found["url"] == "https://other/b?c=d"
    assert (found["method"], found["path"], found["remote"], found["secure"]) == ("POST", "/b", "1.2.3.4", "True")


async def test_clone_of_an_absolute_target():
    def look(request):
        return str(request.clone(host="named", scheme="https").url), str(request.clone(rel_url="https://x:8/y").url)

    assert await seen(look, "http://other.com:99/p") == ("https://named:99/p", "http://x:8/y")


async def test_clone_must_come_before_reading():
    async def handler(request):
        await request.read()
        with pytest.raises(RuntimeError, match="after its body was read"):
            request.clone()
        return Response()

    assert (await ask(handler, method="POST", body=b"abc")).status == 200
