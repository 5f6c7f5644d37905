"""A transport over a socket whose loop tells when it is ready, and reads and writes nothing itself."""

import os
import socket
from collections.abc import Sequence
from typing import Any, Final

from structweb._server.config import ServerConfig
from structweb._server.transport.base import Inbound, Transport
from structweb._server.transport.disk import HAS_SENDFILE, cannot_sendfile
from structweb._server.transport.pull import READ_MORE, READ_SIZE, READS_IN_A_ROW
from structweb._server.transport.push import Loop, PushTransport, TlsLayer, Waiter, step, wake
from structweb._server.transport.sockets import HAS_SENDMSG, close_socket

# The loops' own transports let the writer go on when a quarter of the limit is left.
_LOW = 4

# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a write.
_BROKEN: Final = Inbound.BROKEN
_CLOSED: Final = Inbound.CLOSED
_ENDED: Final = Inbound.ENDED
_OPEN: Final = Inbound.OPEN


class SelectorTransport(PushTransport):
    """Bytes of a non-blocking stream socket, TCP or Unix.

    The first read looks for bytes without asking the loop: a new connection mostly has its first request here, and
    one that closes behind its answer never needs the loop at all.
    """

    __slots__ = ("_appetite", "_closers", "_ending", "_fd", "_fresh", "_helpings", "_peername", "_sock", "_unsent")

    def __init__(self, sock: socket.socket, peername: object, config: ServerConfig, loop: Loop) -> None:
        """Take `sock`.  Any: each address family has its own form."""
        super().__init__(config, loop)
        self._sock = sock
        self._fd = sock.fileno()
        self._peername = peername
        self._unsent: bytearray | None = None
        #: A FIN is to follow what is unsent.
        self._ending = False
        self._fresh = True
        self._paused = True
        #: Bytes to ask for, and how often that may be done without asking the loop.
        self._appetite = READ_SIZE
        self._helpings = 0
        #: Those who wait until nothing is unsent.
        self._closers: list[Waiter] = []

    # -- reading ---------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        fresh, self._fresh = self._fresh, False
        if fresh:
            self._readable()
        return fresh

    def _read_on(self) -> None:
        self._paused = False
        self._loop.add_reader(self._fd, self._readable)

    def _stop_reading(self) -> None:
        self._loop.remove_reader(self._fd)

    def receive_nowait(self) -> bytes | None:
        """Return what is here, as the base class has it: the socket is asked if it had more than was asked for."""
        if self._ahead or not self._helpings or self._inbound is not _OPEN:
            return None
        self._helpings -= 1
        try:
            data = self._sock.recv(self._appetite)
        except (BlockingIOError, InterruptedError):
            data = b""
        except OSError as exc:
            self._no_more(_BROKEN, exc)
            return None
        if len(data) < self._appetite:
            self._helpings = 0  # there is no more, or it is the end: the loop tells which
        return data or None

    def _readable(self) -> None:
        # Only a task that waits gets more than usual: what is read ahead has a limit.
        wanted = READ_SIZE if self._receiver is None else self._appetite
        try:
            data = self._sock.recv(wanted)
        except (BlockingIOError, InterruptedError):
            return  # readiness was a false alarm
        except OSError as exc:
            self._no_more(_BROKEN, exc)
            return
        if data:
            if len(data) == wanted:
                self._appetite, self._helpings = READ_MORE, READS_IN_A_ROW
            else:
                self._appetite, self._helpings = READ_SIZE, 0
            receiver = self._receiver
            if receiver is None or receiver.done() or self._codec is not None:
                self._arrived(data)
            else:  # it waits, so nothing is held
                self._ahead = data
                step(receiver)
        else:
            self._no_more(_ENDED, None)

    def _no_more(self, how: Inbound, failure: OSError | None) -> None:
        if not self._paused:
            self._paused = True
            self._stop_reading()
        self._end_inbound(how, failure)

    # -- writing ---------------------------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        """Send `data` now as far as the kernel takes it; the loop sends the rest."""
        if self._mute:
            return
        unsent = self._unsent
        if unsent is None:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._break(exc)
                return
            if sent == len(data):
                return
            self._unsent = unsent = bytearray(memoryview(data)[sent:])
            self._loop.add_writer(self._fd, self._writable)
        else:
            unsent += data
        if len(unsent) > self._write_limit:
            self.congested = True

    def writelines(self, parts: Sequence[bytes]) -> None:
        """Write `parts`, as the base class has it."""
        if self._unsent is not None or self._mute or not HAS_SENDMSG:
            self._put(b"".join(parts))
            return
        try:
            sent = self._sock.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            self._break(exc)
            return
        if sent < sum(map(len, parts)):
            self._unsent = bytearray()
            self._loop.add_writer(self._fd, self._writable)
            self._put(b"".join(parts)[sent:])

    def _writable(self) -> None:
        unsent = self._unsent
        if unsent is None:
            return  # sent in the meantime
        try:
            del unsent[: self._sock.send(unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._break(exc)
            return
        if self.congested and len(unsent) <= self._write_limit // _LOW:
            self.congested = False
            wake(self._drainer)
        if not unsent:
            self._forget_unsent()
            if self._ending:
                self._send_fin()
            self._let_close()

    def _forget_unsent(self) -> None:
        if self._unsent is not None:
            self._unsent = None
            self._loop.remove_writer(self._fd)

    def _break(self, exc: OSError) -> None:
        """Give up a connection that takes no bytes any more."""
        self._mute = True
        self._forget_unsent()
        self.congested = False
        # What the peer sent before it broke is still to be read; then reading tells.
        self._failure = self._failure or exc
        if self._inbound is _ENDED or self._paused:
            self._no_more(_BROKEN, exc)
        wake(self._drainer)
        self._let_close()

    def _let_close(self) -> None:
        for waiter in self._closers:
            wake(waiter)

    @property
    def lost(self) -> bool:
        """Whether the connection broke, or was closed."""
        return self._failure is not None or self._inbound is _CLOSED

    async def drain(self) -> None:
        """Wait until little is unsent.  Raises ConnectionError when the peer is gone."""
        await self._until_not_congested()
        if self._inbound is _CLOSED:
            raise ConnectionAbortedError("cannot send: this side has closed the connection")
        if self._failure is not None:
            raise ConnectionResetError("cannot send: the peer is gone") from self._failure

    async def sendfile(self, fd: int, offset: int, count: int, *, piece: int) -> int:
        """Send the next bytes of a file, as the base class has it; the kernel takes them from the file itself."""
        if not HAS_SENDFILE:
            return await super().sendfile(fd, offset, count, piece=piece)
        while True:
            await self._until_all_is_sent()
            await self.drain()
            try:
                sent = os.sendfile(self._fd, fd, offset, count)
            except (BlockingIOError, InterruptedError):
                self._await_room()
            except ConnectionError as exc:
                self._break(exc)
            except OSError as exc:
                if not cannot_sendfile(exc):
                    raise
                return await super().sendfile(fd, offset, count, piece=piece)
            else:
                if 0 < sent < count:
                    self._await_room()  # so the next call need not ask in vain
                return sent

    def _await_room(self) -> None:
        """Do as if something was unsent: the loop then tells when the socket takes more, and an abort resets it."""
        self._unsent = bytearray()
        self._loop.add_writer(self._fd, self._writable)

    async def _until_all_is_sent(self) -> None:
        while self._unsent is not None:
            closer = self._loop.create_future()
            self._closers.append(closer)
            try:
                await closer
            finally:
                self._closers.remove(closer)

    def unsent(self) -> int:
        """Return how many written bytes the kernel has not taken."""
        return 0 if self._unsent is None else len(self._unsent)

    async def _fin(self) -> None:
        """Let a FIN follow all that was written."""
        await self.drain()
        if not self._mute:
            self._mute = True
            if self._unsent is None:
                self._send_fin()
            else:
                self._ending = True

    def _send_fin(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer is gone: nobody to tell

    # -- endings ---------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Wait until the kernel has everything, then close."""
        self._mute = True
        try:
            if self._unsent is not None:
                self._end_reading()
                await self._until_all_is_sent()
        finally:
            self.abort()

    def abort(self, *, truncated: bool = False) -> None:
        """Close at once; with a RST if something is unsent, so that the peer notices."""
        if self._sock.fileno() < 0:
            return
        self._mute = True
        self._end_reading()
        truncated = truncated or self._unsent is not None
        self._forget_unsent()
        self.congested = False
        wake(self._drainer)
        self._let_close()
        close_socket(self._sock, truncated=truncated)

    def _end_reading(self) -> None:
        self._no_more(_CLOSED, None)

    def _info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what is known about the socket, else `default`."""
        match name:
            case "socket":
                return self._sock
            case "peername":
                return default if self._peername is None else self._peername
            case "sockname" if self._sock.fileno() >= 0:
                return self._sock.getsockname()
            case _:
                return self.known.get(name, default)

    # Without TLS there is nothing between the interface and the socket.
    write = _put
    send_eof = _fin
    aclose = _finish
    get_extra_info = _info


class SelectorTlsTransport(TlsLayer, SelectorTransport):
    """The same, through TLS once the handshake is done."""

    __slots__ = ()

    # What comes from the socket is to be decrypted.
    receive_nowait = Transport.receive_nowait
    expect = Transport.expect
    # And what goes there encrypted.
    writelines = Transport.writelines
