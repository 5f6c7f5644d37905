"""A transport over a socket on trio: non-blocking calls, and trio only to wait for readiness.

The socket is read when trio says that it is readable, never before: one pass through the scheduler for each
request, and every connection gets its turn.  Writing tries the kernel at once, and waits only for what is left.
"""

import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import trio

from structweb._server.config import ServerConfig
from structweb._server.transport.base import Inbound, TaskStarter, Transport, tls_info
from structweb._server.transport.disk import HAS_SENDFILE, cannot_sendfile
from structweb._server.transport.pull import READ_MORE, READ_SIZE, READS_IN_A_ROW, PullTransport, Reader
from structweb._server.transport.sockets import HAS_SENDMSG, close_socket
from structweb._server.transport.tls import TlsCodec, handshake

in_trio_run = trio.lowlevel.in_trio_run
wait_readable = trio.lowlevel.wait_readable

# Smaller pieces that wait are put together: a frame of 12 bytes on its own takes thirty times as many, and to know how
# much waits takes as long as there are pieces.
_PIECE: Final = 65536

# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a write.
_BROKEN: Final = Inbound.BROKEN
_CLOSED: Final = Inbound.CLOSED
_ENDED: Final = Inbound.ENDED
_OPEN: Final = Inbound.OPEN
_NOBODY: Final = Reader.NOBODY
_RECEIVER: Final = Reader.RECEIVER


class TrioTransport(PullTransport):
    """Bytes of a non-blocking stream socket, TCP or Unix."""

    __slots__ = ("_appetite", "_helpings", "_peername", "_sock", "_unsent", "_write_failure", "congested")

    _event = trio.Event

    def __init__(self, sock: socket.socket, peername: object, config: ServerConfig, tasks: TaskStarter) -> None:
        """Take `sock`.  Any: each address family has its own form."""
        super().__init__(config, tasks)
        self._sock = sock
        #: Bytes to ask for, and how often that may be done without asking trio.
        self._appetite = READ_SIZE
        self._helpings = 0
        self._unsent: list[memoryview | bytearray] | None = None
        self._write_failure: OSError | None = None
        self.congested = False
        self._peername = peername

    async def pull(self) -> bytes:
        """Read once."""
        sock = self._sock
        while True:
            try:
                await wait_readable(sock)
                # Only a task that waits gets more than usual: what is read ahead has a limit.
                wanted = self._appetite if self._reader is _RECEIVER else READ_SIZE
                data = sock.recv(wanted)
            except BlockingIOError:
                self._heed_interrupt()
                continue  # readiness was a false alarm
            except ConnectionError:
                raise
            except trio.ClosedResourceError as exc:
                if self._interrupted and self._inbound is _OPEN:
                    raise InterruptedError("receive() was interrupted") from None
                raise ConnectionAbortedError("this side has closed the connection") from exc
            except OSError as exc:  # such as ETIMEDOUT, EHOSTUNREACH
                raise ConnectionResetError(f"the connection broke: {exc}") from exc
            if len(data) == wanted:
                self._appetite, self._helpings = READ_MORE, READS_IN_A_ROW
            else:
                self._appetite, self._helpings = READ_SIZE, 0
            return data

    def receive_nowait(self) -> bytes | None:
        """Return what is here, as the base class has it: the socket is asked if it had more than was asked for."""
        if self._ahead or not self._helpings or self._inbound is not _OPEN or self._reader is not _NOBODY:
            return None
        self._helpings -= 1
        try:
            data = self._sock.recv(self._appetite)
        except BlockingIOError:
            data = b""
        except OSError as exc:
            self._end_inbound(_BROKEN, exc)
            return None
        if len(data) < self._appetite:
            self._helpings = 0  # there is no more, or it is the end: waiting tells which
        return data or None

    def _heed_interrupt(self) -> None:
        """Look, before waiting once more, for an interrupt that came when the task was awake: nothing else tells."""
        if self._interrupted and self._reader is _RECEIVER and self._inbound is _OPEN:
            raise InterruptedError("receive() was interrupted")

    def _interrupt_pull(self) -> None:
        trio.lowlevel.notify_closing(self._sock)  # the one way to wake who waits for a socket; it may be read again

    def write(self, data: bytes) -> None:
        """Send `data` now as far as the kernel takes it, and keep the rest for `drain`."""
        if self._unsent is not None:
            self._keep(self._unsent, data)
            self.congested = True  # also behind a part of a file, which leaves nothing but the wait
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            # After our own close too: the socket is gone then, and what is written with it.
            self._write_failure = exc
            return
        if sent < len(data):
            self._unsent = [memoryview(data)[sent:]]
            self.congested = True

    def _keep(self, unsent: list[memoryview | bytearray], data: bytes) -> None:
        last = unsent[-1] if unsent else None
        if len(data) >= _PIECE:
            unsent.append(memoryview(data))
        elif isinstance(last, bytearray) and len(last) < _PIECE:
            last += data
        else:
            unsent.append(bytearray(data))

    def writelines(self, parts: Sequence[bytes]) -> None:
        """Write `parts`, as the base class has it."""
        if self._unsent is not None or not HAS_SENDMSG:
            self.write(b"".join(parts))
            return
        try:
            sent = self._sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._write_failure = exc
            return
        if sent < sum(map(len, parts)):
            self._unsent = [memoryview(b"".join(parts))[sent:]]
            self.congested = True

    @property
    def lost(self) -> bool:
        """Whether the connection broke, or was closed."""
        return self._write_failure is not None or self._inbound is _BROKEN or self._inbound is _CLOSED

    async def drain(self) -> None:
        """Wait until the kernel has taken all that was written.  Raises ConnectionError when the peer is gone."""
        while self._unsent is not None:
            try:
                await trio.lowlevel.wait_writable(self._sock)
            except trio.ClosedResourceError:
                if self._inbound is _CLOSED:
                    break
                continue  # meant for the reader
            self._send_more(self._unsent)
        if self._inbound is _CLOSED:
            raise ConnectionAbortedError("cannot send: this side has closed the connection")
        if self._write_failure is not None or self._inbound is _BROKEN:
            raise ConnectionResetError("cannot send: the peer is gone") from self._write_failure

    def _send_more(self, unsent: list[memoryview | bytearray]) -> None:
        try:
            while unsent:
                piece = unsent[0]
                sent = self._sock.send(piece)
                if sent == len(piece):
                    del unsent[0]
                elif isinstance(piece, bytearray):
                    del piece[:sent]
                else:
                    unsent[0] = piece[sent:]
        except BlockingIOError:
            return
        except OSError as exc:
            self._write_failure = exc
        self._unsent = None
        self.congested = False

    async def sendfile(self, fd: int, offset: int, count: int, *, piece: int) -> int:
        """Send the next bytes of a file, as the base class has it; the kernel takes them from the file itself."""
        if not HAS_SENDFILE:
            return await super().sendfile(fd, offset, count, piece=piece)
        while True:
            await self.drain()
            try:
                sent = os.sendfile(self._sock.fileno(), fd, offset, count)
            except BlockingIOError:
                self._unsent = []  # as if something was unsent: `drain` waits until the socket takes more
            except ConnectionError as exc:
                self._write_failure = exc
            except OSError as exc:
                if not cannot_sendfile(exc):
                    raise
                return await super().sendfile(fd, offset, count, piece=piece)
            else:
                if 0 < sent < count:
                    self._unsent = []  # the same, so that the next call need not ask in vain
                return sent

    def unsent(self) -> int:
        """Return how many written bytes the kernel has not taken."""
        return 0 if self._unsent is None else sum(map(len, self._unsent))

    async def send_eof(self) -> None:
        """Wait until the kernel has everything, then send a FIN."""
        await self.drain()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer is gone: nobody to tell

    async def aclose(self) -> None:
        """Wait until the kernel has everything, then close."""
        try:
            if self._unsent is not None:
                await self.drain()
        except ConnectionError:
            pass
        finally:
            self.abort()

    def abort(self, *, truncated: bool = False) -> None:
        """Close the socket at once."""
        if self._inbound is _CLOSED:
            return
        self._stop()
        trio.lowlevel.notify_closing(self._sock)
        close_socket(self._sock, truncated=truncated or self._unsent is not None)
        self._unsent = None
        self.congested = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what is known about the socket, else `default`."""
        match name:
            case "socket":
                return self._sock
            case "peername":
                return default if self._peername is None else self._peername
            case "sockname" if self._inbound is not _CLOSED:
                return self._sock.getsockname()
            case _:
                return self.known.get(name, default)


class TrioTlsTransport(TrioTransport):
    """The same, through TLS once the handshake is done."""

    __slots__ = ("_codec",)

    def __init__(self, sock: socket.socket, peername: object, config: ServerConfig, tasks: TaskStarter) -> None:
        """Take `sock`.  Any: each address family has its own form."""
        super().__init__(sock, peername, config, tasks)
        self._codec: TlsCodec | None = None

    async def secure(self, context: ssl.SSLContext, timeout: float) -> None:
        """Shake hands.  Raises as `tls.handshake` does."""
        codec = await handshake(self, context, timeout)
        self._codec = codec
        self._ahead = codec.decrypt(b"")

    @property
    def ended(self) -> bool:
        """Whether the peer has said goodbye: a FIN without close_notify is no good order."""
        return self._inbound is _ENDED and (self._codec is None or self._codec.ended)

    async def pull(self) -> bytes:
        """Read until a piece of plain text is complete."""
        codec = self._codec
        if codec is None:
            return await super().pull()
        while not codec.ended:
            data = await super().pull()
            if not data:
                break  # without a farewell: the wire knows whether something is missing
            try:
                plain = codec.decrypt(data)
            except ssl.SSLError as exc:
                raise ConnectionResetError(f"the peer broke TLS: {exc}") from exc
            finally:
                if reply := codec.outgoing():
                    super().write(reply)
            if plain:
                return plain
            self._heed_interrupt()
        return b""

    def write(self, data: bytes) -> None:
        """Encrypt and send `data`."""
        codec = self._codec
        if codec is None:
            super().write(data)
            return
        try:
            data = codec.encrypt(data)
        except ssl.SSLError as exc:
            self._write_failure = exc
        else:
            super().write(data)

    # The bytes of a file have to be read, and encrypted: the loop of the base class.
    sendfile = Transport.sendfile
    # And what comes from the socket is to be decrypted.
    receive_nowait = Transport.receive_nowait
    writelines = Transport.writelines

    async def send_eof(self) -> None:
        """Say farewell and send a FIN."""
        if self._codec is not None:
            super().write(self._codec.farewell())
        await super().send_eof()

    async def aclose(self) -> None:
        """Say farewell, wait until the kernel has everything, then close."""
        if self._codec is not None and self._inbound is not _CLOSED:
            super().write(self._codec.farewell())
        await super().aclose()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what is known about the socket and its TLS, else `default`."""
        info = super().get_extra_info(name)
        if info is None and self._codec is not None:
            return tls_info(self._codec.tls, name, default)
        return default if info is None else info


async def open_socket(
    sock: socket.socket,
    peername: object,  # Any: each address family has its own form
    config: ServerConfig,
    context: ssl.SSLContext | None,
    tasks: TaskStarter,
) -> TrioTransport:
    """Return a transport that owns `sock`, behind a TLS handshake if there is a context."""
    try:
        if context is None:
            return TrioTransport(sock, peername, config, tasks)
        transport = TrioTlsTransport(sock, peername, config, tasks)
        await transport.secure(context, config.timeouts.tls_handshake)
    except BaseException:
        trio.lowlevel.notify_closing(sock)
        sock.close()
        raise
    return transport
