"""Responses: what is prepared for them, and what becomes of those that are returned."""

import warnings

import anyio
import pytest

from structweb import web
from tests.web.served import get, serving
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = pytest.mark.anyio


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"body")
    await response.write_eof()
    return response


async def generated(request: web.Request) -> web.Response:
    async def body():
        yield b"bo"
        yield b"dy"

    return web.Response(body=body())


async def sent_early(request: web.Request) -> web.Response:
    response = web.Response(text="body")
    await response.prepare(request)
    await response.write_eof()
    return response


async def raised(request: web.Request) -> web.Response:
    raise web.HTTPForbidden(text="body")


async def timed_out(request: web.Request) -> web.Response:
    raise TimeoutError


@pytest.mark.parametrize(
    ("handler", "status", "body"),
    [
        (streamed, 200, b"body"),
        (generated, 200, b"body"),
        (sent_early, 200, b"body"),
        (raised, 403, b"body"),
        (timed_out, 504, b""),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_on_response_prepare_sees_every_kind_of_response(handler, status: int, body: bytes, version: str):
    """W-012: after the default headers are there, before they are written; what it changes is sent."""
    seen: list[tuple[int, bool]] = []

    async def note(request: web.Request, response: web.StreamResponse) -> None:
        seen.append((response.status, "Date" in response.headers))
        response.headers["X-Note"] = "noted"

    app = web.Application()
    app.router.add_get("/", handler)
    app.on_response_prepare.append(note)
    reply = await ask(app, version=version)
    assert (reply.status, reply.body, reply.get("X-Note")) == (status, body, "noted")
    assert seen == [(status, True)]


async def test_a_failing_on_response_prepare_of_a_stream_is_500():
    """W-012: nothing was sent yet, so there is room for an answer."""

    async def fail(request: web.Request, response: web.StreamResponse) -> None:
        if response.status == 200:
            raise LookupError("prepare")

    app = web.Application()
    app.router.add_get("/", streamed)
    app.on_response_prepare.append(fail)
    assert (await ask(app)).status == 500


async def test_prepare_says_whether_there_is_something_to_write_to():
    """W-058: the head goes out once; the second call returns what the first did, and after the end there is nothing."""
    found: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        assert not response.prepared
        found.append(await response.prepare(request))
        assert response.prepared
        found.append(await response.prepare(request))
        await response.write(b"body")
        await response.write_eof()
        found.append(await response.prepare(request))
        return response

    sent = await talk(handler, request_bytes())
    assert sent.count(b"HTTP/1.1 200 OK") == 1
    assert parse(sent).body == b"body"
    first, second, after = found
    assert first is not None
    assert first is second
    assert after is None


@pytest.mark.parametrize("where", ["handler", "middleware"])
async def test_a_returned_http_exception_is_a_response_with_a_warning(where: str):
    """W-079: aiohttp still takes it, and wants it raised."""

    async def forbid(request: web.Request) -> web.StreamResponse:
        if where == "handler":
            return web.HTTPForbidden(text="no")
        raise web.HTTPForbidden(text="no")

    async def catch(request: web.Request, handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as exc:
            return exc

    app = web.Application(middlewares=[catch])
    app.router.add_get("/", forbid)
    with pytest.warns(DeprecationWarning, match="raise HTTPForbidden instead of returning it"):
        reply = await ask(app)
    assert (reply.status, reply.body) == (403, b"no")


async def test_a_raised_http_exception_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (await ask(raised)).status == 403


@pytest.mark.parametrize("content_type", ["text/plain; charset", "text/plain; charset=", "text/plain"])
async def test_a_charset_that_names_none_is_none(content_type: str):
    """W-047, W-053: of the request; its text is UTF-8 then."""

    async def handler(request: web.Request) -> web.Response:
        assert request.charset is None
        return web.Response(text=await request.text())

    reply = await ask(handler, "/", f"Content-Type: {content_type}", method="POST", body="\u00e9".encode())
    assert (reply.status, reply.body.decode()) == (200, "\u00e9")


async def test_has_body_tells_what_to_use_instead():
    """W-052: aiohttp deprecated it long ago."""

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(AttributeError, match="body_exists"):
            request.has_body  # noqa: B018 - an attribute
        return web.Response()

    assert (await ask(handler)).status == 200


async def test_a_write_that_is_cut_is_the_last_one():
    """X-25: part of a chunk may be on the wire, so nothing may follow it: not the rest, not another response."""
    failed: list[type[BaseException]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with anyio.move_on_after(5) as scope:
            while True:
                await response.write(b"x" * 65536)
        assert scope.cancelled_caught
        try:
            await response.write(b"behind the cut")
        except ConnectionResetError as exc:
            failed.append(type(exc))
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get() + get())
        await anyio.sleep(10)
        sent = await connection.rest()
    assert sent.count(b"HTTP/1.1 200 OK") == 1
    assert b"behind the cut" not in sent
    assert not sent.endswith(b"0\r\n\r\n")
    assert len(failed) == 1
