"""One WebSocket: messages in and out, its heartbeat, its end.

Who reads?  While the handler waits in `receive`, `receive` does, so that a message costs no switch of tasks.  While
the handler waits for something else (the connection is told at each suspension), an errand of the connection's crew
reads ahead, into a bounded inbox: pings are answered, and a departure is seen, whatever the handler does.  The same
errand sees the close handshake through, under a deadline, so that `close` may be called from any task.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from structweb._server.departures import ClientConnectionResetError
from structweb._server.transport.pull import Reader
from structweb._server.websocket_errand import Errand
from structweb._server.websocket_outbox import Outbox, WebSocketSettings
from structweb._server.websocket_pulse import BEATS
from structweb._wire.websocket import ClosedError, Event, WebSocketError, WebSocketWire
from structweb._wire.websocket_events import GONE, NO_CODE, Binary, Close, Ping, Text

if TYPE_CHECKING:
    from structweb._server.connection import Connection
    from structweb._server.exchange import Exchange
    from structweb._wire.reply import Fields

# Messages received or sent in a row before other tasks get their turn.
_FAIR_SHARE: Final = 32
# What an unread message costs beside its payload, about.
_OVERHEAD: Final = 128
# What aiohttp answers to any close frame.
_OK: Final = 1000
_GOING_AWAY: Final = 1001
_POLICY: Final = 1008
_CRASHED: Final = 1011


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
        self.error = error


Incoming = Event | Failed


async def open_session(
    exchange: "Exchange", fields: "Fields", wire: WebSocketWire, settings: WebSocketSettings
) -> "WebSocketSession":
    """Answer 101 with `fields` and return the WebSocket that the connection is from then on."""
    stream = await exchange.upgrade(fields)
    connection, behind = stream.detach()
    return WebSocketSession(connection, exchange, wire, settings, behind)


class WebSocketSession:
    """A connection as a WebSocket.

    `receive` is for one task at a time; everything else may be called from any task.
    """

    __slots__ = (
        "_attendant",
        "_closed",
        "_connection",
        "_deadline",
        "_exchange",
        "_full_size",
        "_handler_done",
        "_heard",
        "_inbox",
        "_lingers",
        "_news",
        "_outbox",
        "_parted",
        "_reader",
        "_receiving",
        "_scope",
        "_settings",
        "_silence",
        "_size",
        "_told",
        "_transport",
        "_turns",
        "_used_to_receive",
        "_wire",
        "close_code",
        "crashed",
        "failure",
        "state",
    )

    state: WebSocketState
    #: The code the WebSocket was closed with: the peer's, 0 if its frame had none, 1006 if it left without one.
    close_code: int | None
    #: What broke it.
    failure: Exception | None
    #: Whether its handler failed, which the peer is told.
    crashed: bool

    def __init__(
        self,
        connection: "Connection",
        exchange: "Exchange",
        wire: WebSocketWire,
        settings: WebSocketSettings,
        behind_head: bytes,
    ) -> None:
        self._connection: Final = connection
        self._exchange: Final = exchange
        self._transport: Final = connection.transport
        self._wire: Final = wire
        self._settings: Final = settings
        self._outbox: Final = Outbox(connection, settings.writer_limit, self._lose)
        self._attendant: Final = Errand(connection.crew, self._attend, "structweb websocket attendant")
        self.state = WebSocketState.OPEN
        self.close_code = None
        self.failure = None
        self.crashed = False
        #: Messages read ahead, what they weigh, and when that is enough.
        self._inbox: deque[Incoming] = deque()
        self._size = 0
        self._full_size: Final = max(1, connection.config.limits.read_ahead)
        self._reader = Reader.NOBODY
        self._receiving = False
        self._used_to_receive = False
        #: Wakes `receive` while the attendant reads for it.
        self._news: anyio.Event | None = None
        #: When the attendant gives up on the peer, and the scope for that while it works.
        self._deadline = inf
        self._scope: anyio.CancelScope | None = None
        self._turns = 0
        #: For the heartbeat: whether bytes came since the last beat, and how many beats none did.
        self._heard = True
        self._silence = 0
        #: Whether the handler knows that it is over.
        self._told = False
        self._handler_done = False
        #: Whether the peer may still be sending: closing over that would reset our close frame away.
        self._lingers = False
        #: Set when the WebSocket is closed; when the connection is, too.
        self._closed: Final = anyio.Event()
        self._parted: Final = anyio.Event()
        connection.websocket = self
        connection.watching = False
        if behind_head:
            wire.feed(behind_head)
        if settings.heartbeat is not None:
            connection.server.pulse.add(self, settings.heartbeat)
        if connection.server.closing:
            self.go_away()

    @property
    def unread(self) -> int:
        """How many messages were read ahead."""
        return len(self._inbox)

    @property
    def queued(self) -> int:
        """Bytes that were sent and wait for the peer to take them."""
        return self._outbox.queued

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what the transport knows, else `default`."""
        return self._transport.get_extra_info(name, default)

    # -- receiving -------------------------------------------------------------------------------------------------

    async def receive(self) -> Incoming | None:
        """Return what comes next, or None once there is nothing more to come: `state` and `close_code` say why.

        Raises RuntimeError while another task receives.  Cancelling it loses no message.
        """
        if self._receiving:
            raise RuntimeError("Concurrent call to receive() is not allowed")
        connection = self._connection
        here = not connection.away  # else it is a task of the handler that receives
        self._receiving = self._used_to_receive = True
        self._turns += 1
        try:
            if self._turns > _FAIR_SHARE:
                await self._give_way()
            if here:
                connection.watching = True  # what it waits for here is no reason to call the attendant
            while True:
                event = self._take() if self._inbox else self._next()
                if event is not None:
                    return event
                if self.state is not WebSocketState.OPEN:
                    self._told = True
                    return None
                if self._reader is Reader.NOBODY:
                    await self._read(Reader.RECEIVER)
                else:
                    await self._await_news()
        finally:
            self._receiving = False
            if here:
                connection.watching = False
            if not here or self.state is not WebSocketState.OPEN:
                self._attendant.rouse()

    def _take(self) -> Incoming:
        event = self._inbox.popleft()
        self._size -= _weight(event)
        return event

    def _next(self) -> Incoming | None:
        """Return what the wire has for the handler; see to the rest."""
        wire = self._wire
        while True:
            try:
                event = wire.next_event()
            except WebSocketError as exc:
                return self._break_off(exc)
            if event is None:
                return None
            kind = event.__class__
            if kind is Text or kind is Binary:
                if self.state is WebSocketState.OPEN:
                    return event
            elif kind is Close:
                return self._closed_by_peer(event)
            elif self._settings.autoping:
                if kind is Ping:
                    self._pong(event.data)
            elif self.state is WebSocketState.OPEN:
                return event

    def _pong(self, data: bytes) -> None:
        if self.state is WebSocketState.OPEN:
            self._outbox.put_pong(self._wire.pong(data))

    async def _read(self, reader: Reader) -> None:
        """Read once, and feed the wire."""
        self._reader = reader
        try:
            data = await self._transport.receive()
        except InterruptedError:
            self._attendant.rouse()
            return
        except ConnectionError as exc:
            self._lose(exc)
            return
        finally:
            self._reader = Reader.NOBODY
        self._heard = True
        if data:
            self._wire.feed(data)
        else:
            self._wire.feed_eof()

    async def _await_news(self) -> None:
        self._news = anyio.Event()
        try:
            await self._news.wait()
        finally:
            self._news = None

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    async def _give_way(self) -> None:
        """Let other tasks have their turn."""
        self._turns = 0
        connection = self._connection
        if connection.away or connection.watching:
            await checkpoint()
            return
        connection.watching = True
        try:
            await checkpoint()
        finally:
            connection.watching = False

    # -- sending ---------------------------------------------------------------------------------------------------

    async def send(self, encode: Callable[..., bytes], *args: Any, **options: Any) -> bool:  # Any: `encode` knows
        """Send the frame that `encode` (a method of the wire) makes of the arguments; False if it was dropped.

        Waits for room first: cancelled, it has sent nothing.  Raises ClientConnectionResetError when the WebSocket
        is closing or closed.
        """
        outbox = self._outbox
        self._turns += 1
        if self._turns > _FAIR_SHARE:
            await self._breathe()
        if self.state is not WebSocketState.OPEN:
            raise self._refusal()
        if outbox.full and not await self._make_room():
            return False
        outbox.put(encode(*args, **options))
        return True

    async def _breathe(self) -> None:
        """Let others have their turn, and look whether the peer is still there: writing does not tell."""
        await self._give_way()
        if not self._transport.congested and self.state is WebSocketState.OPEN:
            try:
                await self._transport.drain()
            except ConnectionError as exc:
                self._lose(exc)

    async def _make_room(self) -> bool:
        settings = self._settings
        if settings.on_slow == "drop":
            return False
        if settings.on_slow == "close":
            self.start_close(_POLICY, "too slow")
            raise self._refusal()
        if not await self._outbox.room(settings.send_timeout) and self.state is WebSocketState.OPEN:
            self._lose(TimeoutError(f"the peer has made no room in {settings.send_timeout} seconds"))
        if self.state is not WebSocketState.OPEN:
            raise self._refusal()
        return True

    def _refusal(self) -> ClientConnectionResetError:
        self._told = True
        error = ClientConnectionResetError(f"cannot send: the WebSocket is {self.state.value}")
        error.__cause__ = self.failure
        return error

    # -- closing ---------------------------------------------------------------------------------------------------

    async def close(self, code: int = _OK, reason: str | bytes = "") -> bool:
        """Close with a handshake, as long as `timeout` permits; False if it is closing or closed already."""
        if self.state in (WebSocketState.CLOSING, WebSocketState.CLOSED):
            return False
        self.start_close(code, reason)
        self._told = True
        await self._closed.wait()
        return True

    def start_close(self, code: int = _OK, reason: str | bytes = "") -> None:
        """Send our close frame, drop what is unread, and let the attendant wait for the peer's."""
        self._outbox.put(self._wire.close(code, reason))
        if self.state is WebSocketState.OWING:
            self._end()
            return
        self.state = WebSocketState.CLOSING
        self._inbox.clear()
        self._size = 0
        self._be_done_in_time()
        if self._reader is Reader.RECEIVER:
            self._transport.interrupt()
        self._tell()
        self._attendant.rouse()

    def _be_done_in_time(self) -> None:
        self._deadline = anyio.current_time() + self._settings.timeout
        if self._scope is not None:
            self._scope.deadline = self._deadline

    def leave(self) -> None:
        """Close without waiting for the peer."""
        if self.state in (WebSocketState.OPEN, WebSocketState.OWING):
            self.start_close()

    def go_away(self) -> None:
        """Close because the server does; does not wait."""
        if self.state in (WebSocketState.OPEN, WebSocketState.OWING):
            self.start_close(_GOING_AWAY)

    async def finish(self) -> None:
        """Close behind the handler, if it has not, and wait until the connection is closed."""
        self._handler_done = True
        if self.state in (WebSocketState.OPEN, WebSocketState.OWING):
            self.start_close(_CRASHED if self.crashed else _OK)
        if not self._parted.is_set():
            self._attendant.rouse()
            await self._parted.wait()

    def sever(self) -> None:
        """Say goodbye without waiting: the connection is about to be aborted."""
        if self.state in (WebSocketState.OPEN, WebSocketState.OWING):
            code = _GOING_AWAY if self._connection.server.closing else _CRASHED
            self._transport.write(self._wire.close(code))
        if self.state is not WebSocketState.CLOSED:
            self.state = WebSocketState.CLOSED
            self.close_code = GONE
        self._closed.set()

    def _closed_by_peer(self, event: Close) -> Close | None:
        if event.code == GONE:
            self._lose(ClientConnectionResetError("the peer left without a close frame"))
            return None
        self.close_code = 0 if event.code == NO_CODE else event.code  # 0 as in aiohttp
        self._connection.gone = True
        if self.state is WebSocketState.CLOSING:
            self._end()
            return None
        if self._settings.autoclose:
            self._outbox.put(self._wire.close(_OK))
            self._end()
        else:
            self.state = WebSocketState.OWING
        return event

    def _break_off(self, error: WebSocketError) -> Failed | None:
        """Tell the peer what it did wrong, and end."""
        self._lingers = True
        if self.state is WebSocketState.CLOSING:
            self._end()
            return None
        try:
            self._outbox.put(self._wire.close(error.code, error.reason))
        except ClosedError:
            pass  # pragma: no cover
        self.close_code = error.code
        self.failure = error
        self._end()
        return Failed(error)

    def _lose(self, error: Exception) -> None:
        """Give the peer up."""
        if self.state is not WebSocketState.CLOSED:
            self.close_code = GONE
            self.failure = error
            self._connection.gone = True
            self._end()
        self._transport.abort()

    def _end(self) -> None:
        self.state = WebSocketState.CLOSED
        self._closed.set()
        self._tell()
        self._be_done_in_time()
        self._attendant.rouse()

    # -- while the handler is away ---------------------------------------------------------------------------------

    def attend(self) -> None:
        """Note that the handler waits for something else, and have its messages read meanwhile."""
        self._connection.away = True
        if self._reader is Reader.NOBODY or self.state is not WebSocketState.OPEN:
            self._attendant.rouse()

    async def _attend(self) -> None:
        with anyio.CancelScope(deadline=self._deadline) as scope:
            self._scope = scope
            self._collect()
            while self._wanted():
                await self._read(Reader.WATCHER)
                self._collect()
            if self.state is WebSocketState.CLOSED:
                await self._part()
        self._scope = None
        if scope.cancelled_caught:
            self._lose(TimeoutError(f"the peer did not close within {self._settings.timeout} seconds"))
            self._parted.set()

    def _wanted(self) -> bool:
        if self._reader is not Reader.NOBODY:
            return False
        if self.state is WebSocketState.CLOSING:
            return True
        return self.state is WebSocketState.OPEN and self._connection.away and self._size < self._full_size

    def _collect(self) -> None:
        """Put what the wire has into the inbox, as far as there is room."""
        while self._size < self._full_size:
            event = self._next()
            if event is None:
                break
            self._inbox.append(event)
            self._size += _weight(event)
        if self._inbox or self.state is not WebSocketState.OPEN:
            self._tell()

    async def _part(self) -> None:
        """Close the connection, and end a handler that would not notice."""
        if not self._parted.is_set():
            try:
                await self._outbox.flushed()
                if self._lingers:
                    await self._transport.send_eof()
                    while await self._transport.receive():
                        pass
                await self._connection.close()
            except ConnectionError:
                pass  # then it is closed
            self._parted.set()
        connection = self._connection
        if self._told or self._handler_done or self._receiving or not connection.away:
            return
        if self._exchange.disconnect == "cancel" and (self.failure is not None or not self._used_to_receive):
            connection.cancel("client gone")

    # -- heartbeat -------------------------------------------------------------------------------------------------

    def beat(self) -> bool:
        """Count silence: after a whole interval comes a ping, after half of one more the end."""
        if self.state is not WebSocketState.OPEN:
            return False
        moves = self._outbox.moves()
        # A peer whose messages the handler does not take cannot be heard, its pongs are behind them; and one that
        # is behind with reading gets our ping late, but takes bytes.
        unheard = self._reader is Reader.NOBODY
        if self._heard or moves or unheard:
            self._heard = False
            self._silence = 0
            return True
        self._silence += 1
        if self._silence == BEATS:
            self._outbox.put(self._wire.ping())
        elif self._silence >= BEATS + BEATS // 2:
            error = TimeoutError(f"no pong within {(self._settings.heartbeat or 0) / 2:g} seconds")
            self._inbox.append(Failed(error))
            self._size += _OVERHEAD
            self._lose(error)
            return False
        return True


def _weight(event: Incoming) -> int:
    data = getattr(event, "data", b"")
    return len(data) + _OVERHEAD
