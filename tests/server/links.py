"""A transport and the peer at its other end, over each kind of stream: what the transport's tests run on."""

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import anyio
import trustme
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.tls import TLSStream

from structweb._server.config import ServerConfig
from structweb._server.transport import Transport, open_transport, wrap_stream
from structweb._wire.limits import Limits
from structweb.testing import memory_pipe

#: Small budgets, so that little traffic reaches them.
CONFIG = ServerConfig(limits=Limits(read_ahead=4096, write_buffer=4096))
#: What the kernel may hold for one direction of a link.
KERNEL_BUFFER = 16384
KINDS = ("tcp", "unix", "tls")


class Peer(Protocol):
    """The client's side of a link."""

    async def send(self, data: bytes, /) -> None: ...
    async def receive(self) -> bytes: ...
    async def half_close(self) -> None:
        """End our side and go on reading."""

    def vanish(self) -> None:
        """Close without a word; over TLS, without close_notify."""

    def reset(self) -> None:
        """Break the connection."""

    async def aclose(self) -> None:
        """Close as a polite client does."""


class SocketStream(ByteStream):
    """A plain socket as an anyio stream, which reads nothing that nobody asks for."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            await anyio.wait_readable(self.sock)
            with suppress(BlockingIOError):
                data = self.sock.recv(max_bytes)
                break
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        rest = memoryview(item)
        while rest:
            await anyio.wait_writable(self.sock)
            with suppress(BlockingIOError):
                rest = rest[self.sock.send(rest) :]

    async def send_eof(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            anyio.notify_closing(self.sock)
            self.sock.close()


class SocketPeer:
    """A peer over a socket, plain or through TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.raw = SocketStream(sock)
        self.stream: ByteStream = self.raw

    async def shake_hands(self) -> None:
        self.stream = await TLSStream.wrap(self.raw, hostname="localhost", ssl_context=client_context())

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def receive(self) -> bytes:
        try:
            return await self.stream.receive()
        except anyio.EndOfStream:
            return b""

    async def half_close(self) -> None:
        await self.raw.send_eof()

    def vanish(self) -> None:
        self.raw.close()

    def reset(self) -> None:
        self.raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()

    async def aclose(self) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            await self.stream.aclose()
        self.raw.close()


class PipePeer:
    """A peer at the other end of a pipe in memory."""

    def __init__(self, capacity: int) -> None:
        self._pipe, self.server_end = memory_pipe(capacity)
        self.send = self._pipe.send
        self.half_close = self._pipe.half_close
        self.vanish = self._pipe.close
        self.reset = self._pipe.reset
        self.aclose = self._pipe.aclose

    async def receive(self) -> bytes:
        try:
            return await self._pipe.receive()
        except anyio.EndOfStream:
            return b""


@dataclass
class Link:
    """A transport, its peer, and the task group that the transport may use."""

    transport: Transport
    peer: Peer
    tasks: TaskGroup

    async def receive_all(self) -> bytes:
        """Return what the transport receives until the end."""
        return b"".join([data async for data in chunks(self.transport.receive)])

    async def peer_receives_all(self) -> bytes:
        """Return what the peer receives until the end."""
        return b"".join([data async for data in chunks(self.peer.receive)])


async def chunks(receive: Callable[[], object]) -> AsyncGenerator[bytes]:
    """Iterate over what `receive` returns, until it is empty."""
    while data := await receive():  # type: ignore[misc]  # bound methods of peers and transports
        yield data


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("localhost").configure_cert(context)
    return context


@cache
def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # Debian's Python sets it: a truncation would look like a farewell.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", ssl.Options(0))
    authority().configure_trust(context)
    return context


def socket_pair(kind: str, folder: Path) -> tuple[socket.socket, socket.socket]:
    """Return the connected sockets of a client and a server, with small buffers."""
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "socket"))
    else:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
    with listener:
        # Accepted sockets inherit both; set later they would not bound what TCP has agreed on.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        listener.listen()
        client = socket.socket(listener.family)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)  # as the accept loop hands them on
    return client, server


@asynccontextmanager
async def open_link(kind: str, folder: Path, config: ServerConfig = CONFIG) -> AsyncGenerator[Link]:
    """Lend a link; afterwards both ends are closed, and the transport's own tasks must have ended."""
    async with anyio.create_task_group() as tasks:
        peer: PipePeer | SocketPeer
        if kind == "stream":
            peer = PipePeer(KERNEL_BUFFER)
            transport: Transport = wrap_stream(peer.server_end, config, tasks)
        else:
            client, server = socket_pair(kind, folder)
            peer = SocketPeer(client)
            if kind == "tls":
                tasks.start_soon(peer.shake_hands)
            context = server_context() if kind == "tls" else None
            transport = await open_transport(server, config, ssl_context=context, task_group=tasks)
            await settled(lambda: kind != "tls" or isinstance(peer.stream, TLSStream))
        try:
            yield Link(transport, peer, tasks)
        finally:
            transport.abort()
            peer.vanish()


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds.  Fails after ten seconds."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110  (a condition of the kernel's, which sets no event)
            await anyio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let the loop turn a few times, with time for the kernel to deliver."""
    for _ in range(count):
        await anyio.sleep(0.0005)
