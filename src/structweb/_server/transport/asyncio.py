"""Transports over a socket on asyncio.

A selector loop only tells when a socket is ready (`SelectorTransport`): that is cheaper than its own transports, and
an anyio stream costs twice as much a request.  Loops that do the reading and writing themselves (uvloop in C,
proactors because they must) get a protocol.
"""

import asyncio
import socket
import ssl
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from structweb._server.config import ServerConfig
from structweb._server.transport.base import Inbound
from structweb._server.transport.pull import READ_SIZE
from structweb._server.transport.push import PushTransport, TlsLayer, wake
from structweb._server.transport.selector import SelectorTlsTransport, SelectorTransport
from structweb._server.transport.sockets import NO_LINGER

T = TypeVar("T", bound=asyncio.BufferedProtocol)

#: What all sockets of a loop are read into, one after the other.  The plain protocol has the loop allocate
#: 256 KiB for each read, which malloc may take from the system and give back every time.
READ_BUFFERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview]] = WeakKeyDictionary()


def _read_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = READ_BUFFERS.get(loop)
    if buffer is None:
        buffer = READ_BUFFERS[loop] = memoryview(bytearray(READ_SIZE))
    return buffer


class AsyncioTransport(PushTransport, asyncio.BufferedProtocol):
    """Bytes of a stream socket, TCP or Unix; asyncio's protocol of that socket at the same time."""

    __slots__ = ("_buffer", "_closer", "_lost", "_transport")

    _transport: asyncio.Transport

    def __init__(self, config: ServerConfig, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, loop)
        self._buffer = _read_buffer(loop)
        self._closer: asyncio.Future[None] | None = None
        #: The loop has let go of the socket.
        self._lost = False

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the loop's transport."""
        self._transport = cast("asyncio.Transport", transport)  # a stream socket has no other kind
        self._transport.set_write_buffer_limits(high=self._write_limit)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._arrived(bytes(self._buffer[:nbytes]))

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

    async def drain(self) -> None:
        """Wait until less than the limit is unsent.  Raises ConnectionError when the peer is gone."""
        await self._until_not_congested()
        if self._inbound is Inbound.CLOSED:
            raise ConnectionAbortedError("cannot send: this side has closed the connection")
        if self._transport.is_closing():
            raise ConnectionResetError("cannot send: the peer is gone") from self._failure

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
        if truncated or self._transport.get_write_buffer_size():
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
