"""What the system may say to a socket's every call: transports survive it, or tell it in their own words."""

import errno
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.transport import Transport, disk, open_transport
from structweb._server.transport.sockets import set_options
from tests.server.links import CONFIG, SocketPeer, open_link, settled, socket_pair

pytestmark = pytest.mark.anyio

BUSY = BlockingIOError(errno.EAGAIN, "try again")
UNREACHABLE = OSError(errno.EHOSTUNREACH, "no route to host")
BROKEN_PIPE = BrokenPipeError(errno.EPIPE, "broken pipe")


class Troubled(socket.socket):
    """A socket whose next calls fail as `failing` says; then it works."""

    faults: dict[str, list[OSError]]

    def _may_fail(self, call: str) -> None:
        if faults := self.faults.get(call):
            raise faults.pop(0)

    def recv(self, *args: int) -> bytes:
        self._may_fail("recv")
        return super().recv(*args)

    def send(self, *args: object) -> int:
        self._may_fail("send")
        return super().send(*args)  # type: ignore[arg-type]  # whatever it was

    def shutdown(self, how: int) -> None:
        self._may_fail("shutdown")
        super().shutdown(how)

    def setsockopt(self, *args: object) -> None:
        self._may_fail("setsockopt")
        super().setsockopt(*args)  # type: ignore[call-overload]  # whatever it was


class Fixture:
    """A transport over a troubled socket, and its peer."""

    def __init__(self, transport: Transport, sock: Troubled, peer: SocketPeer) -> None:
        self.transport = transport
        self.sock = sock
        self.peer = peer

    @contextmanager
    def failing(self, call: str, *faults: OSError) -> Generator[None]:
        """Let the next calls fail, one for each of `faults`; afterwards all of them must have happened."""
        left = self.sock.faults[call] = list(faults)
        yield
        assert left == []

    async def told(self) -> bytes:
        """Close, and return what the peer got in all."""
        await self.transport.aclose()
        received = b""
        while data := await self.peer.receive():
            received += data
        return received


@asynccontextmanager
async def troubled(config: ServerConfig = CONFIG) -> AsyncGenerator[Fixture]:
    client, server = socket_pair("tcp", Path())
    sock = Troubled(fileno=server.detach())
    sock.faults = {}
    sock.setblocking(False)
    peer = SocketPeer(client)
    async with anyio.create_task_group() as tasks:
        transport = await open_transport(sock, config, task_group=tasks)
        try:
            yield Fixture(transport, sock, peer)
        finally:
            transport.abort()
            peer.vanish()
            tasks.cancel_scope.cancel()


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_readiness_may_be_a_false_alarm():
    async with troubled() as link:
        await link.peer.send(b"hello")
        with link.failing("recv", BUSY, BUSY):
            assert await link.transport.receive() == b"hello"


@pytest.mark.parametrize("fault", [UNREACHABLE, ConnectionResetError(errno.ECONNRESET, "reset")])
async def test_what_breaks_a_read_is_a_connection_error(fault: OSError):
    async with troubled() as link:
        await link.peer.send(b"hello")
        with link.failing("recv", fault), pytest.raises(ConnectionError):
            await link.transport.receive()


# -- writing -----------------------------------------------------------------------------------------------------------


async def test_a_full_socket_takes_the_rest_later():
    async with troubled() as link:
        with link.failing("send", BUSY, BUSY):
            link.transport.write(b"first ")
            assert link.transport.unsent() == 6
            link.transport.write(b"second")
            assert link.transport.unsent() == 12
            assert await link.told() == b"first second"


async def test_a_write_that_breaks_is_told_by_draining():
    async with troubled() as link:
        with link.failing("send", BROKEN_PIPE):
            link.transport.write(b"hello")
            with pytest.raises(ConnectionResetError, match="the peer is gone"):
                await link.transport.drain()


async def test_what_breaks_while_it_is_waited_for_is_told_too():
    async with troubled() as link:
        with link.failing("send", BUSY, BROKEN_PIPE):
            link.transport.write(b"x" * 5000)
            with pytest.raises(ConnectionResetError, match="the peer is gone"):
                await link.transport.drain()
            assert link.transport.unsent() == 0


async def test_a_close_over_a_write_that_breaks_is_silent():
    async with troubled() as link:
        with link.failing("send", BUSY, BROKEN_PIPE):
            link.transport.write(b"hello")
            await link.transport.aclose()
        assert link.sock.fileno() < 0


async def test_what_broke_for_writing_may_still_have_something_to_read():
    """While the transport reads: a Unix peer, for one, can end its reading side alone."""
    received = []

    async def receive() -> None:
        while len(received) < 2:
            received.append(await link.transport.receive())

    async with troubled() as link, anyio.create_task_group() as group:
        group.start_soon(receive)
        await link.peer.send(b"a question")
        await settled(lambda: len(received) == 1)
        with link.failing("send", BROKEN_PIPE):
            link.transport.write(b"hello")
        await link.peer.send(b"my last words")
    assert received == [b"a question", b"my last words"]


# -- endings -----------------------------------------------------------------------------------------------------------


async def test_a_fin_that_cannot_be_sent_is_nobodys_concern():
    async with troubled() as link:
        with link.failing("shutdown", OSError(errno.ENOTCONN, "not connected")):
            await link.transport.send_eof()


async def test_a_fin_follows_what_is_unsent():
    async with troubled() as link:
        with link.failing("send", BUSY):
            link.transport.write(b"hello")
            await link.transport.send_eof()
            assert [await link.peer.receive(), await link.peer.receive()] == [b"hello", b""]


async def test_a_socket_that_knows_no_reset_is_closed_all_the_same():
    async with troubled() as link:
        with link.failing("setsockopt", OSError(errno.ENOPROTOOPT, "not available")):
            link.transport.abort(truncated=True)
        assert link.sock.fileno() < 0


async def test_options_that_are_refused_are_left():
    """Some systems do so once the peer has left."""
    with Troubled() as sock:
        sock.faults = {"setsockopt": [OSError(errno.EINVAL, "invalid")]}
        set_options(sock, CONFIG)
        assert sock.faults["setsockopt"] == []


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Generator[int]:
    """An open file."""
    (tmp_path / "file").write_bytes(b"0123456789")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    yield fd
    os.close(fd)


@contextmanager
def sendfile_failing(monkeypatch: pytest.MonkeyPatch, *faults: OSError) -> Generator[None]:
    """Let the next calls of os.sendfile fail."""
    left, real = list(faults), os.sendfile

    def sendfile(*args: int) -> int:
        if left:
            raise left.pop(0)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "sendfile", sendfile)
        yield
        assert left == []


async def test_a_full_socket_takes_a_file_later(file: int, monkeypatch: pytest.MonkeyPatch):
    async with troubled() as link:
        with sendfile_failing(monkeypatch, BUSY):
            assert await link.transport.sendfile(file, 2, 5, piece=100) == 5
        assert await link.told() == b"23456"


async def test_a_peer_that_leaves_during_a_file(file: int, monkeypatch: pytest.MonkeyPatch):
    async with troubled() as link:
        with sendfile_failing(monkeypatch, BROKEN_PIPE), pytest.raises(ConnectionResetError, match="the peer is gone"):
            await link.transport.sendfile(file, 0, 10, piece=100)


async def test_a_file_that_the_kernel_cannot_send_is_read(file: int, monkeypatch: pytest.MonkeyPatch):
    async with troubled() as link:
        with sendfile_failing(monkeypatch, OSError(errno.EINVAL, "not this file")):
            assert await link.transport.sendfile(file, 0, 10, piece=4) == 4
        assert await link.told() == b"0123"


async def test_a_file_that_cannot_be_read_is_told(file: int, monkeypatch: pytest.MonkeyPatch):
    async with troubled() as link:
        with (
            sendfile_failing(monkeypatch, OSError(errno.EIO, "bad sector")),
            pytest.raises(OSError, match="bad sector"),
        ):
            await link.transport.sendfile(file, 0, 10, piece=4)


def preadv_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let os.preadv fail where it must not wait for the disk."""
    real = os.preadv

    def preadv(fd: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        if flags:
            raise BUSY
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)


@pytest.mark.real_backends
@pytest.mark.parametrize("how", ["not in memory", "cannot be told"])
async def test_a_cold_file_is_read_in_a_thread(file: int, how: str, monkeypatch: pytest.MonkeyPatch):
    if how == "not in memory":
        preadv_failing(monkeypatch)
    else:
        monkeypatch.setattr(disk, "_NO_WAIT", None)
    assert disk.read_cached(file, 5, 0) is None
    assert await disk.warm_up(file, 10, 0) == 10
    async with open_link("tls", Path()) as link:
        assert await link.transport.sendfile(file, 3, 4, piece=100) == 4
        assert await link.peer.receive() == b"3456"


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.real_backends
async def test_a_second_farewell_says_nothing():
    async with open_link("tls", Path()) as link:
        await link.transport.send_eof()
        link.transport.abort()
        await link.transport.aclose()
        assert await link.peer.receive() == b""


@pytest.mark.real_backends
async def test_nothing_is_written_behind_tls_that_broke():
    async with open_link("tls", Path()) as link:
        assert isinstance(link.peer, SocketPeer)
        await link.peer.raw.send(b"this is no record of TLS")
        with pytest.raises(ConnectionError):
            await link.transport.receive()
        link.transport.write(b"hello")
        link.transport.abort()


@pytest.mark.real_backends
async def test_particulars_before_and_behind_the_handshake():
    async with open_link("tls", Path()) as link:
        tls = link.transport.get_extra_info("ssl_object")
        assert isinstance(tls, ssl.SSLObject)
        await settled(lambda: tls.version() is not None)
        assert link.transport.get_extra_info("cipher") == tls.cipher()
