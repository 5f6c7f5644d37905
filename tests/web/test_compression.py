"""Compressed responses (W-097, W-098)."""

import gzip
import zlib

import anyio
import pytest

from structweb import web
from structweb._wire.codings import ContentCoding, available_codings
from structweb._wire.decoders import make_decoder
from tests.web.served import serving
from tests.web.talk import Reply, app_of, ask, request_bytes, talk

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]  # worker threads

TEXT = "some text " * 50
LARGE = "some more text " * 1000


def plain(reply: Reply) -> bytes:
    """Return the body of a response, decoded as it says."""
    coding = reply.get("Content-Encoding")
    if coding is None:
        return reply.body
    decoder = make_decoder(ContentCoding(coding))
    decoder.feed(reply.body)
    data = b"".join(iter(lambda: decoder.take(2**16), b""))
    decoder.finish()
    return data


def compressed(**arguments: object):
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(**(arguments or {"text": TEXT}))
        response.enable_compression()
        assert response.compression
        return response

    return handler


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_compression()
    await response.prepare(request)
    await response.write(TEXT.encode())
    await response.write(b"")
    await response.write(LARGE.encode())
    await response.write_eof(b"end")
    return response


@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
@pytest.mark.parametrize("text", [TEXT, LARGE])
async def test_a_whole_body_is_compressed_with_its_length(coding: ContentCoding, text: str):
    """W-098: small ones at once, large ones in a thread."""
    reply = await ask(compressed(text=text), "/", f"Accept-Encoding: {coding.value}")
    assert reply.get("Content-Encoding") == coding.value
    assert reply.get("Content-Length") == str(len(reply.body))
    assert reply.get("Vary") == "Accept-Encoding"
    assert len(reply.body) < len(text) / 2
    assert plain(reply).decode() == text


@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_stream_is_compressed_piece_by_piece(coding: ContentCoding, version: str):
    reply = await ask(streamed, "/", f"Accept-Encoding: {coding.value}", version=version)
    assert (reply.get("Content-Encoding"), reply.get("Vary")) == (coding.value, "Accept-Encoding")
    assert (reply.get("Content-Length"), reply.get("Transfer-Encoding")) == (
        None,
        "chunked" if version == "1.1" else None,
    )
    assert plain(reply).decode() == TEXT + LARGE + "end"


async def test_what_was_written_can_be_decoded_at_once():
    """A piece is not kept back until there is more: the client has it while the handler waits."""
    seen = anyio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_compression()
        await response.prepare(request)
        await response.write(b"now")
        await seen.wait()
        await response.write_eof(b"then")
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Accept-Encoding: gzip"))
        await connection.stream.receive_until(b"\r\n\r\n")
        decoder = zlib.decompressobj(31)
        data = b""
        while data != b"now":
            size = int((await connection.stream.receive_until(b"\r\n")).strip() or b"0", 16)
            data += decoder.decompress(await connection.stream.receive_exactly(size))
            await connection.stream.receive_exactly(2)
        seen.set()
        await connection.rest()


@pytest.mark.parametrize("handler", [compressed(), streamed])
@pytest.mark.parametrize("accepted", [None, "", "identity", "gzip;q=0", "*;q=0", "br;q=0, unknown"])
async def test_who_takes_no_coding_gets_none(handler, accepted: str | None):
    """W-097: with Vary, because another client gets one."""
    fields = [] if accepted is None else [f"Accept-Encoding: {accepted}"]
    reply = await ask(handler, "/", *fields)
    assert (reply.get("Content-Encoding"), reply.get("Vary")) == (None, "Accept-Encoding")
    assert reply.body.decode().startswith(TEXT)


async def test_a_forced_coding_asks_nobody():
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=TEXT, headers={"ETag": '"a"'})
        response.enable_compression(web.ContentCoding.deflate, zlib.Z_HUFFMAN_ONLY)
        return response

    reply = await ask(handler)
    assert (reply.get("Content-Encoding"), reply.get("Vary"), reply.get("ETag")) == ("deflate", None, '"a"')
    assert zlib.decompress(reply.body).decode() == TEXT


async def test_forcing_identity_sends_the_body_as_it_is():
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=TEXT)
        response.enable_compression(web.ContentCoding.identity)
        return response

    reply = await ask(handler, "/", "Accept-Encoding: gzip")
    assert (reply.get("Content-Encoding"), reply.get("Vary"), reply.body.decode()) == (None, None, TEXT)


@pytest.mark.parametrize("force", ["gzip", True, 1])
def test_force_is_a_content_coding(force: object):
    with pytest.raises(AssertionError, match="must be a ContentCoding or None, got"):
        web.Response().enable_compression(force)


@pytest.mark.parametrize(
    "headers", [{"Content-Encoding": "gzip"}, {"content-encoding": "br"}, {"Content-Range": "bytes 0-1/2"}]
)
async def test_what_is_coded_or_a_part_is_left_alone(headers: dict[str, str]):
    """W-098: no double coding."""
    reply = await ask(compressed(body=b"coded", headers=headers), "/", "Accept-Encoding: gzip")
    assert reply.body == b"coded"
    assert [value for name, value in reply.fields if name.lower() == "content-encoding"] == [
        value for name, value in headers.items() if name.lower() == "content-encoding"
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Cookie", ["Cookie", "Accept-Encoding"]),
        ("accept-encoding , Cookie", ["accept-encoding , Cookie"]),
        ("*", ["*"]),
    ],
)
async def test_vary_is_added_to(given: str, sent: list[str]):
    reply = await ask(compressed(text=TEXT, headers={"Vary": given}), "/", "Accept-Encoding: gzip")
    assert [value for name, value in reply.fields if name == "Vary"] == sent


@pytest.mark.parametrize(("etag", "sent"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')])
async def test_a_strong_etag_becomes_weak(etag: str, sent: str):
    """RFC 9110 section 8.8.3.3: another coding has other bytes."""
    handler = compressed(text=TEXT, headers={"ETag": etag})
    assert (await ask(handler, "/", "Accept-Encoding: gzip")).get("ETag") == sent
    assert (await ask(handler)).get("ETag") == etag


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_without_body_has_no_coding(status: int):
    for arguments in ({"status": status}, {"status": status, "body": b"dropped"}):
        reply = await ask(compressed(**arguments), "/", "Accept-Encoding: gzip")
        assert (reply.status, reply.get("Content-Encoding"), reply.body) == (status, None, b"")


async def test_an_empty_body_stays_empty():
    reply = await ask(compressed(body=b""), "/", "Accept-Encoding: gzip")
    assert (reply.get("Content-Encoding"), reply.get("Content-Length"), reply.body) == (None, "0", b"")


async def test_head_has_the_fields_of_get():
    get = await ask(compressed(), "/", "Accept-Encoding: gzip")
    head = await ask(compressed(), "/", "Accept-Encoding: gzip", method="HEAD")
    assert head.body == b""
    assert [name for name in get.fields if name[0] != "Date"] == [name for name in head.fields if name[0] != "Date"]
    head = await ask(streamed, "/", "Accept-Encoding: gzip", method="HEAD")
    assert (head.get("Content-Encoding"), head.body) == ("gzip", b"")


async def test_payloads_are_compressed_as_they_come():
    async def pieces():
        yield TEXT.encode()
        yield LARGE.encode()

    reply = await ask(compressed(body=pieces()), "/", "Accept-Encoding: gzip")
    assert (reply.get("Content-Length"), reply.get("Transfer-Encoding")) == (None, "chunked")
    assert gzip.decompress(reply.body).decode() == TEXT + LARGE


async def test_a_chunked_response_is_compressed_too():
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=TEXT)
        response.enable_compression()
        response.enable_chunked_encoding()
        return response

    reply = await ask(handler, "/", "Accept-Encoding: gzip")
    assert (reply.get("Content-Length"), plain(reply).decode()) == (None, TEXT)


async def test_a_prepared_response_is_compressed_too():
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=TEXT)
        response.enable_compression()
        await response.prepare(request)
        assert response.content_length == int(response.headers["Content-Length"])
        await response.write_eof()
        return response

    reply = await ask(handler, "/", "Accept-Encoding: gzip")
    assert plain(reply).decode() == TEXT


async def test_on_response_prepare_sees_the_coding_and_may_have_another_body():
    seen: list[tuple[str | None, str | None]] = []

    async def look(request: web.Request, response: web.StreamResponse) -> None:
        seen.append((response.headers.get("Content-Encoding"), response.headers.get("Content-Length")))
        if request.path == "/other":
            response.body = b"another body"

    app = app_of(compressed())
    app.on_response_prepare.append(look)
    reply = await ask(app, "/", "Accept-Encoding: gzip")
    assert seen == [("gzip", str(len(reply.body)))]
    reply = await ask(app, "/other", "Accept-Encoding: gzip")
    assert (reply.body, reply.get("Content-Encoding"), reply.get("Content-Length")) == (b"another body", None, "12")


async def test_errors_are_compressed_by_a_middleware():
    @web.middleware
    async def compress(request: web.Request, handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.enable_compression()
            raise
        response.enable_compression()
        return response

    async def missing(request: web.Request) -> web.Response:
        raise web.HTTPNotFound(text=TEXT)

    app = web.Application(middlewares=[compress])
    app.router.add_get("/", missing)
    reply = await ask(app, "/", "Accept-Encoding: gzip")
    assert (reply.status, plain(reply).decode()) == (404, TEXT)


async def test_threads_can_be_limited():
    """X-28: what was an executor is a limiter; the size from which on it is used can be set."""
    limiter = anyio.CapacityLimiter(1)
    used = []

    async def handler(request: web.Request) -> web.Response:
        response = web.Response(text=LARGE, zlib_executor_size=1, zlib_executor=limiter)
        response.enable_compression()
        async with limiter, anyio.create_task_group() as group:
            group.start_soon(response.prepare, request)
            await anyio.wait_all_tasks_blocked()
            used.append(limiter.statistics().tasks_waiting)
            limiter.total_tokens = 2
        await response.write_eof()
        return response

    reply = await ask(handler, "/", "Accept-Encoding: gzip")
    assert plain(reply).decode() == LARGE
    assert used == [1]


async def test_several_tasks_write_one_after_the_other():
    """X-24: whole pieces, each in its place in the compressed data."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_compression()
        await response.prepare(request)
        async with anyio.create_task_group() as group:
            for letter in b"abcdefgh":
                group.start_soon(response.write, bytes([letter]) * 10_000)
        return response

    reply = await ask(handler, "/", "Accept-Encoding: gzip")
    assert sorted(plain(reply)) == sorted(b"abcdefgh" * 10_000)


async def test_a_hole_in_the_compressed_data_is_not_passed_over():
    """X-25: after a write that was cancelled half-way, nobody could decode what follows."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_compression()
        await response.prepare(request)
        await response.write(b"begin")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await response.write(LARGE.encode())
        with pytest.raises((RuntimeError, ConnectionError)):
            await response.write(b"end")
        return response

    data = await talk(handler, request_bytes("/", "Accept-Encoding: gzip"))
    assert not data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("drain", "await response.write"), ("output_length", "body_length"), ("chunk_size", "enable_chunked_encoding")],
)
@pytest.mark.parametrize("make", [web.Response, web.StreamResponse, web.HTTPNotFound])
def test_attributes_of_the_past_name_their_replacement(name: str, hint: str, make):
    """W-200."""
    with pytest.raises(AttributeError, match=hint):
        getattr(make(), name)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        make().nothing  # noqa: B018 - an attribute
