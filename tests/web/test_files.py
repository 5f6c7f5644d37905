"""FileResponse: what it says of a file, conditions, ranges, siblings, and what cannot be sent."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from structweb import web
from tests.web.served import Answer, serving
from tests.web.talk import request_bytes, talk

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
BEFORE = "Wed, 31 Dec 2025 23:59:59 GMT"
MTIME = 1767225600
TEN = b"0123456789"
ETAG = f'"{MTIME * 10**9:x}-a"'


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Return a file of ten bytes, as old as DATE."""
    return made(tmp_path / "ten.txt", TEN)


def made(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, (MTIME, MTIME))
    return path


def app_of(*args: object, **options: object) -> web.Application:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(*args, **options)  # type: ignore[arg-type] # the test's own

    app = web.Application()
    app.router.add_route("*", "/", handler)
    return app


async def ask(path: Path, *fields: str, method: str = "GET", **options: object) -> Answer:
    async with serving(app_of(path, **options)) as served:
        return await served.ask("/", *fields, method=method)


async def test_what_is_said_of_a_file(ten):
    answer = await ask(ten)
    assert (answer.status, answer.body) == (200, TEN)
    assert {name: answer.headers[name] for name in ("etag", "last-modified", "accept-ranges", "content-type")} == {
        "etag": ETAG,
        "last-modified": DATE.lower(),
        "accept-ranges": "bytes",
        "content-type": "text/plain",
    }
    assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.html", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("a.br", "application/x-brotli"),
        ("a.bz2", "application/x-bzip2"),
        ("a.Z", "application/x-compress"),
        ("a.xz", "application/x-xz"),
        ("a", "application/octet-stream"),
        ("a.nobody-knows", "application/octet-stream"),
    ],
)
async def test_content_types(tmp_path, name, content_type):
    answer = await ask(made(tmp_path / name, b"x"))
    assert answer.headers["content-type"] == content_type
    assert "content-encoding" not in answer.headers


async def test_own_headers_and_status(ten):
    headers = {"Content-Type": "text/x-own", "X-Own": "1", "ETag": '"own"'}
    answer = await ask(ten, status=201, reason="Mine", headers=headers)
    assert (answer.status, answer.reason) == (201, "Mine")
    assert (answer.headers["content-type"], answer.headers["x-own"]) == ("text/x-own", "1")
    assert answer.headers["etag"] == ETAG


CONDITIONS = [
    ((), 200),
    (("If-None-Match: " + ETAG,), 304),
    (("If-None-Match: W/" + ETAG,), 304),
    (("If-None-Match: *",), 304),
    (('If-None-Match: "other"',), 200),
    (('If-None-Match: "other"', "If-None-Match: " + ETAG), 304),
    (("If-Modified-Since: " + DATE,), 304),
    (("If-Modified-Since: " + BEFORE,), 200),
    (("If-Modified-Since: yesterday",), 200),
    (('If-None-Match: "other"', "If-Modified-Since: " + DATE), 200),
    (("If-Match: " + ETAG,), 200),
    (("If-Match: *",), 200),
    (("If-Match: W/" + ETAG,), 412),
    (('If-Match: "other"',), 412),
    (("If-Unmodified-Since: " + DATE,), 200),
    (("If-Unmodified-Since: " + BEFORE,), 412),
    (("If-Match: " + ETAG, "If-Unmodified-Since: " + BEFORE), 200),
    (("If-Match: " + ETAG, "If-None-Match: " + ETAG), 304),
    (('If-Match: "other"', "If-None-Match: " + ETAG), 412),
]


@pytest.mark.parametrize(("fields", "status"), CONDITIONS)
async def test_conditions(ten, fields, status):
    for method in ("GET", "HEAD"):
        answer = await ask(ten, *fields, method=method)
        assert answer.status == status
        assert answer.body == (TEN if (status, method) == (200, "GET") else b"")
        if status == 304:
            assert (answer.headers["etag"], answer.headers["last-modified"]) == (ETAG, DATE.lower())
            assert not {"content-length", "content-type", "transfer-encoding"} & answer.headers.keys()


async def test_conditions_of_other_methods_and_of_errors(ten):
    """RFC 9110: 304 is for GET and HEAD, and a response that is no success anyway has no conditions."""
    assert (await ask(ten, "If-None-Match: " + ETAG, method="POST")).status == 412
    assert (await ask(ten, "If-Modified-Since: " + DATE, method="POST")).status == 200
    answer = await ask(ten, "If-None-Match: *", "Range: bytes=0-1", status=404)
    assert (answer.status, answer.body) == (404, TEN)


RANGES = [
    ("bytes=0-0", 206, b"0", "0-0"),
    ("bytes=2-5", 206, b"2345", "2-5"),
    ("bytes=8-", 206, b"89", "8-9"),
    ("bytes=8-100", 206, b"89", "8-9"),
    ("bytes=-3", 206, b"789", "7-9"),
    ("bytes=-100", 206, TEN, "0-9"),
    ("Bytes = 1-1", 206, b"1", "1-1"),
    ("bytes=10-", 416, b"", "*"),
    ("bytes=99-100", 416, b"", "*"),
    ("bytes=-0", 416, b"", "*"),
    ("bytes=20-,30-", 416, b"", "*"),
    ("bytes=20-,1-1", 206, b"1", "1-1"),
    ("bytes=5-2", 200, TEN, None),
    ("bytes=a-b", 200, TEN, None),
    ("bytes=", 200, TEN, None),
    ("bytes=-", 200, TEN, None),
    ("lines=0-1", 200, TEN, None),
    ("bytes=0-5,0-5", 200, TEN, None),
    ("bytes=" + "9" * 5000 + "-", 416, b"", "*"),
]


@pytest.mark.parametrize(("header", "status", "body", "where"), RANGES)
async def test_ranges(ten, header, status, body, where):
    answer = await ask(ten, "Range: " + header)
    assert (answer.status, answer.body) == (status, body)
    expected = None if where is None else f"bytes {where}/10"
    assert answer.headers.get("content-range") == expected
    assert answer.headers["accept-ranges"] == "bytes"
    assert (await ask(ten, "Range: " + header, method="HEAD")).status == 200  # RFC 9110, section 14.2


async def test_several_ranges(ten):
    answer = await ask(ten, "Range: bytes=0-1,-2")
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert (answer.status, kind) == (206, "multipart/byteranges")
    assert "content-range" not in answer.headers
    assert answer.text.split("\r\n") == [
        *("--" + boundary, "Content-Type: text/plain", "Content-Range: bytes 0-1/10", "", "01"),
        *("--" + boundary, "Content-Type: text/plain", "Content-Range: bytes 8-9/10", "", "89"),
        *("--" + boundary + "--", ""),
    ]


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (ETAG, 206),
        ("W/" + ETAG, 200),
        ('"other"', 200),
        ("*", 200),
        (DATE, 206),
        (BEFORE, 200),
        ("Fri, 02 Jan 2026 00:00:00 GMT", 200),  # that of a file that an older one has taken the place of
        ("garbage", 200),
    ],
)
async def test_if_range(ten, condition, status):
    assert (await ask(ten, "Range: bytes=0-1", "If-Range: " + condition)).status == status


async def test_siblings(ten):
    plain = await ask(ten, "Accept-Encoding: gzip")
    assert "vary" not in plain.headers
    made(ten.with_suffix(".txt.gz"), b"zipped")
    for accepted, body, coding in (
        ("gzip, br", b"zipped", "gzip"),
        ("GZIP;q=0.5", b"zipped", "gzip"),
        ("*", b"zipped", "gzip"),
        ("gzip;q=0", TEN, None),
        ("identity", TEN, None),
        ("xgzipx", TEN, None),
    ):
        answer = await ask(ten, "Accept-Encoding: " + accepted)
        assert (answer.body, answer.headers.get("content-encoding")) == (body, coding)
        assert answer.headers["vary"] == "accept-encoding"
        assert answer.headers["content-type"] == "text/plain"
    made(ten.with_suffix(".txt.br"), b"brotli!")
    answer = await ask(ten, "Accept-Encoding: gzip, br", headers={"Vary": "Cookie"})
    assert (answer.body, answer.headers["content-encoding"]) == (b"brotli!", "br")
    assert answer.headers["etag"] == f'"{MTIME * 10**9:x}-7-br"'
    answer = await ask(ten, "Accept-Encoding: br", "Range: bytes=0-0")
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, b"b", "bytes 0-0/7")


async def test_siblings_as_long_and_as_old_as_the_file_have_other_tags(ten):
    """As `gzip --keep` leaves them: what a client has of one coding must not pass for another."""
    made(ten.with_suffix(".txt.gz"), b"gzipped10b")
    made(ten.with_suffix(".txt.br"), b"brotli 10b")
    tags = {(await ask(ten, f"Accept-Encoding: {coding}")).headers["etag"] for coding in ("identity", "gzip", "br")}
    assert len(tags) == 3
    answer = await ask(ten, "Accept-Encoding: gzip", "Range: bytes=5-", f"If-Range: {ETAG}")
    assert (answer.status, answer.body) == (200, b"gzipped10b")


async def test_a_link_is_no_sibling(ten, tmp_path):
    secret = made(tmp_path / "secret", b"secret")
    ten.with_suffix(".txt.gz").symlink_to(secret)
    ten.with_suffix(".txt.br").mkdir()
    assert (await ask(ten, "Accept-Encoding: gzip, br")).body == TEN


async def test_head_and_empty_files(ten, tmp_path):
    answer = await ask(ten, method="HEAD")
    assert (answer.status, answer.headers["content-length"], answer.headers["etag"]) == (200, "10", ETAG)
    empty = made(tmp_path / "empty", b"")
    for method in ("GET", "HEAD"):
        answer = await ask(empty, method=method)
        assert (answer.status, answer.headers["content-length"]) == (200, "0")
    assert (await ask(empty, "Range: bytes=0-")).status == 416
    assert (await ask(empty, "Range: bytes=-5")).status == 200


async def test_what_cannot_be_sent(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    made(tmp_path / "file", b"x")
    for name, status in (
        ("missing", 404),
        ("x" * 300, 404),
        ("nul\0", 404),
        ("loop", 404),
        ("file/below", 404),
        ("fifo", 403),
        (".", 403),
    ):
        for method in ("GET", "HEAD"):
            answer = await ask(tmp_path / name, "If-None-Match: *", "Range: bytes=0-", method=method)
            assert (name, answer.status, answer.body) == (name, status, b"")
    assert (await ask(Path("/dev/null"))).status == 403


@pytest.fixture
def nobody() -> Iterator[Path]:
    """Be somebody who may not read everything; lend a folder that anybody can enter."""
    own = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        if own == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(own)


async def test_a_file_that_may_not_be_read(nobody):
    made(nobody / "mine", b"x").chmod(0)
    assert (await ask(nobody / "mine")).status == 403
    made(nobody / "open.txt", b"open")
    made(nobody / "open.txt.gz", b"x").chmod(0)
    assert (await ask(nobody / "open.txt", "Accept-Encoding: gzip")).body == b"open"


async def test_on_response_prepare_sees_and_changes_the_headers(ten, tmp_path):
    made(tmp_path / "large", b"x" * 100_000)
    seen = []

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        seen.append((response.status, response.headers["ETag"], response.content_length))
        response.headers["X-Seen"] = "1"

    for path, size in ((ten, 10), (tmp_path / "large", 100_000)):
        app = app_of(path)
        app.on_response_prepare.append(prepare)
        async with serving(app) as served:
            answer = await served.ask()
        assert (answer.headers["x-seen"], len(answer.body)) == ("1", size)
        assert seen.pop()[2] == size


async def test_cookies_closing_and_the_headers_behind_it(ten):
    sent = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.FileResponse(ten)
        if "cookie" in request.query:
            response.set_cookie("a", "b")
        else:
            response.force_close()
        assert not response.prepared
        assert await response.prepare(request) is response
        assert response.prepared
        assert await response.prepare(request) is None
        sent.append((response.status, response.headers["ETag"], response.body_length > 10))
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as served:
        answer = await served.ask("/?cookie")
        assert (answer.headers["set-cookie"], answer.body) == ("a=b; path=/", TEN)
        answer = await served.ask("/")
        assert (answer.headers["connection"], answer.body) == ("close", TEN)
    assert sent == [(200, ETAG, True)] * 2


async def test_chunked(ten, tmp_path):
    large = made(tmp_path / "large", b"x" * 100_000)
    for path, size in ((ten, 10), (large, 100_000)):

        async def handler(request: web.Request, path: Path = path) -> web.StreamResponse:
            response = web.FileResponse(path, chunk_size=30_000)
            response.enable_chunked_encoding()
            return response

        app = web.Application()
        app.router.add_get("/", handler)
        head, _, body = (await talk(app, request_bytes())).partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert b"Content-Length" not in head
        assert body.endswith(b"\r\n0\r\n\r\n")
        assert len(body) >= size


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_file_that_broke_off_is_not_ended(tmp_path, compressed):
    """Its handler passes over the error, and returns the response: a client must not take what it got for the file."""
    path = made(tmp_path / "large", os.urandom(1_000_000))
    cut = False

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal cut
        response = web.FileResponse(path)
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        else:
            response.enable_chunked_encoding()
        with suppress(EOFError, OSError):
            await response.prepare(request)
            raise AssertionError
        cut = True
        return response

    async def cut_off(request: web.Request, response: web.StreamResponse) -> None:
        os.truncate(path, 500_000)

    app = web.Application()
    app.router.add_get("/", handler)
    app.on_response_prepare.append(cut_off)
    data = await talk(app, request_bytes())
    assert cut
    assert data.startswith(b"HTTP/1.1 200")
    assert not data.endswith(b"0\r\n\r\n")


async def test_http_1_0(tmp_path):
    large = made(tmp_path / "large", b"x" * 100_000)
    head, _, body = (await talk(app_of(large), request_bytes(version="1.0"))).partition(b"\r\n\r\n")
    assert b"Content-Length: 100000" in head
    assert len(body) == 100_000


async def test_a_write_that_fails_before_the_head_can_be_answered(ten):
    answer = await ask(ten, headers={"X": "a\r\nb"})
    assert answer.status == 500


async def test_many_at_once(tmp_path):
    large = made(tmp_path / "large", b"x" * 300_000)
    async with serving(app_of(large)) as served, anyio.create_task_group() as group:

        async def one() -> None:
            assert len((await served.ask()).body) == 300_000

        for _ in range(10):
            group.start_soon(one)
