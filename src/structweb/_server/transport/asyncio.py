"""A transport over a socket on asyncio: its own protocol, since an anyio stream costs twice as much a request.

The loop's callbacks fill a buffer and set one future, which exists only while a task waits.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from structweb._server.config import ServerConfig
from structweb._server.transport.base import Inbound, Transport, tls_info
from structweb._server.transport.pull import READ_SIZE, RECEIVE_MOST
from structweb._server.transport.sockets import NO_LINGER
from structweb._server.transport.tls import TlsCodec, handshake

#: What all sockets of a loop are read into, one after the other.  The plain protocol has the loop allocate
#: 256 KiB for each read, which malloc may take from the system and give back every time.
READ_BUFFERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview]] = WeakKeyDictionary()


def _read_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = READ_BUFFERS.get(loop)
    if buffer is None:
        buffer = READ_BUFFERS[loop] = memoryview(bytearray(READ_SIZE))
    return buffer


class AsyncioTransport(Transport, asyncio.BufferedProtocol):
    """Bytes of a stream socket, TCP or Unix; asyncio's protocol of that socket at the same time."""

    __slots__ = (
        "_ahead",
        "_budget",
        "_buffer",
        "_closer",
        "_drainer",
        "_failure",
        "_gone",
        "_inbound",
        "_loop",
        "_lost",
        "_mute",
        "_paused",
        "_receiver",
        "_transport",
        "_write_limit",
        "congested",
    )

    _transport: asyncio.Transport

    def __init__(self, config: ServerConfig, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = _read_buffer(loop)
        self._budget = max(1, config.limits.read_ahead)
        self._write_limit = config.limits.write_buffer
        self._ahead = b""
        self._inbound = Inbound.OPEN
        self._failure: Exception | None = None
        self._gone: Callable[[], None] | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._closer: asyncio.Future[None] | None = None
        #: Reading is paused, because the budget is used up.
        self._paused = False
        #: Our side has ended: what is written now has nowhere to go.
        self._mute = False
        #: The loop has let go of the socket.
        self._lost = False
        self.congested = False

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
        self._take(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """Note that the peer has ended its side, and leave ours open."""
        self._end_inbound(Inbound.ENDED)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._lost = True
        self._end_inbound(Inbound.ENDED if exc is None else Inbound.BROKEN, exc)
        _wake(self._drainer)
        _wake(self._closer)

    def pause_writing(self) -> None:
        """Note that the peer is slow."""
        self.congested = True

    def resume_writing(self) -> None:
        """Note that the peer has caught up."""
        self.congested = False
        _wake(self._drainer)

    def _take(self, data: bytes) -> None:
        self._ahead = self._ahead + data if self._ahead else data
        if len(self._ahead) >= self._budget and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._receiver)

    def _end_inbound(self, how: Inbound, failure: Exception | None = None) -> None:
        if self._inbound is Inbound.OPEN or how is Inbound.CLOSED:
            self._inbound = how
            self._failure = failure
        _wake(self._receiver)
        gone, self._gone = self._gone, None
        if gone is not None and how is not Inbound.CLOSED:
            gone()

    # What a connection calls.

    async def receive(self) -> bytes:
        """Return the next bytes, as the base class has it."""
        while not self._ahead:
            if self._inbound is not Inbound.OPEN:
                return self._inbound.end(self._failure)
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        data, self._ahead = self._ahead, b""
        if len(data) > RECEIVE_MOST:
            data, self._ahead = data[:RECEIVE_MOST], data[RECEIVE_MOST:]
        if self._paused and len(self._ahead) < self._budget:
            self._paused = False
            self._transport.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Hand `data` to the loop, which tries the kernel at once."""
        # A loop warns of writes to a transport that it is closing.
        if not self._mute and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until less than the limit is unsent.  Raises ConnectionError when the peer is gone."""
        while self.congested and not self._transport.is_closing():
            self._drainer = self._loop.create_future()
            try:
                await self._drainer
            finally:
                self._drainer = None
        if self._inbound is Inbound.CLOSED:
            raise ConnectionAbortedError("cannot send: this side has closed the connection")
        if self._transport.is_closing():
            raise ConnectionResetError("cannot send: the peer is gone") from self._failure

    def unsent(self) -> int:
        """Return how many written bytes the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the peer is gone; the loop's callbacks tell without any further work."""
        if self._inbound is Inbound.OPEN:
            self._gone = gone
        else:
            gone()

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side in good order."""
        return self._inbound is Inbound.ENDED

    def unwatch(self) -> None:
        """Forget the callback."""
        self._gone = None

    async def send_eof(self) -> None:
        """Let the loop send a FIN behind all that was written."""
        await self.drain()
        if not self._mute:
            self._mute = True
            self._transport.write_eof()

    async def aclose(self) -> None:
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

    def abort(self) -> None:
        """Close at once; with a RST if something is unsent, so that the peer notices."""
        if self._lost:
            return
        self._mute = True
        self._end_inbound(Inbound.CLOSED)
        if self._transport.get_write_buffer_size():
            try:
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            except OSError:
                pass  # not on this kind of socket
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what the loop knows, else `default`."""
        try:
            return self._transport.get_extra_info(name, default)
        except AttributeError:
            return default  # uvloop asks its socket, which is gone once the transport has closed


class AsyncioTlsTransport(AsyncioTransport):
    """The same, through TLS once the handshake is done."""

    __slots__ = ("_codec",)

    def __init__(self, config: ServerConfig, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, loop)
        self._codec: TlsCodec | None = None

    async def secure(self, context: ssl.SSLContext, timeout: float) -> None:
        """Shake hands.  Raises as `tls.handshake` does."""
        self._codec = await handshake(self, context, timeout)
        data, self._ahead = self._ahead, b""
        self._take_encrypted(self._codec, data)

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read, decrypted."""
        data = bytes(self._buffer[:nbytes])
        if self._codec is None:
            self._take(data)
        else:
            self._take_encrypted(self._codec, data)

    def _take_encrypted(self, codec: TlsCodec, data: bytes) -> None:
        try:
            plain = codec.decrypt(data)
        except ssl.SSLError as exc:
            self._end_inbound(Inbound.BROKEN, exc)
            plain = b""
        if reply := codec.outgoing():
            super().write(reply)
        if plain:
            self._take(plain)
        if codec.ended:
            self._end_inbound(Inbound.ENDED)

    def write(self, data: bytes) -> None:
        """Encrypt `data` and hand it to the loop."""
        codec = self._codec
        if codec is None:
            super().write(data)
            return
        try:
            data = codec.encrypt(data)
        except ssl.SSLError:
            return  # TLS broke: the reading side has told
        super().write(data)

    async def send_eof(self) -> None:
        """Say farewell, then let the loop send a FIN."""
        self._say_farewell()
        await super().send_eof()

    async def aclose(self) -> None:
        """Say farewell, wait until the kernel has everything, then close."""
        self._say_farewell()
        await super().aclose()

    def _say_farewell(self) -> None:
        if self._codec is not None and not self._mute:
            super().write(self._codec.farewell())

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what is known about the socket and its TLS, else `default`."""
        info = super().get_extra_info(name)
        if info is None and self._codec is not None:
            return tls_info(self._codec.tls, name, default)
        return default if info is None else info


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def open_socket(sock: socket.socket, config: ServerConfig, context: ssl.SSLContext | None) -> AsyncioTransport:
    """Return a transport that owns `sock`, behind a TLS handshake if there is a context."""
    loop = asyncio.get_running_loop()
    if context is None:
        plain = AsyncioTransport(config, loop)
        await _connect(plain, sock)
        return plain
    secure = AsyncioTlsTransport(config, loop)
    await _connect(secure, sock)
    try:
        await secure.secure(context, config.timeouts.tls_handshake)
    except BaseException:
        secure.abort()
        raise
    return secure


async def _connect(protocol: AsyncioTransport, sock: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    except BaseException:
        sock.close()
        raise
