"""Compressed request bodies (W-099)."""

import gzip
import tracemalloc
import zlib
from functools import cache

import anyio
import pytest

from structweb import web
from structweb._wire.codings import ContentCoding, available_codings, coding_module, make_encoder
from structweb.testing import memory_pipe
from tests.web.talk import ask, in_chunks, parse, request_bytes, talk

pytestmark = pytest.mark.anyio

TEXT = b"some text " * 20_000


def encoded(coding: ContentCoding, data: bytes) -> bytes:
    encoder = make_encoder(coding)
    return encoder.compress(data) + encoder.finish()


@cache
def bomb_of(coding: ContentCoding) -> bytes:
    encoder = make_encoder(coding)
    return b"".join([encoder.compress(b"\0" * 2**20) for _ in range(2**8)]) + encoder.finish()


async def post(handler, body: bytes, coding: str, **options: object):
    sent = request_bytes("/", f"Content-Encoding: {coding}", method="POST", body=body)
    return parse(await talk(handler, sent, **options), "POST")


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


def echo_app(limit: int) -> web.Application:
    app = web.Application(client_max_size=limit)
    app.router.add_post("/", echo)
    return app


@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
async def test_a_body_is_decoded(coding: ContentCoding):
    reply = await post(echo, encoded(coding, TEXT), coding.value)
    assert reply.body == TEXT


async def test_deflate_may_lack_its_header():
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert (await post(echo, engine.compress(TEXT) + engine.flush(), "Deflate")).body == TEXT


@pytest.mark.parametrize("size", [1, 100, 10_000])
async def test_chunks_may_end_anywhere(size: int):
    data = gzip.compress(TEXT)
    chunks = in_chunks([data[at : at + size] for at in range(0, len(data), size)])
    head = request_bytes("/", "Content-Encoding: gzip", "Transfer-Encoding: chunked", method="POST")
    reply = parse(await talk(echo, head + chunks), "POST")
    assert reply.body == TEXT


@pytest.mark.parametrize("coding", ["identity", "aes128gcm", "gzip, gzip", ""])
async def test_an_unknown_coding_passes_through(coding: str):
    assert (await post(echo, b"untouched", coding)).body == b"untouched"


async def test_decoding_can_be_switched_off():
    data = gzip.compress(TEXT)
    assert (await post(echo, data, "gzip", auto_decompress=False)).body == data


async def test_the_stream_counts_both_kinds_of_bytes():
    data = gzip.compress(TEXT)

    async def handler(request: web.Request) -> web.Response:
        pieces = [piece async for piece in request.content.iter_any()]
        assert b"".join(pieces) == TEXT
        assert max(map(len, pieces)) <= 2**16
        assert request.content.at_eof()
        assert not request.can_read_body
        return web.Response(text=f"{request.content.total_bytes} {request.content.total_raw_bytes}")

    assert (await post(handler, data, "gzip")).body.decode() == f"{len(TEXT)} {len(data)}"


async def test_the_end_is_seen_without_another_read():
    async def handler(request: web.Request) -> web.Response:
        assert await request.content.readexactly(4) == b"text"
        assert request.content.at_eof()
        return web.Response()

    assert (await post(handler, gzip.compress(b"text"), "gzip")).status == 200


async def test_lines_are_lines_of_the_decoded_body():
    async def handler(request: web.Request) -> web.Response:
        return web.json_response([line.decode() async for line in request.content])

    assert (await post(handler, gzip.compress(b"a\nb\n\nc"), "gzip")).body == b'["a\\n", "b\\n", "\\n", "c"]'


async def test_readchunk_returns_decoded_bytes():
    async def handler(request: web.Request) -> web.Response:
        assert await request.content.readchunk() == (b"text", False)
        return web.Response()

    assert (await post(handler, gzip.compress(b"text"), "gzip")).status == 200


@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
@pytest.mark.parametrize("body", ["cut", "changed", "garbage", "behind"])
async def test_corrupt_data_is_400(coding: ContentCoding, body: str):
    whole = encoded(coding, TEXT)
    corrupt = {
        "cut": whole[:-1],
        "changed": whole[:9] + bytes(byte ^ 0xFF for byte in whole[9:19]) + whole[19:],
        "garbage": b"\xff\xfe no such data",
        "behind": whole + b"something",
    }[body]
    reply = await post(echo, corrupt, coding.value)
    assert reply.status == 400
    assert b"Content-Encoding " + coding.value.encode() in reply.body


async def test_an_error_is_raised_again():
    async def handler(request: web.Request) -> web.Response:
        for _ in range(2):
            with pytest.raises(web.RequestPayloadError, match="Content-Encoding gzip"):
                await request.read()
        assert isinstance(request.content.exception(), web.RequestPayloadError)
        return web.Response()

    assert (await post(handler, b"garbage", "gzip")).status == 200


@pytest.mark.parametrize("coding", [ContentCoding.br, ContentCoding.zstd])
async def test_a_coding_that_is_not_installed_is_415(coding: ContentCoding, monkeypatch: pytest.MonkeyPatch):
    """With what would do instead (RFC 9110 section 12.5.3)."""
    for name in ("brotli", "brotlicffi", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    coding_module.cache_clear()
    try:
        reply = await post(echo, b"whatever", coding.value)
    finally:
        coding_module.cache_clear()
    assert (reply.status, reply.get("Accept-Encoding")) == (415, "gzip, deflate")


# -- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
async def test_the_limit_is_that_of_the_decoded_body(coding: ContentCoding):
    body = encoded(coding, TEXT)
    assert len(body) < len(TEXT) / 10
    assert (await post(echo_app(len(TEXT)), body, coding.value)).body == TEXT
    assert (await post(echo_app(len(TEXT) - 1), body, coding.value)).status == 413


@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
async def test_a_bomb_is_413_and_costs_no_memory(coding: ContentCoding):
    """W-099: a body that would be 256 MiB, refused at the first bytes too many."""
    bomb = bomb_of(coding)
    assert len(bomb) < 300_000
    peaks = []

    async def handler(request: web.Request) -> web.Response:
        tracemalloc.start()
        try:
            return web.Response(body=await request.read())
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    app = web.Application(client_max_size=2**20)
    app.router.add_post("/", handler)
    reply = await post(app, bomb, coding.value)
    assert reply.status == 413
    assert peaks[0] < 8 * 2**20


async def test_reading_a_bomb_as_a_stream_costs_no_memory_and_blocks_nobody():
    bomb = gzip.compress(b"\0" * 2**26)
    turns = []

    async def handler(request: web.Request) -> web.Response:
        async def other() -> None:
            while True:
                turns.append(request.content.total_bytes)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            tracemalloc.start()
            size = 0
            async for piece in request.content.iter_any():
                size += len(piece)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            group.cancel_scope.cancel()
        assert peak < 2**20 + len(bomb)
        return web.Response(text=str(size))

    assert (await post(handler, bomb, "gzip")).body == b"%d" % 2**26
    assert len(set(turns)) > 100


async def test_what_nobody_reads_is_not_decoded():
    async def handler(request: web.Request) -> web.Response:
        assert await request.content.read(10) == b"\0" * 10
        await request.release()
        assert request.content.total_bytes < 2**18
        return web.Response(text="released")

    assert (await post(handler, gzip.compress(b"\0" * 2**26), "gzip")).body == b"released"
    reply = await post(lambda request: web.Response(text="unread"), gzip.compress(b"\0" * 2**26), "gzip")
    assert reply.body == b"unread"


async def test_a_handler_without_application_gets_decoded_bodies_too():
    for options, expected in (({}, b"text"), ({"auto_decompress": False}, gzip.compress(b"text", mtime=0))):
        server = web.Server(echo, **options)
        client, end = memory_pipe()
        sent = request_bytes("/", "Content-Encoding: gzip", method="POST", body=gzip.compress(b"text", mtime=0))
        async with anyio.create_task_group() as group:
            group.start_soon(server, end)
            await client.send(sent)
            assert parse(await client.receive_all(), "POST").body == expected


@pytest.mark.parametrize(("name", "hint"), [("GET", "request.query"), ("POST", r"await request.post\(\)")])
async def test_attributes_of_the_past_name_their_replacement(name: str, hint: str):
    """W-200."""

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(AttributeError, match=hint):
            getattr(request, name)
        return web.Response()

    assert (await ask(handler)).status == 200
