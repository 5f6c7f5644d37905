"""One WebSocket: messages in and out, its heartbeat, its end.

Who reads?  While the handler waits in `receive`, `receive` does, so that a message costs no switch of tasks.  While
the handler waits for something else (the connection is told at each suspension), an errand of the connection's crew
reads ahead, into a bounded inbox: pings are answered, and a departure is seen, whatever the handler does.  The same
errand sees the close handshake through, under a deadline, so that `close` may be called from any task.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from structweb._server.departures import ClientConnectionResetError
from structweb._server.transport.pull import Reader
from structweb._server.websocket_closing import ClosingHandshake
from structweb._server.websocket_ending import part
from structweb._server.websocket_heart import Heart
from structweb._server.websocket_inbox import Incoming, WebSocketState
from structweb._server.websocket_outbox import WebSocketSettings
from structweb._wire.websocket import Event, WebSocketError, WebSocketWire
from structweb._wire.websocket_events import Binary, Close, More, Ping, Text
from structweb._wire.websocket_lane import BINARY, TEXT, server_frame

if TYPE_CHECKING:
    from structweb._server.connection import Connection
    from structweb._server.exchange import Exchange
    from structweb._wire.reply import Fields

T = TypeVar("T")

# Messages received and sent in a row before other tasks get their turn.
_FAIR_SHARE: Final = 32
_POLICY: Final = 1008

# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a message.
_OPEN: Final = WebSocketState.OPEN
_NOBODY: Final = Reader.NOBODY
_RECEIVER: Final = Reader.RECEIVER


async def open_session(
    exchange: "Exchange", fields: "Fields", wire: WebSocketWire, settings: WebSocketSettings
) -> "WebSocketSession":
    """Answer 101 with `fields` and return the WebSocket that the connection is from then on."""
    stream = await exchange.upgrade(fields)
    connection, behind = stream.detach()
    return WebSocketSession(connection, exchange, wire, settings, behind)


class WebSocketSession(ClosingHandshake):
    """A connection as a WebSocket.

    `receive` is for one task at a time; everything else may be called from any task.
    """

    __slots__ = ("_heart", "_lately", "_turns")

    # What the closing half declares, once more for type checkers that look at who assigns it.
    reader: Reader
    receiving: bool
    told: bool

    def __init__(
        self,
        connection: "Connection",
        exchange: "Exchange",
        wire: WebSocketWire,
        settings: WebSocketSettings,
        behind_head: bytes,
    ) -> None:
        super().__init__(connection, exchange, wire, settings)
        self._turns = 0
        #: Whether `receive` was called since `send` let others have their turn.
        self._lately = False
        self._heart: Heart | None = None
        connection.websocket = self
        connection.watching = False
        if behind_head:
            wire.feed(behind_head)
        if settings.heartbeat is not None:
            self._heart = Heart(self, settings.heartbeat)
            connection.server.pulse.add(self._heart, settings.heartbeat)
        if connection.server.closing:
            self.go_away()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what the transport knows, else `default`."""
        return self._transport.get_extra_info(name, default)

    # -- receiving -------------------------------------------------------------------------------------------------

    # Inbox, wire, transport: in one frame, since each coroutine on the way of a message is half a microsecond.
    async def receive(self, shape: Callable[[Incoming | None], T]) -> T:  # noqa: C901, PLR0912 - the hot path
        """Return what `shape` makes of what comes next, of None at the end: `state` and `close_code` say why.

        Raises RuntimeError while another task receives.  Cancelling it loses no message.
        """
        if self.receiving:
            raise RuntimeError("Concurrent call to receive() is not allowed")
        here = not (connection := self.connection).away  # else it is a task of the handler that receives
        self.receiving = self.receives = self._lately = True
        self._turns += 1
        inbox, wire, transport = self.inbox, self.wire, self._transport
        try:
            if self._turns > _FAIR_SHARE:
                await self._give_way()
            connection.watching |= here  # what it waits for here is no reason to call the attendant
            while True:
                if inbox.messages:
                    return shape(inbox.take())
                event = None if wire.drained else wire.next_event()
                if event is not None:
                    if self.state is _OPEN and (event.__class__ is Binary or event.__class__ is Text):
                        return shape(event)
                    if (left := self._see_to(event)) is not None:
                        return shape(left)
                    self._turns += 1
                    if self._turns > _FAIR_SHARE:
                        await self._give_way()
                elif self.state is not _OPEN:
                    self.told = True
                    return shape(None)
                elif self.reader is not _NOBODY:
                    await self._await_news()
                else:
                    self.reader = _RECEIVER
                    try:
                        if (coming := transport.expect()) is not None:
                            await coming
                        data = transport.expected() or await transport.receive()
                    except (ConnectionError, InterruptedError) as exc:
                        self._not_read(exc)
                        continue
                    finally:
                        self.reader = _NOBODY
                    if self._heart is not None:
                        self._heart.heard = True
                    if (message := wire.feed_whole(data)) is not None and self.state is _OPEN:
                        return shape(message)
        except WebSocketError as exc:
            return shape(self._break_off(exc))
        finally:
            self.receiving = False
            connection.watching &= not here
            if connection.away or self.state is not _OPEN:  # away, perhaps since later than this began
                self._attendant.rouse()

    def _see_to(self, event: Event | More) -> Incoming | None:
        """See to an event that is no message for an open WebSocket; return what is left for the handler."""
        if isinstance(event, More):
            self._turns = _FAIR_SHARE
            return None
        if isinstance(event, Close):
            return self._closed_by_peer(event)
        if self.state is not _OPEN or isinstance(event, Text | Binary):
            return None
        if not self._settings.autoping:
            return event
        if isinstance(event, Ping):
            self.outbox.put_pong(self.wire.pong(event.data))
        return None

    async def _read(self) -> None:
        """Read once, and feed the wire, for the errand."""
        self.reader = Reader.WATCHER
        try:
            data = await self._transport.receive()
        except (ConnectionError, InterruptedError) as exc:
            self._not_read(exc)
            return
        finally:
            self.reader = _NOBODY
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._heart is not None:
            self._heart.heard = True
        if data:
            self.wire.feed(data)
        else:
            self.wire.feed_eof()

    def _not_read(self, exc: ConnectionError | InterruptedError) -> None:
        if isinstance(exc, ConnectionError):
            self.lose(exc)
        else:
            self._attendant.rouse()

    async def _await_news(self) -> None:
        self._news = anyio.Event()
        try:
            await self._news.wait()
        finally:
            self._news = None

    async def _give_way(self) -> None:
        """Let other tasks have their turn."""
        self._turns = 0
        connection = self.connection
        if connection.away or connection.watching:
            await checkpoint()
            return
        connection.watching = True
        try:
            await checkpoint()
        finally:
            connection.watching = False

    # -- sending ---------------------------------------------------------------------------------------------------

    def post_bytes(self, payload: bytes, first: int = BINARY) -> bool:
        """Send a message that is not compressed, as `post` does; False, too, if messages are."""
        transport = self._transport
        turns, behind = self._turns + 1, transport.congested
        if behind or turns > _FAIR_SHARE or self.state is not _OPEN or not self.wire.plain:
            return False
        self._turns = turns
        frame = server_frame(first, payload)
        transport.write(frame)
        outbox = self.outbox
        outbox.written += len(frame)
        if transport.congested:
            outbox.flush()
        return True

    def post_str(self, data: str) -> bool:
        """Send a text message, as `post_bytes` does."""
        return self.wire.plain and self.post_bytes(data.encode(), TEXT)

    def post(self, encode: Callable[[Any], bytes], data: Any) -> bool:  # Any: `encode` knows
        """Send at once, if nobody has to wait or to be let past for that; tell whether it was possible.

        It is what `send` is most of the time, without a coroutine.
        """
        transport = self._transport
        turns, behind = self._turns + 1, transport.congested
        if behind or turns > _FAIR_SHARE or self.state is not _OPEN:
            return False
        self._turns = turns
        frame = encode(data)
        transport.write(frame)
        outbox = self.outbox
        outbox.written += len(frame)
        if transport.congested:
            outbox.flush()
        return True

    async def send(self, encode: Callable[..., bytes], *args: Any, **options: Any) -> bool:  # Any: `encode` knows
        """Send the frame that `encode` (a method of the wire) makes of the arguments; False if it was dropped.

        Waits for room first: cancelled, it has sent nothing.  Raises ClientConnectionResetError when the WebSocket
        is closing or closed.
        """
        self._turns += 1
        if self._turns > _FAIR_SHARE:
            await self._breathe()
        if self.state is not _OPEN:
            raise self._refusal()
        if self.outbox.full and not await self._make_room():
            return False
        self.outbox.put(encode(*args, **options))
        return True

    async def _breathe(self) -> None:
        """Let others have their turn, and look whether the peer is still there: writing does not tell.

        Who only sends to a peer that keeps up waits nowhere else: it has to count as away, so that somebody reads.
        """
        if self._lately:
            self._lately = False
            await self._give_way()
        else:
            self._turns = 0
            await checkpoint()
        if not self._transport.congested and self.state is _OPEN:
            try:
                await self._transport.drain()
            except ConnectionError as exc:
                self.lose(exc)

    async def _make_room(self) -> bool:
        settings = self._settings
        if settings.on_slow == "drop":
            return False
        if settings.on_slow == "close":
            self.start_close(_POLICY, "too slow")
            raise self._refusal()
        if not await self.outbox.room(settings.send_timeout) and self.state is _OPEN:
            self.lose(TimeoutError(f"the peer has made no room in {settings.send_timeout} seconds"))
        if self.state is not _OPEN:
            raise self._refusal()
        return True

    def _refusal(self) -> ClientConnectionResetError:
        self.told = True
        error = ClientConnectionResetError(f"cannot send: the WebSocket is {self.state.value}")
        error.__cause__ = self.failure
        return error

    # -- while the handler is away ---------------------------------------------------------------------------------

    def attend(self) -> None:
        """Note that the handler waits for something else, and have its messages read meanwhile."""
        self.connection.away = True
        if self.reader is _NOBODY or self.state is not _OPEN:
            self._attendant.rouse()

    async def _attend(self) -> None:
        with anyio.CancelScope(deadline=self._deadline) as scope:
            self._scope = scope
            await self._collect()
            while self._wanted():
                await self._read()
                await self._collect()
            self._tell()  # who waits in `receive` meanwhile has to read now, although there is nothing for it yet
            if self.state is WebSocketState.CLOSED:
                await part(self)
        self._scope = None
        if scope.cancelled_caught:
            self.lose(TimeoutError(f"the peer did not close within {self._settings.timeout} seconds"))
            self.parted.set()

    def _wanted(self) -> bool:
        if self.reader is not _NOBODY:
            return False
        if self.state is WebSocketState.CLOSING:
            return True
        if self.state is not _OPEN or not self.connection.away:
            return False
        # With a heartbeat, one more bound of bytes is read behind a full inbox, unparsed: while nobody reads, a peer
        # that is gone cannot be told from one whose pong waits in the kernel.
        return not self.inbox.full or (self._heart is not None and self.wire.hungry(self.inbox.capacity))

    async def _collect(self) -> None:
        """Put what the wire has into the inbox, as far as there is room."""
        inbox = self.inbox
        try:
            while not inbox.full and (event := self.wire.next_event()) is not None:
                if self.state is _OPEN and isinstance(event, Text | Binary):
                    inbox.put(event)
                elif (left := self._see_to(event)) is not None:
                    inbox.put(left)
                self._turns += 1
                if self._turns > _FAIR_SHARE:
                    self._turns = 0
                    await checkpoint()
        except WebSocketError as exc:
            failed = self._break_off(exc)
            if failed is not None:
                inbox.put(failed)
        if inbox.messages or self.state is not _OPEN:
            self._tell()
