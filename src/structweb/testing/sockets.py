"""A plain socket as a byte stream that reads nothing that nobody asks for: what a client with faults stands on."""

import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute


class SocketStream(ByteStream):
    """A connected socket, on any backend.

    anyio's own stream reads ahead of its user on asyncio; this one leaves everything with the kernel until `receive`
    is called, so that a client that does not read holds its server back, as over a network.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        #: Whether a part of what was sent last has left, and not all of it.
        self.torn: bool = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes.  Raises as every anyio stream does: at the end, when broken, when closed."""
        while True:
            self._check_open()
            await anyio.wait_readable(self._socket)
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise anyio.BrokenResourceError(str(exc)) from exc
            if not data:
                raise anyio.EndOfStream
            return data

    @property
    def readable(self) -> bool:
        """Whether `receive` would return or raise without waiting."""
        if self._socket.fileno() < 0:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:  # a broken connection raises in `receive`
            return True
        return True

    async def send(self, item: bytes) -> None:
        """Send everything; wait while the peer is slow."""
        self._check_open()
        rest = memoryview(item)
        while rest:
            await anyio.wait_writable(self._socket)
            try:
                rest = rest[self._socket.send(rest) :]
                self.torn = bool(rest)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise anyio.BrokenResourceError(str(exc)) from exc

    async def send_eof(self) -> None:
        """Send a FIN; the peer can still send."""
        await anyio.lowlevel.checkpoint()
        with suppress(OSError):  # the peer is gone
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

    def reset(self) -> None:
        """Break the connection: the peer gets a RST, and loses what it has not read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    async def aclose(self) -> None:
        """Close, as `close`."""
        self.close()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:  # Any: anyio's signature
        """The socket, as `SocketAttribute.raw_socket`."""
        return {SocketAttribute.raw_socket: lambda: self._socket}

    def _check_open(self) -> None:
        if self._socket.fileno() < 0:
            raise anyio.ClosedResourceError


async def connect_socket(host: str, port: int, *, buffer: int | None = None) -> SocketStream:
    """Connect over TCP; `buffer` bounds what the kernel keeps for each direction of the client's side.

    Raises OSError when nobody answers.
    """
    failure: OSError | None = None
    for family, kind, protocol, _, address in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            with suppress(BlockingIOError):
                sock.connect(address)
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return SocketStream(sock)
            sock.close()
            failure = OSError(code, f"cannot connect to {host}:{port}")
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(f"{host} has no address")
