"""How much one WebSocket may make us hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketLimits:
    """Sizes in bytes (fragments: a count) past which a WebSocket is closed.  None is no limit."""

    #: One message, all its fragments together, inflated: a longer one gets 1009.
    message: int | None = 4 * 1024 * 1024
    #: The payload of one frame, as it is on the wire: a longer one gets 1009 before any of it is read.
    frame: int | None = None
    #: The frames of one message: more get 1008.  What a peer of 64-byte fragments needs for 4 MiB, twice.
    fragments: int | None = 131_072

    def __post_init__(self) -> None:
        for name in ("message", "frame", "fragments"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"WebSocketLimits.{name} must be at least 1, or None for no limit, got {value!r}")
