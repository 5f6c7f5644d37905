"""Files over sockets of every kind, to clients that are slow, that leave, and whose file changes under way."""

import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structweb import web
from tests.server.links import SocketPeer
from tests.system.places import KINDS, PATIENCE, open_place, read_all, read_until
from tests.web.loopback import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends, pytest.mark.parametrize("kind", KINDS)]

MB = 1024 * 1024
GET = b"GET /files/it HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
STAY = b"GET /files/it HTTP/1.1\r\nHost: test\r\n\r\n"


def held(folder: Path) -> list[str]:
    """Return the files below `folder` that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)  # noqa: PTH115 - a deleted file has a name that is no path
        except OSError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


async def nothing_held(folder: Path) -> None:
    with anyio.fail_after(PATIENCE):
        while held(folder):  # noqa: ASYNC110 - the kernel tells nobody
            await anyio.sleep(0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "files"
    place.mkdir()
    return place


def app_of(folder: Path, **options: object) -> web.Application:
    app = web.Application()
    app.router.add_static("/files", folder, **options)
    return app


async def pieces_of(peer: SocketPeer) -> AsyncIterator[bytes]:
    with anyio.fail_after(3 * PATIENCE):
        while data := await peer.receive():
            yield data


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_large_file_arrives_whole_and_the_connection_lives(kind, folder, tmp_path):
    content = os.urandom(5 * MB + 17)
    (folder / "it").write_bytes(content)
    async with open_place(kind, tmp_path, app_of(folder)) as place, place.visit() as peer:
        for request in (STAY, GET):
            await peer.send(request)
            head = b""
            while b"\r\n\r\n" not in head:
                head += await peer.receive()
            head, _, body = head.partition(b"\r\n\r\n")
            received = bytearray(body)
            while len(received) < len(content):
                received += await peer.receive()
            assert parsed(head + b"\r\n\r\n").status == 200
            assert hashlib.sha256(received).digest() == hashlib.sha256(content).digest()
        assert await read_all(peer) == b""
    assert held(folder) == []


async def test_several_ranges_of_a_large_file(kind, folder, tmp_path):
    (folder / "it").write_bytes(bytes(range(256)) * 1024)
    request = GET.replace(b"\r\n\r\n", b"\r\nRange: bytes=0-1, 100000-100003, -2\r\n\r\n")
    async with open_place(kind, tmp_path, app_of(folder)) as place, place.visit() as peer:
        await peer.send(request)
        answer = parsed(await read_all(peer))
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    assert answer.status == 206
    assert len(answer.body) == int(answer.headers["content-length"])
    parts = answer.body.split(b"--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    assert [part.strip(b"\r\n").partition(b"\r\n\r\n") for part in parts[1:-1]] == [
        (b"Content-Type: application/octet-stream\r\nContent-Range: bytes %b/262144" % where, b"\r\n\r\n", data)
        for where, data in (
            (b"0-1", b"\x00\x01"),
            (b"100000-100003", b"\xa0\xa1\xa2\xa3"),
            (b"262142-262143", b"\xfe\xff"),
        )
    ]


async def test_a_slow_reader_costs_no_memory(kind, folder, tmp_path):
    """W-110: 64 MB, with the memory of the process flat within 8 MB."""
    size = 64 * MB
    with (folder / "it").open("wb") as file:
        file.truncate(size)
    async with open_place(kind, tmp_path, app_of(folder)) as place, place.visit(buffer=65536) as peer:
        await peer.send(GET)
        received, before, most = 0, 0, 0
        async for data in pieces_of(peer):
            received += len(data)
            if not before and received > 2 * MB:
                before = resident()
            if received % 16 == 0:
                await anyio.lowlevel.checkpoint()
            most = max(most, resident()) if before else 0
    assert received > size
    assert most - before < 8 * MB


async def test_a_client_that_leaves_leaves_no_file_open(kind, folder, tmp_path):
    with (folder / "it").open("wb") as file:
        file.truncate(32 * MB)
    async with open_place(kind, tmp_path, app_of(folder)) as place, place.visit(buffer=16384) as peer:
        await peer.send(GET)
        await read_until_some(peer)
        assert held(folder)
        peer.reset()
        await nothing_held(folder)


async def test_a_cancelled_download_ends_the_connection_and_closes_the_file(kind, folder, tmp_path):
    with (folder / "it").open("wb") as file:
        file.truncate(32 * MB)
    scope = anyio.CancelScope()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal scope
        scope = request.cancel_scope
        return web.FileResponse(folder / "it")

    app = web.Application()
    app.router.add_get("/files/it", handler)
    async with open_place(kind, tmp_path, app) as place, place.visit(buffer=16384) as peer:
        await peer.send(GET)
        await read_until_some(peer)
        scope.cancel()
        assert len(await read_all(peer)) < 32 * MB
        await nothing_held(folder)


async def test_a_stalled_client_is_given_up(kind, folder, tmp_path):
    with (folder / "it").open("wb") as file:
        file.truncate(32 * MB)
    timeouts = {"send_timeout": 0.05}
    async with open_place(kind, tmp_path, app_of(folder), **timeouts) as place, place.visit(buffer=16384) as peer:
        await peer.send(GET)
        await read_until_some(peer)
        await nothing_held(folder)


async def test_a_file_cut_meanwhile_ends_the_connection(kind, folder, tmp_path, caplog):
    path = folder / "it"
    with path.open("wb") as file:
        file.truncate(32 * MB)
    async with open_place(kind, tmp_path, app_of(folder)) as place, place.visit(buffer=16384) as peer:
        await peer.send(STAY)
        await read_until_some(peer)
        os.truncate(path, 1000)
        assert len(await read_all(peer)) < 32 * MB
    assert "before its Content-Length" in caplog.text
    assert held(folder) == []


async def test_head_sends_no_body_and_holds_no_file(kind, folder, tmp_path):
    with (folder / "it").open("wb") as file:
        file.truncate(MB)
    async with open_place(kind, tmp_path, app_of(folder)) as place, place.visit() as peer:
        await peer.send(STAY.replace(b"GET", b"HEAD"))
        answer = parsed(await read_until(peer, b"\r\n\r\n"))
        assert answer.headers["content-length"] == str(MB)
        assert held(folder) == []
        await peer.send(GET.replace(b"GET", b"HEAD"))
        assert parsed(await read_all(peer)).body == b""


async def test_a_slow_disk_holds_up_nobody_else(kind, folder, tmp_path, monkeypatch):
    """W-110: a part of a file that is not in memory is read in a thread; the loop goes on while the disk takes its time."""
    content = os.urandom(200_000)
    (folder / "it").write_bytes(content)
    asked, answered = threading.Event(), threading.Event()
    main, read, read_several = threading.current_thread(), os.pread, os.preadv

    def wait_for_the_disk() -> None:
        assert threading.current_thread() is not main, "the loop reads a file that is not in memory"
        asked.set()
        assert answered.wait(PATIENCE), "nobody else was served meanwhile"

    def slow_pread(fd: int, count: int, offset: int) -> bytes:
        wait_for_the_disk()
        return read(fd, count, offset)

    def slow_preadv(fd: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError  # as the kernel says it, asked not to wait
        wait_for_the_disk()
        return read_several(fd, buffers, offset)

    monkeypatch.setattr(os, "pread", slow_pread)
    monkeypatch.setattr(os, "preadv", slow_preadv)
    app = app_of(folder)
    app.router.add_get("/other", other)
    async with open_place(kind, tmp_path, app) as place, place.visit() as peer, place.visit() as somebody:
        await peer.send(GET)
        with anyio.fail_after(PATIENCE):
            await anyio.to_thread.run_sync(asked.wait)
        await somebody.send(GET.replace(b"/files/it", b"/other"))
        assert parsed(await read_all(somebody)).body == b"here"
        answered.set()
        assert parsed(await read_all(peer)).body == content
    assert held(folder) == []


async def other(request: web.Request) -> web.Response:
    return web.Response(text="here")


async def test_without_sendfile(kind, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("AIOHTTP_NOSENDFILE", "1")
    content = os.urandom(MB + 3)
    (folder / "it").write_bytes(content)
    async with open_place(kind, tmp_path, app_of(folder, chunk_size=5000)) as place, place.visit() as peer:
        await peer.send(GET)
        assert parsed(await read_all(peer)).body == content


async def read_until_some(peer: SocketPeer) -> None:
    """Read the beginning of a body."""
    with anyio.fail_after(PATIENCE):
        assert await peer.receive()
        assert await peer.receive()
