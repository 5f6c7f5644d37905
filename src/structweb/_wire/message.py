"""One request that the express lane left to h11: its head at once, then its body piece by piece."""

import h11

from structweb._wire.chunked import ChunkedBody
from structweb._wire.events import Head, Refusal
from structweb._wire.limits import Limits
from structweb._wire.strict import Fields, check_request_line, read_block, split_fields


class Message:
    """An h11 connection that lives for one request.

    It is fed no byte behind its message, so h11's pauses (pipelining, Upgrade, CONNECT) never matter, and what follows
    is never stuck inside it.
    """

    __slots__ = ("_chunked", "_h11", "_left", "head")

    head: Head

    def __init__(self, raw: bytes, limits: Limits) -> None:
        """Read the complete head `raw`, whose lines `HeadScan` has checked.  Raises Refusal."""
        line_end = raw.index(b"\r\n")
        method, target, version = check_request_line(raw[:line_end])
        block = read_block(split_fields(raw[line_end + 2 : -2]), version)
        self.head = Head(method, target, version, block)
        # Nothing incomplete is ever handed over, except a chunked body's data: the cap is a second fence.
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + limits.request_line + limits.field)
        event = self._tell(raw)
        if not isinstance(event, h11.Request) or (event.method, event.target) != (method.encode(), target.encode()):
            raise Refusal(400, "bad request head: its framing is ambiguous")
        self._left = block.content_length or 0
        self._chunked = ChunkedBody(self._h11, limits) if block.chunked else None

    @property
    def done(self) -> bool:
        """Whether the body was read to its end."""
        return self._chunked.done if self._chunked is not None else not self._left

    @property
    def trailers(self) -> Fields:
        """The trailer fields of a chunked body that is done."""
        return self._chunked.trailers if self._chunked is not None else ()

    def read(self, data: bytes | bytearray, start: int) -> tuple[bytes | None, int]:
        """Return the next piece of the body, and the index behind the bytes it took from `data`.

        The piece is b"" when the body is over, None when it needs more bytes.  Raises Refusal.
        """
        try:
            if self._chunked is not None:
                return self._chunked.read(data, start)
        except h11.RemoteProtocolError as exc:
            raise Refusal(400, f"bad chunked body: {exc}") from exc
        return self._read_counted(data, start)

    def _read_counted(self, data: bytes | bytearray, start: int) -> tuple[bytes | None, int]:
        if not self._left:
            return b"", start
        piece = bytes(data[start : start + self._left])
        if not piece:
            return None, start
        event = self._tell(piece)
        if not isinstance(event, h11.Data) or len(event.data) != len(piece):
            raise Refusal(400, "bad request body: its framing is ambiguous")
        self._left -= len(piece)
        return bytes(event.data), start + len(piece)

    def _tell(self, data: bytes) -> object:
        try:
            self._h11.receive_data(data)
            return self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            # h11 hints at 501 for codings; everything here is the client's fault.
            hint = exc.error_status_hint
            raise Refusal(hint if 400 <= hint < 500 else 400, str(exc)) from exc
