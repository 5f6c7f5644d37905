"""One server-side HTTP/1.1 connection as pure state: bytes go in, request heads and body pieces come out.

The wire moves through `_Stage` once per message: HEAD, then BODY until the body was read to its end, then DONE until
`next_cycle`.  A `Refusal` or `hand_over` ends it for good (OVER).  A message belongs to the express lane or to h11 from
its first byte to its last, but for a chunked body, in which the two may take turns; between messages there is no h11
object.
"""

from collections.abc import Sequence
from enum import Enum

from structweb._wire.chunked import ChunkedBody
from structweb._wire.events import Head, Refusal
from structweb._wire.express import Express
from structweb._wire.judge import Judge
from structweb._wire.limits import Limits
from structweb._wire.message import Message
from structweb._wire.strict import Fields, HeadScan


class _Stage(Enum):
    """Where the wire stands between two heads."""

    HEAD = "waiting for a head"
    BODY = "in the body of a message"
    DONE = "at the end of a message"
    OVER = "over"


class Http1:
    """One server-side HTTP/1.1 connection as pure state.

    Call `feed` with what the peer sends, and `next_head` until it returns a head; then `next_data` until it
    returns b"" (or until `body_done`), then `next_cycle`.  Bytes behind the current message wait for the next cycle.
    After a Refusal, answer it and close: every further call raises it again.
    """

    __slots__ = (
        "_data",
        "_eof",
        "_express",
        "_left",
        "_limits",
        "_message",
        "_refusal",
        "_scan",
        "_stage",
        "_start",
    )

    def __init__(self, limits: Limits, *, express: bool = True) -> None:
        self._limits = limits
        self._express = Express(limits) if express else None
        # What is not handed out yet is _data[_start:].  One piece from the peer is kept as it came, without a copy.
        self._data: bytes | bytearray = b""
        self._start = 0
        self._eof = False
        self._stage = _Stage.HEAD
        #: The partial head that the strict layer is looking at.
        self._scan: HeadScan | None = None
        #: The current message, if it is h11's; or what is behind its head, if that is the lane's.
        self._message: Message | ChunkedBody | None = None
        #: Body bytes missing, if the current message is the lane's and has a length.
        self._left = 0
        self._refusal: Refusal | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer, at any time.  Nothing is interpreted before the next call that asks."""
        held = self._data
        if not held:
            self._data = data
        elif isinstance(held, bytearray):
            del held[: self._start]
            self._start = 0
            held += data
        else:
            joined = bytearray(memoryview(held)[self._start :])
            joined += data
            self._data = joined
            self._start = 0

    def feed_eof(self) -> None:
        """Note that the peer ended its side: a body that is not complete by now never will be."""
        self._eof = True

    @property
    def buffered(self) -> int:
        """How many bytes were fed and not yet handed out."""
        return len(self._data) - self._start

    @property
    def head_started(self) -> bool:
        """Whether bytes of a next head are here: the connection is no longer idle."""
        return self._stage is _Stage.HEAD and len(self._data) > self._start

    @property
    def body_done(self) -> bool:
        """Whether the current message was read to its end; True at once for one without a body.

        Never once it was refused: where its end is, nobody knows.
        """
        return self._stage is not _Stage.BODY and self._refusal is None

    @property
    def trailers(self) -> Fields:
        """The trailer fields of the current message, once its chunked body is done."""
        return self._message.trailers if self._message is not None else ()

    @property
    def chunk_ends(self) -> Sequence[int]:
        """Where chunks end in the piece that `next_data` returned last; nowhere without chunks."""
        return self._message.chunk_ends if self._message is not None else ()

    def next_head(self) -> Head | None:
        """Return the next request head, or None while it is incomplete.

        Raises Refusal for bytes that are no acceptable request head: as soon as they show it, even if it is incomplete.
        """
        if self._stage is not _Stage.HEAD:
            self._misused("next_head", _Stage.HEAD)
        data = self._data
        if not data:
            return None
        lane = self._express
        if lane is not None and type(data) is bytes:
            head = lane.take(data, self._start)
            if head is not None:
                self._begin(head, data, self._start, lane.end)
                if lane.end == len(data):
                    self._data = b""
                    self._start = 0
                else:
                    self._start = lane.end
                return head
        try:
            return self._next_strict_head()
        except Refusal as refusal:
            self._refuse(refusal)
            raise

    def _begin(self, head: Head, data: bytes, start: int, end: int) -> None:
        """Begin the message whose head, `data[start:end]`, the lane took."""
        self._scan = None
        length = head.block.content_length
        if length:
            self._left = length
            self._stage = _Stage.BODY
        elif head.block.chunked:
            self._message = ChunkedBody(Judge(self._limits, data[start:end]), self._limits, express=True)
            self._stage = _Stage.BODY
        else:
            self._stage = _Stage.DONE

    def _next_strict_head(self) -> Head | None:
        scan = self._scan
        if scan is None:
            scan = self._scan = HeadScan(self._limits)
        self._consume(self._start + scan.skip_blank_lines(self._data, self._start))
        head = self._take_joined(scan.checked)
        if head is not None:
            return head
        size = scan.end(self._data, self._start)
        if size < 0:
            return None
        self._scan = None
        raw = bytes(self._data[self._start : self._start + size])
        message = Message(raw, self._limits, express=self._express is not None)
        self._consume(self._start + size)
        self._message = message
        self._stage = _Stage.DONE if message.done else _Stage.BODY
        return message.head

    def _take_joined(self, checked: int) -> Head | None:
        """Offer the lane a head that came in pieces, or behind empty lines; its first `checked` bytes are lines."""
        lane = self._express
        if lane is None:
            return None
        # The empty line is complete with the CRLF of the line before it.
        end = self._data.find(b"\r\n\r\n", self._start + max(checked - 2, 0))
        if end < 0:
            return None
        raw = bytes(self._data[self._start : end + 4])
        head = lane.take(raw, 0)
        if head is not None:
            self._begin(head, raw, 0, lane.end)
            self._consume(end + 4)
        return head

    def next_data(self) -> bytes | None:
        """Return the next bytes of the current body, b"" once it is over, or None while more bytes are needed.

        Raises Refusal when the framing of a chunked body is bad, and when the peer ended its side in mid-body.
        """
        if self._stage is _Stage.DONE:
            return b""
        if self._stage is not _Stage.BODY:
            self._misused("next_data", _Stage.BODY)
        try:
            piece = self._next_piece()
        except Refusal as refusal:
            self._refuse(refusal)
            raise
        return piece

    def _next_piece(self) -> bytes | None:
        message = self._message
        if message is not None:
            piece, end = message.read(self._data, self._start)
            self._consume(end)
            if message.done:
                self._stage = _Stage.DONE
        else:
            piece = self._next_counted_piece()
        if piece is None and self._eof:
            raise Refusal(400, "incomplete request body: the peer ended its side in the middle of it")
        return piece

    def _next_counted_piece(self) -> bytes | None:
        data = self._data
        available = len(data) - self._start
        if not available:
            return None
        if available <= self._left and not self._start:
            piece = bytes(data)  # no copy if it is bytes
        else:
            piece = bytes(data[self._start : self._start + self._left])
        self._consume(self._start + len(piece))
        self._left -= len(piece)
        if not self._left:
            self._stage = _Stage.DONE
        return piece

    def next_cycle(self) -> bool:
        """Forget the finished message; return whether bytes of a next one are here.  `body_done` must be True."""
        if self._stage is not _Stage.DONE:
            self._misused("next_cycle", _Stage.DONE)
        self._stage = _Stage.HEAD
        self._message = None
        if type(self._data) is bytearray:
            self._data = bytes(memoryview(self._data)[self._start :])
            self._start = 0
        return len(self._data) > self._start

    def rest(self) -> None:
        """Forget what only makes a busy connection faster; call it for one that has been idle for a while."""
        if self._express is not None:
            self._express.forget()

    def hand_over(self) -> bytes:
        """Return every byte behind the current message, whose body must be done; the wire is over.

        For an upgrade that was accepted: the bytes belong to the new protocol.
        """
        if self._stage is not _Stage.DONE:
            self._misused("hand_over", _Stage.DONE)
        rest = bytes(self._data[self._start :])
        self._data = b""
        self._start = 0
        self._stage = _Stage.OVER
        self._message = None
        return rest

    def _consume(self, end: int) -> None:
        if end >= len(self._data):
            self._data = b""
            self._start = 0
        else:
            self._start = end

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._stage = _Stage.OVER
        self._data = b""
        self._start = 0
        self._scan = self._message = None

    def _misused(self, call: str, expected: _Stage) -> None:
        if self._refusal is not None:
            raise self._refusal
        raise RuntimeError(f"{call}() expects a wire {expected.value}, but it is {self._stage.value}")
