"""Small bodies that want to become much, by compression or by counts: 4xx, bounded memory, turns for others, nothing open.

Malformed multipart bodies of one megabyte are in test_forms.
"""

import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from structweb import web
from structweb._web.content import _join_small
from structweb._wire.codings import ContentCoding, available_codings, make_encoder
from tests.web.talk import app_of, parse, request_bytes, talk
from tests.web.test_multipart import FORM, MIXED, part

pytestmark = pytest.mark.anyio

URLENCODED = "application/x-www-form-urlencoded"
MEGABYTE = 2**20

Reader = Callable[[web.Request], Awaitable[object]]


async def parts(request: web.Request) -> int:
    """Look at every part, and read none."""
    count = 0
    async for _ in await request.multipart():
        count += 1
    return count


async def decoded_parts(request: web.Request) -> None:
    async for item in await request.multipart():
        await item.read(decode=True)


async def streamed_parts(request: web.Request) -> int:
    size = 0
    async for item in await request.multipart():
        while chunk := await item.read_chunk():
            async for piece in item.decode_iter(chunk):
                assert len(piece) <= 2**16
                size += len(piece)
    return size


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def answered(read: Reader, body: bytes, *fields: str, peak: int = 8 * MEGABYTE, **options: object):
    """Return the response to a body; complain about memory and files that it took."""
    files = open_files()

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=str(await read(request)))

    sent = request_bytes("/", *fields, method="POST", body=body)
    tracemalloc.start()
    try:
        reply = parse(await talk(app_of(handler, **options), sent), "POST")
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()
    assert open_files() <= files
    return reply


# -- by compression ------------------------------------------------------------------------------------------------


def repeated(coding: ContentCoding, front: bytes, unit: bytes, times: int) -> bytes:
    """Return `front` and then a megabyte of `unit` again and again, compressed."""
    encoder = make_encoder(coding)
    block = unit * (MEGABYTE // len(unit))
    return encoder.compress(front) + b"".join(encoder.compress(block) for _ in range(times)) + encoder.finish()


FIELD = part(b"", 'Content-Disposition: form-data; name="a"')
FILE = b'--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n'


@cache
def bomb(name: str, coding: ContentCoding) -> bytes:
    front, unit = {
        "bytes": (b"", b"\0"),
        "one field": (b"a=", b"x"),
        "escapes": (b"a=", b"%41"),
        "many fields": (b"", b"a=1&"),
        "a file": (FILE, b"\0"),
        "a part": (b"--B\r\n\r\n", b"\0"),
        "many parts": (b"", FIELD),
        "a header": (b"--B\r\nA: ", b"x"),
        "headers": (b"--B\r\n", b"A: b\r\n"),
        "a preamble": (b"", b"\r\n--"),
    }[name]
    return repeated(coding, front, unit, 64)


COMPRESSED: dict[str, tuple[Reader, str, str]] = {
    "read": (lambda request: request.read(), "application/octet-stream", "bytes"),
    "text": (lambda request: request.text(), "text/plain", "bytes"),
    "json": (lambda request: request.json(), "application/json", "bytes"),
    "one field": (lambda request: request.post(), URLENCODED, "one field"),
    "escapes": (lambda request: request.post(), URLENCODED, "escapes"),
    "many fields": (lambda request: request.post(), URLENCODED, "many fields"),
    "a file": (lambda request: request.post(), FORM, "a file"),
    "many parts": (lambda request: request.post(), FORM, "many parts"),
    "a header": (lambda request: request.post(), FORM, "a header"),
    "headers": (lambda request: request.post(), FORM, "headers"),
    "a preamble": (lambda request: request.post(), FORM, "a preamble"),
    "a part": (decoded_parts, MIXED, "a part"),
    "a header of a part": (parts, MIXED, "a header"),
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
async def test_a_compressed_body_is_refused_at_its_limit(name: str, coding: ContentCoding):
    """64 MiB in some 60 KB or less; what counts is what it decodes to."""
    read, content_type, kind = COMPRESSED[name]
    body = bomb(kind, coding)
    assert len(body) < 64 * MEGABYTE / 100
    reply = await answered(read, body, f"Content-Type: {content_type}", f"Content-Encoding: {coding.value}")
    assert reply.status in (400, 413)
    assert reply.status == 413 or "header" in name


async def test_what_is_skipped_costs_no_memory():
    body = bomb("a part", ContentCoding.gzip)
    reply = await answered(parts, body, f"Content-Type: {MIXED}", "Content-Encoding: gzip", peak=2 * MEGABYTE)
    assert reply.status == 400  # it has no end


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_part_is_refused_at_its_limit(encoding: str):
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    body = part(compress(bytes(64 * MEGABYTE)), f"Content-Encoding: {encoding}") + b"--B--"
    field = f"Content-Type: {MIXED}"
    assert (await answered(decoded_parts, body, field)).status == 413
    reply = await answered(streamed_parts, body, field, peak=2 * MEGABYTE)
    assert (reply.status, reply.body) == (200, b"%d" % (64 * MEGABYTE))


async def test_one_layer_is_taken_away_and_no_more():
    """A bomb in a bomb stays one: codings of codings pass through, as they come."""
    inner = gzip.compress(bytes(64 * MEGABYTE))
    reply = await answered(lambda request: request.read(), gzip.compress(inner), "Content-Encoding: gzip, gzip")
    assert reply.status == 200
    body = part(gzip.compress(inner), "Content-Encoding: gzip") + b"--B--"
    reply = await answered(streamed_parts, body, f"Content-Type: {MIXED}")
    assert reply.body == b"%d" % len(inner)


# -- by counts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"a&" * 400_000, b"&" * 800_000 + b"a=1&" * 1001, b"a=1&" * 200_000, b"%26=&" * 100_000]
)  # fmt: skip
async def test_urlencoded_fields_are_counted_before_they_are_made(body: bytes):
    reply = await answered(lambda request: request.post(), body, f"Content-Type: {URLENCODED}", peak=6 * MEGABYTE)
    assert (reply.status, reply.body) == (413, b"Maximum number of form fields 1000 exceeded.")


async def test_fields_of_a_form_are_counted_as_they_arrive():
    for unit in (FIELD, FILE + b"\r\n"):
        reply = await answered(
            lambda request: request.post(), unit * 10_000, f"Content-Type: {FORM}", peak=6 * MEGABYTE
        )
        assert (reply.status, reply.body) == (413, b"Maximum number of form fields 1000 exceeded.")


# -- turns ---------------------------------------------------------------------------------------------------------

EMPTY_MEMBERS = part(gzip.compress(b"", mtime=0) * 80_000, "Content-Encoding: gzip") + b"--B--"


async def streamed_parts_at_once(request: web.Request) -> None:
    async for item in await request.multipart():
        async for piece in item.decode_iter(await item.read()):
            raise AssertionError(piece)


@pytest.mark.parametrize(
    ("read", "body", "fields"),
    [
        (parts, b"--B\r\n\r\n\r\n" * 20_000 + b"--B--", [f"Content-Type: {MIXED}"]),
        (streamed_parts, b"--B\r\n\r\n\r\n" * 20_000 + b"--B--", [f"Content-Type: {MIXED}"]),
        (lambda request: request.read(), gzip.compress(b"x", mtime=0) * 20_000, ["Content-Encoding: gzip"]),
        (lambda request: request.read(), gzip.compress(bytes(16 * MEGABYTE), mtime=0), ["Content-Encoding: gzip"]),
        (lambda request: request.read(), gzip.compress(b"", mtime=0) * 80_000, ["Content-Encoding: gzip"]),
        (lambda request: request.post(), b"a=" + b"a%41" * 300_000, [f"Content-Type: {URLENCODED}"]),
        (decoded_parts, EMPTY_MEMBERS, [f"Content-Type: {MIXED}"]),
        (streamed_parts_at_once, EMPTY_MEMBERS, [f"Content-Type: {MIXED}"]),
    ],
    ids=[
        "parts",
        "read parts",
        "members",
        "zeros",
        "empty members",
        "escapes",
        "empty members in a part",
        "and in pieces",
    ],
)
async def test_others_get_their_turns(read: Reader, body: bytes, fields: list[str]):
    """All of it has arrived, so nobody waits for the network: work of a second must not be done in one go."""
    turns = []

    async def handler(request: web.Request) -> web.Response:
        async def other() -> None:
            while True:
                turns.append(request.content.total_bytes)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await read(request)
            group.cancel_scope.cancel()
        return web.Response()

    sent = request_bytes("/", *fields, method="POST", body=body)
    assert parse(await talk(app_of(handler, client_max_size=0), sent), "POST").status == 200
    assert len(turns) > 60


@pytest.mark.parametrize("exactly", [False, True])
async def test_tiny_chunks_cost_what_they_hold(exactly: bool):
    """Each is an object, which takes many times what it has."""
    count = 10_000

    async def size(request: web.Request) -> int:
        body = await (request.content.readexactly(2 * count) if exactly else request.read())
        assert body == b"ab" * count
        return len(body)

    async def handler(request: web.Request) -> web.Response:
        tracemalloc.start()
        try:
            length = await size(request)
            return web.Response(text=f"{length} {tracemalloc.get_traced_memory()[1]}")
        finally:
            tracemalloc.stop()

    head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = parse(await talk(app_of(handler), head + b"2\r\nab\r\n" * count + b"0\r\n\r\n"), "POST").body
    length, peak = map(int, body.split())
    assert length == 2 * count
    assert peak < 300_000  # 1.27 MB if each is kept


async def test_large_pieces_are_not_joined_on_the_way():
    pieces = [bytes(2**11)] * 1023 + [b"x"]
    assert _join_small(pieces, 0) == len(pieces) == 1024
    pieces += [b"y"] * 1024
    assert _join_small(pieces, 1024) == len(pieces) == 1025
    assert pieces[-1] == b"y" * 1024
