"""Files as bodies (W-073)."""

import bz2
import gzip
import io
import lzma
import os
import tempfile
import tracemalloc
import types
from pathlib import Path

import anyio
import pytest

import structweb
from structweb import web
from tests.web.served import serving
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]  # worker threads

DATA = bytes(range(256)) * 3000


class Collected:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, data: bytes, /) -> None:
        self.pieces.append(bytes(data))


class Sent:
    """A handler that answers with a file, and keeps it."""

    def __init__(self, path: Path, mode: str = "rb", position: int = 0, **options: object) -> None:
        self.path, self.mode, self.position, self.options = path, mode, position, options
        self.files: list[io.IOBase] = []

    async def __call__(self, request: web.Request) -> web.Response:
        file = open(self.path, self.mode, **self.options)  # noqa: SIM115, PTH123, ASYNC230 - the response closes it
        file.seek(self.position)
        self.files.append(file)
        return web.Response(body=file)

    @property
    def all_closed(self) -> bool:
        return bool(self.files) and all(file.closed for file in self.files)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some picture.png"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("options", [{"mode": "rb"}, {"mode": "rb", "buffering": 0}, {"mode": "r+b"}])
@pytest.mark.parametrize("position", [0, 1000, len(DATA)])
async def test_a_file_is_sent_from_its_position_and_closed(path: Path, options: dict, position: int):
    handler = Sent(path, position=position, **options)
    reply = await ask(handler)
    assert (reply.body, reply.get("Content-Length")) == (DATA[position:], str(len(DATA) - position))
    assert reply.get("Content-Disposition") == 'attachment; filename="some%20picture.png"'
    if position < len(DATA):
        assert reply.get("Content-Type") == "image/png"
    assert handler.all_closed


async def test_the_headers_of_the_response_count(path: Path):
    with path.open("rb") as file:
        response = web.Response(body=file, content_type="image/x", headers={"content-disposition": "inline"})
        assert dict(response.headers) == {"content-disposition": "inline", "Content-Type": "image/x"}


@pytest.mark.parametrize(
    ("name", "content_type"), [("a.txt", "text/plain"), ("a.unknown-ending", "application/octet-stream")]
)
def test_its_type_is_guessed_from_its_name(tmp_path: Path, name: str, content_type: str):
    path = tmp_path / name
    path.write_bytes(b"")
    with path.open("rb") as file:
        assert structweb.get_payload(file).content_type == content_type


async def test_a_file_without_name_or_position(tmp_path: Path):
    """A pipe: chunked, and to be saved under no name."""

    async def handler(request: web.Request) -> web.Response:
        read, write = os.pipe()
        os.write(write, b"from a pipe")
        os.close(write)
        return web.Response(body=open(read, "rb"))  # noqa: PTH123, ASYNC230 - the response closes it

    reply = await ask(handler)
    assert (reply.body, reply.get("Content-Disposition")) == (b"from a pipe", None)


@pytest.mark.parametrize("module", [gzip, bz2, lzma], ids=lambda module: module.__name__)
@pytest.mark.parametrize("mode", ["rb", "rt", "buffered"])
async def test_a_file_that_decompresses_is_sent_in_chunks(tmp_path: Path, module: types.ModuleType, mode: str):
    """Its descriptor is that of the compressed file, whose size says nothing about what comes out."""
    path = tmp_path / "compressed"
    path.write_bytes(module.compress(b"some text " * 1000))

    async def handler(request: web.Request) -> web.Response:
        file = module.open(path, "rt" if mode == "rt" else "rb")
        return web.Response(body=io.BufferedReader(file) if mode == "buffered" else file)

    reply = await ask(handler)
    assert (reply.body, reply.get("Content-Length")) == (b"some text " * 1000, None)


async def test_a_spooled_file_is_sent_with_its_length():
    async def handler(request: web.Request) -> web.Response:
        file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - the response closes it
        file.write(b"spooled")
        file.seek(2)
        return web.Response(body=file)

    reply = await ask(handler)
    assert (reply.body, reply.get("Content-Length")) == (b"ooled", "5")


async def test_at_most_so_many_bytes_of_a_pipe():
    for length, sent in ((4, b"from"), (100, b"from a pipe")):
        read, write = os.pipe()
        os.write(write, b"from a pipe")
        os.close(write)
        collected = Collected()
        payload = structweb.get_payload(open(read, "rb"))  # noqa: SIM115, PTH123, ASYNC230 - the payload closes it
        await payload.write_with_length(collected, length)
        await payload.close()
        assert b"".join(collected.pieces) == sent


async def test_a_file_that_grows_does_not_outgrow_its_length(path: Path):
    async def look(request: web.Request, response: web.StreamResponse) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    app = app_of(Sent(path))
    app.on_response_prepare.append(look)
    reply = await ask(app)
    assert len(reply.body) == int(reply.get("Content-Length"))


@pytest.mark.parametrize("multipart", [False, True])
async def test_a_file_that_grows_behind_the_head_is_sent_as_long_as_that_says(path: Path, multipart: bool):
    """A log that is written to: between the head and the body, too, and while the file waits among other parts."""
    handler = Sent(path)

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    async def growing(request: web.Request) -> web.Response:
        response = await handler(request)
        if multipart:
            writer = structweb.MultipartWriter(boundary="-")
            writer.append(response.body)
            grow()
            response = web.Response(body=writer)
        await response.prepare(request)
        grow()
        return response

    reply = await ask(growing)
    assert len(reply.body) == int(reply.get("Content-Length"))
    if multipart:
        assert f"Content-Length: {len(DATA)}\r\n".encode() in reply.body
        assert reply.body.endswith(b"\r\n\r\n" + DATA + b"\r\n-----\r\n")
    else:
        assert reply.body == DATA
    assert handler.all_closed


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_file_that_is_cut_while_it_is_sent_in_chunks_is_not_ended(tmp_path: Path, compressed: bool):
    """A client could not tell that end from the file's."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(2_000_000))
    handler = Sent(path)

    async def chunked(request: web.Request) -> web.Response:
        response = await handler(request)
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        else:
            response.enable_chunked_encoding()
        return response

    async with serving(app_of(chunked)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await connection.stream.receive_until(b"\r\n\r\n")
        os.truncate(path, 1_000_000)
        received = await connection.rest()
    assert 250_000 < len(received) < 1_100_000
    assert not received.endswith(b"0\r\n\r\n")
    assert handler.all_closed


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_it_is_closed_though_nothing_of_it_is_sent(path: Path, method: str, status: int):
    handler = Sent(path)

    async def bodiless(request: web.Request) -> web.Response:
        response = await handler(request)
        response.set_status(status)
        return response

    reply = await ask(bodiless, method=method)
    assert reply.status == status
    assert handler.all_closed


async def test_it_is_closed_when_the_head_cannot_be_sent(path: Path):
    handler = Sent(path)

    async def broken(request: web.Request) -> web.Response:
        response = await handler(request)
        response.headers["X"] = "a\r\nb"
        return response

    assert (await ask(broken)).status == 500
    assert handler.all_closed


async def test_it_is_closed_when_reading_fails(path: Path):
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    file = Broken()
    data = await talk(lambda request: web.Response(body=file), request_bytes())
    assert not data.endswith(b"0\r\n\r\n")
    assert file.closed


async def test_it_is_closed_when_the_client_leaves(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    handler = Sent(path)
    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await connection.stream.receive_until(b"\r\n\r\n")
        connection.stream.close()
        with anyio.fail_after(5):
            while not handler.all_closed:  # noqa: ASYNC110 - a file tells nobody that it was closed
                await anyio.sleep(0.01)


async def test_a_large_file_costs_no_memory(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    handler = Sent(path)
    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await connection.stream.receive_until(b"\r\n\r\n")
        tracemalloc.start()
        left = 50_000_000
        while left:
            left -= len(await connection.stream.receive())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert await connection.rest() == b""
    assert peak < 4_000_000
    assert handler.all_closed


# -- text files ----------------------------------------------------------------------------------------------------


TEXT = "gr\u00fc\u00df\r\ndich\n" * 1000


@pytest.mark.parametrize(
    ("encoding", "length", "newlines"), [("utf-8", len(TEXT.encode()), "\r\n"), ("latin-1", None, "\n")]
)
async def test_a_text_file_is_sent_in_utf8(tmp_path: Path, encoding: str, length: int | None, newlines: str):
    """With its length if its bytes can be sent as they are: the length of the text is known only at its end."""
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode(encoding))
    handler = Sent(path, mode="r", encoding=encoding)
    reply = await ask(handler)
    assert reply.body.decode() == TEXT.replace("\r\n", newlines)
    assert reply.get("Content-Length") == (None if length is None else str(length))
    assert reply.get("Content-Type") == "text/plain; charset=utf-8"
    assert reply.get("Content-Disposition") == 'attachment; filename="text.txt"'
    assert handler.all_closed


async def test_a_text_file_from_its_position(tmp_path: Path):
    path = tmp_path / "text"
    path.write_text("one\ntwo\nthree\n")
    for encoding in ("utf-8", "utf-16"):
        with path.open() as file:
            file.readline()
            payload = structweb.TextIOPayload(file, encoding=encoding, disposition=None)
            assert payload.headers["Content-Type"] == f"text/plain; charset={encoding}"
            assert (await payload.as_bytes()).decode(encoding) == "two\nthree\n"
            assert payload.decode() == "two\nthree\n"
            assert (payload.size is None) == (encoding == "utf-16")


async def test_reading_a_file_payload_again(path: Path):
    with path.open("rb") as file:
        payload = structweb.BufferedReaderPayload(file)
        assert (await payload.as_bytes(), payload.decode("latin-1")) == (DATA, DATA.decode("latin-1"))
        assert not payload.consumed
        await payload.close()
        await payload.close()
        assert (payload.consumed, file.closed, payload.size) == (True, True, None)


async def test_a_bytes_io_stays_open():
    kept = io.BytesIO(b"kept")
    for _ in range(2):
        kept.seek(1)
        reply = parse(await talk(lambda request: web.Response(body=kept), request_bytes()))
        assert reply.body == b"ept"
    payload = structweb.BytesIOPayload(kept)
    assert (payload.autoclose, payload.decode()) == (True, "")
