"""Transports over a socket on asyncio.

A selector loop only tells when a socket is ready (`SelectorTransport`): that is cheaper than its own transports, and
an anyio stream costs twice as much a request.  Loops that do the reading and writing themselves (uvloop in C,
proactors because they must) get a protocol.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from structweb._server.config import ServerConfig
from structweb._server.transport.base import Inbound, Transport
from structweb._server.transport.disk import HAS_SENDFILE, cannot_sendfile
from structweb._server.transport.pull import READ_MORE, READ_SIZE, READS_IN_A_ROW
from structweb._server.transport.push import PushTransport, TlsLayer, wake
from structweb._server.transport.selector import SelectorTlsTransport, SelectorTransport
from structweb._server.transport.sockets import NO_LINGER

#: Whether a socket may be read as a file is, beside the loop.
_IS_A_FILE: Final = os.name == "posix"

T = TypeVar("T", bound=asyncio.BufferedProtocol)

#: What all sockets of a loop are read into, one after the other.  The plain protocol has the loop allocate
#: 256 KiB for each read, which malloc may take from the system and give back every time.
READ_BUFFERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview]] = WeakKeyDictionary()


def _read_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = READ_BUFFERS.get(loop)
    if buffer is None:
        buffer = READ_BUFFERS[loop] = memoryview(bytearray(READ_MORE))
    return buffer


class AsyncioTransport(PushTransport, asyncio.BufferedProtocol):
    """Bytes of a stream socket, TCP or Unix; asyncio's protocol of that socket at the same time."""

    __slots__ = ("_buffer", "_closer", "_helpings", "_in_a_file", "_lost", "_transport")

    _transport: asyncio.Transport

    def __init__(self, config: ServerConfig, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, loop)
        self._buffer = _read_buffer(loop)
        #: How often the socket may be read without the loop.
        self._helpings = 0
        self._closer: asyncio.Future[None] | None = None
        #: The loop has let go of the socket.
        self._lost = False
        #: More of a file is to follow what was sent: whoever ends the connection now cuts a response short.
        self._in_a_file = False

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the loop's transport."""
        self._transport = cast("asyncio.Transport", transport)  # a stream socket has no other kind
        self._transport.set_write_buffer_limits(high=self._write_limit)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read into."""
        # Only a task that waits gets more than usual: what is read ahead has a limit.
        return self._buffer if self._helpings and self._receiver is not None else self._buffer[:READ_SIZE]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._helpings = READS_IN_A_ROW if nbytes >= READ_SIZE else 0
        self._arrived(bytes(self._buffer[:nbytes]))
        if self._helpings and self._receiver is not None and not self._paused:
            # The rest is better read when it is wanted: the loop would go on, and copy it twice.
            self._paused = True
            self._stop_reading()

    def receive_nowait(self) -> bytes | None:
        """Return what is here, as the base class has it: the socket is asked if it had more than was asked for.

        The loop owns it, but holds nothing that was read.
        """
        if self._ahead or not self._helpings or self._inbound is not Inbound.OPEN or self._transport.is_closing():
            return None
        self._helpings -= 1
        try:
            data = os.read(self._transport.get_extra_info("socket").fileno(), READ_MORE) if _IS_A_FILE else b""
        except (BlockingIOError, InterruptedError):
            data = b""
        except OSError as exc:
            self._end_inbound(Inbound.BROKEN, exc)
            return None
        if len(data) < READ_MORE:
            self._helpings = 0  # there is no more, or it is the end: the loop tells which
        return data or None

    def eof_received(self) -> bool:
        """Note that the peer has ended its side, and leave ours open."""
        self._end_inbound(Inbound.ENDED)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._lost = True
        self.congested = False
        self._end_inbound(Inbound.ENDED if exc is None else Inbound.BROKEN, exc)
        wake(self._drainer)
        wake(self._closer)

    def pause_writing(self) -> None:
        """Note that the peer is slow."""
        self.congested = True

    def resume_writing(self) -> None:
        """Note that the peer has caught up."""
        self.congested = False
        wake(self._drainer)

    def _stop_reading(self) -> None:
        self._transport.pause_reading()

    def _read_on(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    # What a connection calls.

    def _put(self, data: bytes) -> None:
        """Hand `data` to the loop, which tries the kernel at once."""
        # A loop warns of writes to a transport that it is closing.
        if not self._mute and not self._transport.is_closing():
            self._transport.write(data)

    def writelines(self, parts: Sequence[bytes]) -> None:
        """Write `parts`, as the base class has it."""
        if not self._mute and not self._transport.is_closing():
            self._transport.writelines(parts)

    @property
    def lost(self) -> bool:
        """Whether the connection broke, or was closed."""
        return self._inbound is Inbound.CLOSED or self._transport.is_closing()

    async def drain(self) -> None:
        """Wait until less than the limit is unsent.  Raises ConnectionError when the peer is gone."""
        await self._until_not_congested()
        if self._inbound is Inbound.CLOSED:
            raise ConnectionAbortedError("cannot send: this side has closed the connection")
        if self._transport.is_closing():
            raise ConnectionResetError("cannot send: the peer is gone") from self._failure

    async def sendfile(self, fd: int, offset: int, count: int, *, piece: int) -> int:
        """Send the next bytes of a file, as the base class has it; the kernel takes them from the file itself.

        The loop's own sendfile reads and writes (uvloop), and says nothing about progress, which the send timeout needs.
        """
        if not HAS_SENDFILE:
            return await super().sendfile(fd, offset, count, piece=piece)
        while True:
            await self._until_all_is_sent()
            self._in_a_file = True
            try:
                sent = os.sendfile(self._transport.get_extra_info("socket").fileno(), fd, offset, count)
            except (BlockingIOError, InterruptedError):
                await self._await_room()
            except ConnectionError as exc:
                self._transport.abort()
                raise ConnectionResetError("cannot send: the peer is gone") from exc
            except OSError as exc:
                if not cannot_sendfile(exc):
                    raise
                self._in_a_file = False
                return await super().sendfile(fd, offset, count, piece=piece)
            else:
                self._in_a_file = 0 < sent < count
                return sent

    async def _until_all_is_sent(self) -> None:
        """Wait until the kernel has all that was written.  Raises ConnectionError when the peer is gone."""
        if self._transport.get_write_buffer_size():
            # The loop has one way to tell that its buffer is empty: a limit of nothing.
            self._transport.set_write_buffer_limits(high=0)
            try:
                await self.drain()
            finally:
                if not self._transport.is_closing():
                    self._transport.set_write_buffer_limits(high=self._write_limit)
        await self.drain()

    async def _await_room(self) -> None:
        """Wait until the socket takes more, or the connection ends."""
        # The loop watches no descriptor of its transports for others.  One more of the same socket is not one of them;
        # nor would it let the socket go, so it does not outlive the wait.
        room = os.dup(self._transport.get_extra_info("socket").fileno())
        try:
            self._drainer = drainer = self._loop.create_future()
            self._loop.add_writer(room, wake, drainer)
            try:
                await drainer
            finally:
                self._drainer = None
                self._loop.remove_writer(room)
        finally:
            os.close(room)

    def unsent(self) -> int:
        """Return how many written bytes the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    async def _fin(self) -> None:
        """Let the loop send a FIN behind all that was written."""
        await self.drain()
        if not self._mute:
            self._mute = True
            self._transport.write_eof()

    async def _finish(self) -> None:
        """Wait until the kernel has everything, then close."""
        if self._lost:
            return
        self._mute = True
        self._end_inbound(Inbound.CLOSED)
        nothing_left = not self._transport.get_write_buffer_size()
        self._transport.close()
        if nothing_left:
            return  # the loop closes the socket in its next round: there is nothing to wait for
        if self._closer is None:
            self._closer = self._loop.create_future()
        try:
            # Shielded: a caller that gives up must not take the future from another one.
            await asyncio.shield(self._closer)
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self, *, truncated: bool = False) -> None:
        """Close at once; with a RST if something is unsent, so that the peer notices."""
        if self._lost:
            return
        self._mute = True
        self._end_inbound(Inbound.CLOSED)
        if truncated or self._in_a_file or self._transport.get_write_buffer_size():
            try:
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            except OSError:
                pass  # not on this kind of socket
        self._transport.abort()

    def _info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what the loop knows, else `default`."""
        if name in self.known:
            return self.known[name]
        try:
            return self._transport.get_extra_info(name, default)
        except AttributeError:
            return default  # uvloop asks its socket, which is gone once the transport has closed

    # Without TLS there is nothing between the interface and the socket.
    write = _put
    send_eof = _fin
    aclose = _finish
    get_extra_info = _info


class AsyncioTlsTransport(TlsLayer, AsyncioTransport):
    """The same, through TLS once the handshake is done."""

    __slots__ = ()

    # What comes from the socket is to be decrypted.
    receive_nowait = Transport.receive_nowait
    expect = Transport.expect
    # And what goes there encrypted.
    writelines = Transport.writelines


async def open_socket(
    sock: socket.socket,
    peername: Any,  # Any: each address family has its own form
    config: ServerConfig,
    context: ssl.SSLContext | None,
) -> AsyncioTransport | SelectorTransport:
    """Return a transport that owns `sock`, behind a TLS handshake if there is a context."""
    loop = asyncio.get_running_loop()
    selects = isinstance(loop, asyncio.SelectorEventLoop)
    if context is None:
        if selects:
            return SelectorTransport(sock, peername, config, loop)
        return await _connect(AsyncioTransport(config, loop), sock)
    secure: SelectorTlsTransport | AsyncioTlsTransport
    if selects:
        secure = SelectorTlsTransport(sock, peername, config, loop)
    else:
        secure = await _connect(AsyncioTlsTransport(config, loop), sock)
    try:
        await secure.secure(context, config.timeouts.tls_handshake)
    except BaseException:
        secure.abort()
        raise
    return secure


async def _connect(protocol: T, sock: socket.socket) -> T:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    except BaseException:
        sock.close()
        raise
    return protocol
