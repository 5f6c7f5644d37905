"""Messages of a WebSocket that were read ahead of its handler, within a bound of bytes."""

from collections import deque
from enum import Enum
from typing import Final

from structweb._wire.websocket import Event

# What an unread message costs beside its payload, about.
_OVERHEAD: Final = 128


class WebSocketState(Enum):
    """How far a WebSocket is."""

    OPEN = "open"
    #: Our close frame was sent; the peer's is to come.
    CLOSING = "closing"
    #: The peer's close frame came; ours is owed.
    OWING = "closed by the peer"
    CLOSED = "closed"


class Failed:
    """What `receive` returns when the WebSocket broke: the peer broke a rule, or its heart stopped."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error: Final = error


Incoming = Event | Failed


class Inbox:
    """A queue that knows when it is full.  What is put in then is kept all the same: whoever fills it has to look."""

    __slots__ = ("_size", "capacity", "messages")

    #: What is in it, the oldest first.
    messages: deque[Incoming]
    #: Bytes it may hold.
    capacity: int

    def __init__(self, capacity: int) -> None:
        self.messages = deque()
        self._size = 0
        self.capacity = max(1, capacity)

    @property
    def full(self) -> bool:
        """Whether it holds as many bytes as it may, or more."""
        return self._size >= self.capacity

    def put(self, message: Incoming) -> None:
        """Add a message."""
        self.messages.append(message)
        self._size += _weight(message)

    def take(self) -> Incoming:
        """Remove the oldest message and return it."""
        message = self.messages.popleft()
        self._size -= _weight(message)
        return message

    def clear(self) -> None:
        """Remove everything."""
        self.messages.clear()
        self._size = 0


def _weight(message: Incoming) -> int:
    return len(getattr(message, "data", b"")) + _OVERHEAD
