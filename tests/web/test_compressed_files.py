"""Files that are compressed on the way (W-098, W-105): who gets them so, and what is said of them then."""

import os
from pathlib import Path

import pytest

from structweb import web
from structweb._wire.codings import ContentCoding, available_codings
from structweb._wire.decoders import make_decoder
from tests.web.talk import Reply, ask

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

MTIME = 1767225600
SMALL = b"some text " * 50
LARGE = b"some more text " * 20_000
GZIP = "Accept-Encoding: gzip"


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def file(request, tmp_path: Path) -> Path:
    path = tmp_path / "it.txt"
    path.write_bytes(request.param)
    os.utime(path, (MTIME, MTIME))
    return path


def tag(file: Path) -> str:
    return f'"{MTIME * 10**9:x}-{file.stat().st_size:x}"'


def app_of(file: Path, *, force: ContentCoding | None = None, chunk_size: int = 65536) -> web.Application:
    """Serve the file from a handler and from a folder, compressed by a middleware."""

    @web.middleware
    async def compress(request: web.Request, handler) -> web.StreamResponse:
        response = await handler(request)
        response.enable_compression(force)
        return response

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, chunk_size)

    app = web.Application(middlewares=[compress])
    app.router.add_get("/it", handler)
    app.router.add_static("/s", file.parent)
    return app


def decoded(answer: Reply) -> bytes:
    decoder = make_decoder(ContentCoding(answer.get("Content-Encoding")))
    decoder.feed(answer.body)
    data = b"".join(iter(lambda: decoder.take(2**16), b""))
    decoder.finish()
    return data


@pytest.mark.parametrize("path", ["/it", "/s/it.txt"])
@pytest.mark.parametrize("coding", available_codings(), ids=lambda coding: coding.value)
async def test_a_file_is_compressed_for_who_takes_it(file, path, coding):
    app = app_of(file, chunk_size=10_000)
    for _ in range(2):  # the second time a folder knows the file
        answer = await ask(app, path, f"Accept-Encoding: {coding.value}")
        assert answer.status == 200
        assert answer.get("Content-Encoding") == coding.value
        assert len(answer.body) < file.stat().st_size // 4
        assert decoded(answer) == file.read_bytes()
        assert answer.get("ETag") == "W/" + tag(file)  # other bytes than the file's
        assert answer.get("Vary") == "Accept-Encoding"
        assert answer.get("Content-Type") == "text/plain"
        assert answer.get("Accept-Ranges") is None
    size = answer.get("Content-Length")
    assert size == str(len(answer.body)) if len(file.read_bytes()) == len(SMALL) else size is None


@pytest.mark.parametrize("path", ["/it", "/s/it.txt"])
async def test_others_get_the_file_itself_and_its_ranges(file, path):
    answer = await ask(app_of(file), path)
    assert (answer.status, answer.body) == (200, file.read_bytes())
    assert (answer.get("ETag"), answer.get("Vary")) == (tag(file), "Accept-Encoding")
    assert answer.get("Content-Encoding") is None
    part = await ask(app_of(file), path, "Range: bytes=5-8", "Accept-Encoding: identity")
    assert (part.status, part.body) == (206, file.read_bytes()[5:9])


@pytest.mark.parametrize("fields", [(), ('If-Range: "other"',)], ids=["range", "if-range"])
async def test_there_are_no_ranges_of_compressed_bytes(file, fields):
    """No such thing as with aiohttp, which compresses the range, and calls the result that range of the file."""
    answer = await ask(app_of(file), "/it", GZIP, "Range: bytes=5-8", *fields)
    assert (answer.status, answer.get("Content-Range")) == (200, None)
    assert decoded(answer) == file.read_bytes()


async def test_conditions(file):
    app = app_of(file)
    for fields, status in (
        ((f"If-None-Match: W/{tag(file)}",), 304),
        ((f"If-None-Match: {tag(file)}",), 304),
        (("If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",), 304),
        ((f"If-Match: W/{tag(file)}",), 412),
        (('If-None-Match: "other"',), 200),
    ):
        answer = await ask(app, "/it", GZIP, *fields)
        assert (fields, answer.status) == (fields, status)
        if status == 304:
            assert (answer.get("ETag"), answer.get("Vary")) == ("W/" + tag(file), "Accept-Encoding")
            assert answer.get("Content-Encoding") is None
            assert answer.body == b""


@pytest.mark.parametrize("path", ["/it", "/s/it.txt"])
async def test_head_says_what_get_would(file, path):
    got = await ask(app_of(file), path, GZIP)
    told = await ask(app_of(file), path, GZIP, method="HEAD")
    assert told.body == b""
    for name in ("ETag", "Vary", "Content-Encoding", "Content-Length", "Last-Modified"):
        assert (name, told.get(name)) == (name, got.get(name))


async def test_an_empty_file_and_a_sibling_go_as_they_are(tmp_path):
    empty, large = tmp_path / "empty.txt", tmp_path / "large.txt"
    empty.touch()
    large.write_bytes(LARGE)
    (tmp_path / "large.txt.gz").write_bytes(b"compressed by somebody")
    answer = await ask(app_of(empty), "/it", GZIP)
    assert (answer.status, answer.body, answer.get("Content-Encoding")) == (200, b"", None)
    answer = await ask(app_of(large), "/it", GZIP)
    assert (answer.body, answer.get("Content-Encoding")) == (b"compressed by somebody", "gzip")
    assert (await ask(app_of(large), "/it", GZIP, "Range: bytes=0-1")).body == b"co"


async def test_a_coding_that_is_forced(file):
    answer = await ask(app_of(file, force=ContentCoding.gzip), "/it")
    assert (answer.get("Content-Encoding"), decoded(answer)) == ("gzip", file.read_bytes())


async def test_to_http_1_0_it_ends_with_the_connection(file):
    answer = await ask(app_of(file), "/it", GZIP, version="1.0")
    assert answer.get("Transfer-Encoding") is None
    assert decoded(answer) == file.read_bytes()
