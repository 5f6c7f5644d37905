"""The body of a request as a stream that is read on demand: `StreamReader`."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from structweb._wire.events import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structweb._server.exchange import Exchange
    from structweb._web.decoding import DecodedBody

T = TypeVar("T")

#: Bytes that `readline` and `readuntil` look through for the separator, unless told otherwise.
MAX_LINE: Final = 2**18
# Pieces that are looked at for joining, and what they may be together: small ones cost many times what they hold, and
# large ones the time to copy them.
_MANY: Final = 1024
_SMALL: Final = 2**20


class PayloadAccessError(Exception):
    """The body of a request was read after its response: the connection has moved on."""


class RequestPayloadError(Refusal):
    """The body of a request is malformed or stopped arriving.

    A handler that lets it out has it answered with its `status`: 400 or 408.
    """

    def __init__(self, message: str = "", status: int = 400) -> None:
        super().__init__(status, message)


class IncompleteReadError(EOFError):
    """The body ended before the bytes that were asked for; `partial` is what there was."""

    def __init__(self, partial: bytes, expected: int) -> None:
        super().__init__(f"expected {expected} bytes, the body ended after {len(partial)}")
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[type["IncompleteReadError"], tuple[bytes, int]]:
        return type(self), (self.partial, self.expected)


class LineTooLong(ValueError):
    """A line, or whatever a separator ends, is longer than allowed.  What was read of it is gone."""

    def __init__(self, start: bytes, limit: int) -> None:
        super().__init__(f"expected a separator within {limit} bytes, got {start!r}...")
        self.start = start
        self.limit = limit

    def __reduce__(self) -> tuple[type["LineTooLong"], tuple[bytes, int]]:
        return type(self), (self.start, self.limit)


def _join_small(pieces: list[bytes], joined: int) -> int:
    """Make one of the pieces from `joined` on, if they are small; return how many there are then."""
    latest = pieces[joined:]
    if sum(map(len, latest)) <= _SMALL:
        pieces[joined:] = [b"".join(latest)]
    return len(pieces)


class _Iteration(AsyncIterator[T], Generic[T]):
    """Calls a reading method until it returns its end-of-body value.  Needs no closing, unlike a generator."""

    __slots__ = ("_end", "_read")

    def __init__(self, read: "Callable[[], Awaitable[T]]", end: T) -> None:
        self._read = read
        self._end = end

    def __aiter__(self) -> "_Iteration[T]":
        return self

    async def __anext__(self) -> T:
        item = await self._read()
        if item == self._end:
            raise StopAsyncIteration
        return item


class StreamReader:
    """The bytes of a request body, taken from the connection as they are read.

    Nothing is read ahead: a handler that does not read holds its client back, and memory stays flat.
    One task reads at a time; a second one gets RuntimeError.  Every method that reads raises
    `RequestPayloadError` for a malformed body, ConnectionResetError when the client left in mid-body or
    the exchange was cut, and `PayloadAccessError` after the response.
    """

    __slots__ = (
        "_before",
        "_body",
        "_chunk_ends",
        "_decoded",
        "_done",
        "_error",
        "_offset",
        "_piece",
        "_reading",
        "total_bytes",
    )

    #: Bytes that have arrived so far, read or not, decompressed if the body is compressed.
    total_bytes: int

    def __init__(self, exchange: "Exchange", decoded: "DecodedBody | None" = None) -> None:
        self._decoded = decoded
        self._body = exchange.body if decoded is None else decoded
        # Kept here: the connection's own word is about the next request once this one is over.
        self._done = not exchange.has_body
        # What has arrived and was not read yet: one piece, and where its unread part begins.
        self._piece = b""
        self._offset = 0
        self._error: Exception | None = None
        self._reading = False
        # Where chunks end in the piece that arrived last, and how many bytes had arrived before it.
        self._chunk_ends: Sequence[int] = ()
        self._before = 0
        self.total_bytes = 0

    def __repr__(self) -> str:
        state = "eof" if self.at_eof() else f"{len(self._piece) - self._offset} bytes buffered"
        return f"<{type(self).__name__} {self.total_bytes} bytes received, {state}>"

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def total_raw_bytes(self) -> int:
        """Bytes that have arrived so far, before they were decompressed."""
        return self.total_bytes if self._decoded is None else self._decoded.raw_bytes

    def is_eof(self) -> bool:
        """Tell whether the whole body has arrived; some of it may still be unread."""
        return self._done

    def at_eof(self) -> bool:
        """Tell whether the whole body has been read."""
        return self._done and self._offset == len(self._piece)

    def exception(self) -> Exception | None:
        """Return the error that ended the body, which every further read raises; None if there was none."""
        return self._error

    def close(self, *, cut: bool = False) -> None:
        """Let go of the connection: if anything is unread, every further read raises.

        `PayloadAccessError` behind a complete response; ConnectionResetError if the exchange was `cut` before.
        """
        if not self.at_eof():
            self._piece, self._offset, self._done = b"", 0, True
            if self._error is None and cut:
                self._error = ConnectionResetError(
                    "the request has ended, the rest of its body cannot be read any more"
                )
            elif self._error is None:
                self._error = PayloadAccessError("the body of a request must be read before its response is complete")

    def get_read_buffer_limits(self) -> tuple[int, int]:
        """Return from how many unread bytes on the client is held back, and about how many are held at the most.

        Both come from ``read_bufsize`` (`Limits.read_ahead`).  The bytes are those on the wire.
        """
        read_ahead = self._body.limits.read_ahead
        return read_ahead, 2 * read_ahead

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _has_more(self) -> bool:
        """Tell whether there is something to take; wait for it unless the body is over."""
        self._check()
        return self._offset < len(self._piece) or (not self._done and await self._receive())

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._reading:
            raise RuntimeError("the request body is being read by another task already")

    async def _receive(self) -> bool:
        body = self._body
        self._reading = True
        try:
            self._piece = piece = await body.receive()
        except Refusal as refusal:
            self._error = RequestPayloadError(refusal.message, refusal.status)
            raise self._error from refusal
        except ConnectionError as exc:
            self._error = exc
            raise
        finally:
            self._reading = False
        self._offset = 0
        self._done = not piece or body.done
        self._chunk_ends = body.chunk_ends
        self._before = self.total_bytes
        self.total_bytes += len(piece)
        return bool(piece)

    def _take(self, n: int = -1) -> bytes:
        """Return at most `n` bytes of the piece at hand, all of it if `n` is negative."""
        piece, offset = self._piece, self._offset
        end = len(piece)
        if n < 0 or offset + n >= end:
            self._piece, self._offset = b"", 0
            return piece[offset:] if offset else piece
        self._offset = offset + n
        return piece[offset : self._offset]

    async def readany(self) -> bytes:
        """Return what has arrived; wait for something if nothing has.  b"" at the end of the body."""
        return self._take() if await self._has_more() else b""

    async def read(self, n: int = -1) -> bytes:
        """Return at most `n` bytes, as soon as there are some; the whole rest if `n` is negative.

        b"" at the end of the body.  The rest may be as large as the client likes: `Request.read` knows a limit.
        """
        if n == 0:
            return b""
        if n > 0:
            return self._take(n) if await self._has_more() else b""
        rest = await self.read_all()
        return b"" if rest is None else rest

    async def read_all(self, limit: int = 0) -> bytes | None:
        """Return the whole rest of the body; None, with nothing kept, once it is larger than `limit` (0 for none).

        A read that is cancelled loses nothing: the next one begins where it began.
        """
        pieces: list[bytes] = []
        size = joined = 0
        try:
            while await self._has_more():
                size += len(self._piece) - self._offset
                if 0 < limit < size:
                    self._take()
                    return None
                pieces.append(self._take())
                if len(pieces) - joined == _MANY:
                    joined = _join_small(pieces, joined)
        except BaseException:
            self._restore(pieces)
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def readexactly(self, n: int) -> bytes:
        """Return `n` bytes.  Raises `IncompleteReadError` if the body ends before, with what there was."""
        pieces: list[bytes] = []
        missing, joined = n, 0
        try:
            while missing > 0 and await self._has_more():
                pieces.append(self._take(missing))
                missing -= len(pieces[-1])
                if len(pieces) - joined == _MANY:
                    joined = _join_small(pieces, joined)
        except BaseException:
            self._restore(pieces)
            raise
        data = b"".join(pieces)
        if missing > 0:
            raise IncompleteReadError(data, n)
        return data

    def _restore(self, pieces: "list[bytes]") -> None:
        """Make unread again what a cancelled read had taken: it waited, so there is nothing else unread."""
        self._piece, self._offset = b"".join(pieces), 0

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        r"""Return the next line with its ``\n``, or what is left at the end.  Otherwise as `readuntil`."""
        return await self.readuntil(max_size=max_line_length)

    async def readuntil(self, separator: bytes = b"\n", *, max_size: int | None = None) -> bytes:
        """Return everything up to `separator`, with it; what is left if the body ends before.

        Raises `LineTooLong` for more than `max_size` bytes (256 KiB), separator included.
        """
        if not separator:
            raise ValueError("separator must have at least one byte, got b''")
        limit = max_size or MAX_LINE
        line = bytearray()
        try:
            while len(line) <= limit and await self._has_more():
                # Not from its start: the separator may begin in what was taken before.
                start = max(0, len(line) - len(separator) + 1)
                taken = self._take(limit + 1 - len(line))
                line += taken
                found = line.find(separator, start)
                if found >= 0:
                    end = found + len(separator)
                    self._give_back(taken, len(line) - end)
                    del line[end:]
                    break
        except BaseException:
            self._restore([bytes(line)])
            raise
        if len(line) > limit:
            raise LineTooLong(bytes(line[:100]), limit)
        return bytes(line)

    def _give_back(self, taken: bytes, count: int) -> None:
        """Make the last `count` bytes of what was taken last unread again."""
        if self._offset:
            self._offset -= count
        else:
            self._piece, self._offset = taken, len(taken) - count

    async def readchunk(self) -> tuple[bytes, bool]:
        """Return the next piece, and whether it ends a chunk of the chunked encoding; ``(b"", False)`` at the end.

        The chunks are the sender's, or a proxy's: they carry no meaning.  Pieces never span two of them.
        """
        if not await self._has_more():
            return b"", False
        begin = self.total_bytes - self._before - (len(self._piece) - self._offset)
        index = bisect_right(self._chunk_ends, begin)
        if index == len(self._chunk_ends):
            return self._take(), False
        return self._take(self._chunk_ends[index] - begin), True

    def read_nowait(self, n: int = -1) -> bytes:
        """Return at most `n` bytes of what was received and not read yet, all of it if `n` is negative.

        Never waits, and never asks the connection: b"" may mean that nothing has been received so far.
        """
        self._check()
        return self._take(n)

    async def wait_eof(self) -> None:
        """Wait until the whole body has arrived.  It is kept until it is read, however large it is."""
        rest = await self.read()
        self._piece, self._offset = rest, 0

    async def drop(self) -> None:
        """Read what is left of the body, and forget it."""
        if self._decoded is not None:
            self._decoded.stop_decoding()
        while await self._has_more():
            self._take()

    # -- iterating -------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over lines."""
        return _Iteration(self.readline, b"")

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Iterate over pieces of at most `n` bytes.  Raises ValueError for less than one."""
        if n < 1:
            raise ValueError(f"pieces must have at least one byte, got n={n}")
        return _Iteration(lambda: self.read(n), b"")

    def iter_any(self) -> AsyncIterator[bytes]:
        """Iterate over pieces as they arrive."""
        return _Iteration(self.readany, b"")

    def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Iterate over what `readchunk` returns."""
        return _Iteration(self.readchunk, (b"", False))


class EmptyStreamReader(StreamReader):
    """The body of a request that has none: at its end from the start, and the same for all of them."""

    __slots__ = ()

    def __init__(self) -> None:
        self._decoded = None
        self._done = True
        self._piece, self._offset = b"", 0
        self._error = None
        self._reading = False
        self._chunk_ends = ()
        self._before = self.total_bytes = 0

    def get_read_buffer_limits(self) -> tuple[int, int]:
        """Return (0, 0): nothing is ever held."""
        return 0, 0


#: `Request.content` of every request without a body.
EMPTY_PAYLOAD: Final[StreamReader] = EmptyStreamReader()
