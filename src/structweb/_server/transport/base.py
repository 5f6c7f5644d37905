"""The seam between a connection and the bytes of its peer."""

import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVarTuple, Unpack

from anyio import to_thread

from structweb._server.transport.disk import read_cached


class Inbound(Enum):
    """The life of the peer's side."""

    OPEN = "open"
    #: The peer has ended it.
    ENDED = "ended"
    #: The connection broke.
    BROKEN = "broken"
    #: This side has closed or aborted.
    CLOSED = "closed"

    def end(self, failure: Exception | None) -> bytes:
        """Return or raise what a read gives when nothing is left, `failure` being what broke the connection."""
        match self:
            case Inbound.BROKEN:
                raise ConnectionResetError(f"the connection broke while it was read: {failure}") from failure
            case Inbound.CLOSED:
                raise ConnectionAbortedError("cannot receive: this side has closed the connection")
            case _:
                return b""


#: What is known of a peer that came by itself, beyond what its socket tells.
NOTHING_KNOWN: Final[Mapping[str, Any]] = MappingProxyType({})  # Any: each name has its own type

Ts = TypeVarTuple("Ts")


class TaskStarter(Protocol):
    """What starts a transport's watcher, and joins it: a task group, or a connection's crew."""

    def start_soon(
        self, func: Callable[[Unpack[Ts]], Coroutine[Any, Any, object]], *args: *Ts, name: object = None
    ) -> object:
        """Start `func(*args)` as a task."""


class Transport(ABC):
    """A connected byte stream, as a connection needs it: one reader, one writer, and a notice of departure.

    One task receives and one task drains at a time.  Cancelling `receive` loses no bytes.
    Cancelling `drain` may leave part of what was written on the way: abort the transport then.
    """

    __slots__ = ("known",)

    #: True while more response bytes wait than the write limit allows: `drain` before writing more.
    congested: bool
    #: More extra info, from a proxy in front; it goes before what the socket tells.
    known: Mapping[str, Any]  # Any: each name has its own type

    @abstractmethod
    async def receive(self) -> bytes:
        """Return the next bytes from the peer, at most 256 KiB, or b"" once it has ended its side.

        Bytes read ahead by the watcher come first.  May wait for ever: deadlines belong to the caller.
        Raises ConnectionError when the connection broke.
        """

    def receive_nowait(self) -> bytes | None:
        """Return what `receive` would return without waiting; None if it would wait, and now and then in any case.

        A peer that sends faster than it is read keeps a reader supplied for ever: the None is where others get their turn.
        """
        return None

    def expect(self) -> Awaitable[None] | None:
        """Return what to await until bytes, or an end, are there; None if only `receive` can tell.

        With `expected` behind it, it is `receive` without a coroutine, for where each tenth of a microsecond counts.
        """
        return None

    def expected(self) -> bytes:
        """Return the bytes that are there, b"" if `receive` has to be asked.  Raises InterruptedError as that does."""
        return b""

    @abstractmethod
    def interrupt(self) -> None:
        """Have the task that waits in `receive` raise InterruptedError; no bytes are lost.

        Does nothing when nobody waits; a task whose bytes are there already gets them instead.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Hand `data` to the kernel, or keep what the kernel does not take at once.  Never waits.

        Sets `congested` when the caller must `drain` before it writes again.
        After the connection broke, data is dropped silently: `drain` and the watcher tell.
        """

    def writelines(self, parts: Sequence[bytes]) -> None:
        """Write `parts`, one behind the other, as `write` does; where the kernel can, without copying them together."""
        self.write(b"".join(parts))

    @property
    def lost(self) -> bool:
        """Whether `drain` would raise; also True if that cannot be told."""
        return True

    @abstractmethod
    async def drain(self) -> None:
        """Wait until the peer has taken enough for another write.  Raises ConnectionError when it is gone.

        What is left then goes out by itself, so the end of a response needs no wait beyond this one.
        """

    async def sendfile(self, fd: int, offset: int, count: int, *, piece: int) -> int:
        """Send the next bytes of a file, at most `count`, behind all that was written; return how many.

        0 means that the file has ended.  Waits while the peer is slow; does not hold more than `piece` bytes in memory.
        What is not in the system's memory is better warmed up before: the kernel would wait for the disk in the loop.  Cancelled, it may have sent a part: abort the transport then.
        Raises ConnectionError when the peer is gone, OSError for a file that cannot be read.
        """
        data = read_cached(fd, min(count, piece), offset)
        if data is None:
            data = await to_thread.run_sync(os.pread, fd, min(count, piece), offset)
        if data:
            self.write(data)
            await self.drain()
        return len(data)

    @abstractmethod
    def unsent(self) -> int:
        """Return how many written bytes the kernel has not taken yet (for progress, not for flow control)."""

    @abstractmethod
    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` once, from the event loop, when the peer ends its side or the connection breaks.

        Reads ahead, at most the read-ahead budget; past it the peer is held back by TCP and a FIN is not seen.
        If the peer is gone already, `gone` is called before `watch` returns.  Replaces an earlier watch.
        What has happened is told by `ended`.  Our own `aclose` and `abort` forget the callback.
        """

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the peer has ended its side in good order, as far as is known; False once the connection broke."""

    @abstractmethod
    def unwatch(self) -> None:
        """Forget the callback given to `watch`.  Never waits; bytes read ahead stay for `receive`."""

    @abstractmethod
    async def send_eof(self) -> None:
        """End our side (FIN) after all written bytes, where the stream can; else do nothing.  Waits like `drain`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Flush what was written and close (over TLS, with close_notify).  May wait for the peer: bound it.

        Idempotent.  When cancelled, the transport is aborted.
        """

    @abstractmethod
    def abort(self, *, truncated: bool = False) -> None:
        """Close at once and drop what is unsent.  Never waits, never raises, idempotent.

        Wakes who receives or drains, with ConnectionAbortedError.  TCP peers whose bytes are dropped get a RST,
        so that they cannot take what they have for everything; with `truncated` they get it in any case.
        """

    @abstractmethod
    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type, as in asyncio
        """Return what is known under asyncio's names, else `default`.

        peername, sockname, socket, sslcontext, ssl_object, peercert, cipher, compression; of a peer behind a proxy
        also proxy_protocol and proxy_peername.
        """


def tls_info(tls: ssl.SSLObject, name: str, default: Any) -> Any:  # Any: each name has its own type
    """Return what `tls` tells under one of asyncio's names, else `default`."""
    match name:
        case "ssl_object":
            return tls
        case "sslcontext":
            return tls.context
        case "peercert":
            return tls.getpeercert()
        case "cipher":
            return tls.cipher()
        case "compression":
            return tls.compression()
        case _:
            return default
