"""One request that the express lane left to h11: its head at once, then its body piece by piece."""

from collections.abc import Sequence

import h11

from structweb._wire.chunked import ChunkedBody
from structweb._wire.events import Head
from structweb._wire.judge import Judge
from structweb._wire.limits import Limits
from structweb._wire.strict import Fields, check_request_line, read_block, split_fields


class Message:
    """A request whose head was complete, as the strict layer and h11 read it."""

    __slots__ = ("_chunked", "_judge", "_left", "head")

    head: Head

    def __init__(self, raw: bytes, limits: Limits, *, express: bool) -> None:
        """Read the complete head `raw`, with the empty line at its end; plain chunks `express`.  Raises Refusal."""
        line_end = raw.index(b"\r\n")
        method, target, version = check_request_line(raw[:line_end])
        block = read_block(split_fields(raw[line_end + 2 : -2]), version)
        self.head = Head(method, target, version, block)
        self._judge = Judge(limits)
        self._judge.hear(raw, h11.Request)
        self._left = block.content_length or 0
        self._chunked = ChunkedBody(self._judge, limits, express=express) if block.chunked else None

    @property
    def done(self) -> bool:
        """Whether the body was read to its end."""
        return self._chunked.done if self._chunked is not None else not self._left

    @property
    def trailers(self) -> Fields:
        """The trailer fields of a chunked body that is done."""
        return self._chunked.trailers if self._chunked is not None else ()

    @property
    def chunk_ends(self) -> Sequence[int]:
        """Where chunks end in the piece that `read` returned last; nowhere without chunks."""
        return self._chunked.chunk_ends if self._chunked is not None else ()

    def read(self, data: bytes | bytearray, start: int) -> tuple[bytes | None, int]:
        """Return the next piece of the body, and the index behind the bytes it took from `data`.

        The piece is b"" when the body is over, None when it needs more bytes.  Raises Refusal.
        """
        if self._chunked is not None:
            return self._chunked.read(data, start)
        piece = bytes(data[start : start + self._left])
        if not piece:
            return None, start
        event = self._judge.hear(piece, h11.Data)
        self._left -= len(piece)
        return bytes(event.data), start + len(piece)
