"""The pieces of messages that wsproto hands out, joined."""

from io import BytesIO, StringIO

from wsproto.events import BytesMessage, TextMessage

from structweb._wire.websocket_events import Binary, Text
from structweb._wire.websocket_guard import Guard


class Assembly:
    """Joins the pieces of one message after the other.  The guard bounds their number and their size."""

    __slots__ = ("_bytes", "_guard", "_raw", "_text", "begun")

    #: Whether there is a piece of a message that is not complete.
    begun: bool

    def __init__(self, guard: Guard, *, decode_text: bool) -> None:
        self._guard = guard
        self._raw = not decode_text
        # These grow in place: pieces may be as small as a byte, and a list of them is fifty times their size.
        self._text: StringIO | None = None
        self._bytes: BytesIO | None = None
        self.begun = False

    def add_text(self, piece: TextMessage) -> Text | None:
        """Return the message that `piece` completes, if it does."""
        self.begun = not piece.message_finished
        if self._raw:
            return Text(self._guard.take_raw()) if piece.message_finished else None
        parts = self._text
        if parts is None:
            if piece.message_finished:
                return Text(piece.data)
            parts = self._text = StringIO(newline="")
        parts.write(piece.data)
        if not piece.message_finished:
            return None
        self._text = None
        return Text(parts.getvalue())

    def add_bytes(self, piece: BytesMessage) -> Binary | None:
        """Return the message that `piece` completes, if it does."""
        self.begun = not piece.message_finished
        parts = self._bytes
        if parts is None:
            if piece.message_finished:
                return Binary(bytes(piece.data))
            parts = self._bytes = BytesIO()
        parts.write(piece.data)
        if not piece.message_finished:
            return None
        self._bytes = None
        return Binary(parts.getvalue())
