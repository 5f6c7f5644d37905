"""The pieces of messages that wsproto hands out, joined."""

from io import BytesIO

from wsproto.events import BytesMessage, TextMessage

from structweb._wire.websocket_events import Binary, Text
from structweb._wire.websocket_guard import Guard


class Assembly:
    """Joins the pieces of one message after the other.  The guard bounds their number and their size."""

    __slots__ = ("_guard", "_parts", "_raw", "begun")

    #: Whether there is a piece of a message that is not complete.
    begun: bool

    def __init__(self, guard: Guard, *, decode_text: bool) -> None:
        self._guard = guard
        self._raw = not decode_text
        # It grows in place: pieces may be as small as a byte, and a list of them is fifty times their size.  Text is
        # kept in UTF-8: StringIO would take four bytes, and more, for each character.
        self._parts: BytesIO | None = None
        self.begun = False

    def add_text(self, piece: TextMessage) -> Text | None:
        """Return the message that `piece` completes, if it does."""
        if piece.message_finished and not self.begun and not self._raw:
            return Text(piece.data)
        whole = self._add(b"" if self._raw else piece.data.encode(), last=piece.message_finished)
        if whole is None:
            return None
        return Text(self._guard.take_raw() if self._raw else whole.decode())

    def add_bytes(self, piece: BytesMessage) -> Binary | None:
        """Return the message that `piece` completes, if it does."""
        if piece.message_finished and not self.begun:
            return Binary(bytes(piece.data))
        whole = self._add(piece.data, last=piece.message_finished)
        return None if whole is None else Binary(whole)

    def _add(self, data: bytes | bytearray, *, last: bool) -> bytes | None:
        self.begun = not last
        parts = self._parts
        if parts is None:
            parts = self._parts = BytesIO()
        parts.write(data)
        if not last:
            return None
        self._parts = None
        return parts.getvalue()
