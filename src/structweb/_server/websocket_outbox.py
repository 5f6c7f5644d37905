"""The frames of a WebSocket on their way to its peer: whole, in order, and within bounds for a peer that is slow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from structweb._server.departures import ClientConnectionResetError
from structweb._server.websocket_errand import Errand

if TYPE_CHECKING:
    from structweb._server.connection import Connection

#: What can be done about a peer that takes less than it is sent.
SLOW: Final = ("wait", "drop", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """How one WebSocket behaves."""

    #: Whether the peer's close frame is answered by itself.
    autoclose: bool = True
    #: Whether pings are answered by themselves, and pongs kept from the handler.
    autoping: bool = True
    #: Seconds that the close handshake may take.
    timeout: float = 10.0
    #: Seconds of silence before a ping; half as many later, the peer counts as gone.  None sends no pings.
    heartbeat: float | None = None
    #: Bytes that may wait for the peer before `on_slow` applies.
    writer_limit: int = 256 * 1024
    #: What a send does then: "wait", "drop" the message, or "close" the WebSocket.
    on_slow: str = "wait"
    #: Seconds that a send waits before the peer counts as gone; None leaves that to `Timeouts.send`.
    send_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.on_slow not in SLOW:
            raise ValueError(f"on_slow must be 'wait', 'drop' or 'close', got {self.on_slow!r}")
        for name in ("heartbeat", "send_timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be more than 0 seconds, or None, got {value!r}")
        if self.writer_limit < 0:
            raise ValueError(f"writer_limit must not be negative, got {self.writer_limit!r}")


class Outbox:
    """Hands frames to the transport.

    A frame is handed over as a whole, between two awaits: sends from many tasks cannot interleave, and whoever is
    cancelled while it waits for room has sent nothing.  What the kernel does not take at once, an errand of the
    connection's crew sees out, which outlives the send.
    """

    __slots__ = (
        "_connection",
        "_flusher",
        "_limit",
        "_lost",
        "_over",
        "_pong",
        "_space",
        "_taken",
        "_transport",
        "_turn",
        "written",
    )

    def __init__(self, connection: "Connection", limit: int, lost: Callable[[Exception], None]) -> None:
        self._connection: Final = connection
        self._transport: Final = connection.transport
        self._limit: Final = limit
        self._lost: Final = lost
        self._flusher: Final = Errand(connection.crew, self._flush, "structweb websocket flusher")
        #: Wakes those who wait for room.
        self._space: anyio.Event | None = None
        self._over = False
        #: Whose turn it is when there is room: the one who has waited longest.
        self._turn: anyio.Lock | None = None
        #: A pong that waits for room: the last one of those is enough (RFC 6455 section 5.5.3).
        self._pong: bytes | None = None
        #: Bytes handed over so far, and how many of them the kernel had taken at the last look.
        self.written: int = 0
        self._taken = 0

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer."""
        return self._transport.unsent()

    @property
    def full(self) -> bool:
        """Whether as many bytes wait as may."""
        transport = self._transport
        return transport.congested and transport.unsent() > self._limit

    def put(self, frame: bytes) -> None:
        """Hand a frame over."""
        transport = self._transport
        transport.write(frame)
        self.written += len(frame)
        if transport.congested:
            self._flusher.rouse()

    def flush(self) -> None:
        """Have what the kernel did not take seen out."""
        self._flusher.rouse()

    def put_pong(self, frame: bytes) -> None:
        """Hand a pong over, at once or when there is room; a later one takes the place of one that waits."""
        if self.full or self._pong is not None:  # the older one must not come behind this one
            self._pong = frame
        else:
            self.put(frame)

    def put_last(self, frame: bytes) -> None:
        """Hand a close frame over, behind a pong that waits for room: nothing may follow a farewell."""
        if self._pong is not None:
            frame, self._pong = self._pong + frame, None
        self.put(frame)

    async def room(self, seconds: float | None) -> bool:
        """Wait until there is room, but not longer than `seconds`; tell whether there is."""
        if self._turn is None:
            self._turn = anyio.Lock(fast_acquire=True)
        with anyio.move_on_after(seconds):
            async with self._turn:
                while self.full and not self._over:
                    await self._wait()
        return not self.full

    async def flushed(self) -> None:
        """Wait until the transport sees to the rest by itself."""
        while self._transport.congested and not self._over:
            await self._wait()

    def end(self) -> None:
        """Let go who waits: the connection ends, and the errand with it, so there will be no more room."""
        self._over = True
        self._wake()

    async def _wait(self) -> None:
        self._flusher.rouse()
        if self._space is None:
            self._space = anyio.Event()
        await self._space.wait()

    def moves(self) -> bool:
        """Tell whether a peer that is behind has taken something since the last call."""
        unsent = self._transport.unsent()
        taken = self.written - unsent
        moved = taken > self._taken
        self._taken = taken
        return moved and unsent > 0

    async def _flush(self) -> None:
        connection, transport = self._connection, self._transport
        try:
            while transport.congested:
                await connection.drain()
                if self._pong is not None:
                    pong, self._pong = self._pong, None
                    transport.write(pong)
                    self.written += len(pong)
        except ClientConnectionResetError as exc:
            self._lost(exc)
        self._wake()

    def _wake(self) -> None:
        space, self._space = self._space, None
        if space is not None:
            space.set()
