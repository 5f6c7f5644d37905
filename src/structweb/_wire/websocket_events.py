"""What a WebSocket says: whole messages, pings, pongs, its end.  Plain values, no I/O."""

from typing import Final


class _Event:
    """Compares by type and content.  A slotted class: made in half the time of a named tuple or a frozen dataclass."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(repr(getattr(self, name)) for name in self.__slots__)})"


class Text(_Event):
    """A whole text message; `data` is bytes, unchecked, if the wire was made with ``decode_text=False``."""

    __match_args__ = __slots__ = ("data",)

    def __init__(self, data: str | bytes) -> None:
        self.data = data


class Binary(_Event):
    """A whole binary message."""

    __match_args__ = __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Ping(_Event):
    """A ping: answer it with a pong of the same data."""

    __match_args__ = __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Pong(_Event):
    """A pong, asked for or not."""

    __match_args__ = __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


#: The peer's close frame had no code (RFC 6455 section 7.1.5).
NO_CODE: Final = 1005
#: The peer went without a close frame (the same).
GONE: Final = 1006


class Close(_Event):
    """The peer will send no more.

    `code` is that of its close frame; 1005 when the frame had none, 1006 when there was no close frame.
    """

    __match_args__ = __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason


Event = Text | Binary | Ping | Pong | Close


class More(_Event):
    """Nothing yet, but many frames were read: let others have their turn, then ask again."""


class WebSocketError(Exception):
    """The peer broke a rule or a limit: send a close frame of this `code` and `reason`, and end the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason


class ClosedError(Exception):
    """A frame cannot be sent, because the close frame was: ours, or the peer's (which allows only ours to follow)."""
