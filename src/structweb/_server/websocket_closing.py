"""How a WebSocket ends: the close handshake, by whom ever it is begun, and what happens without one."""

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING, Final

import anyio

from structweb._server.departures import ClientConnectionResetError
from structweb._server.transport.pull import Reader
from structweb._server.websocket_errand import Errand
from structweb._server.websocket_inbox import Failed, Inbox, WebSocketState
from structweb._server.websocket_outbox import Outbox, WebSocketSettings
from structweb._wire.websocket import WebSocketError, WebSocketWire
from structweb._wire.websocket_events import GONE, NO_CODE, Close

if TYPE_CHECKING:
    from structweb._server.connection import Connection
    from structweb._server.exchange import Exchange

# What aiohttp answers to any close frame.
_OK: Final = 1000
_GOING_AWAY: Final = 1001
_CRASHED: Final = 1011

#: Our close frame has not been sent.
_CLOSABLE: Final = (WebSocketState.OPEN, WebSocketState.OWING)


class ClosingHandshake(ABC):
    """The state of a WebSocket, and all that ends it.

    Nothing here waits for the peer, but for `close` and `finish`: they wait for the attendant, a task of the
    connection's crew, which has a deadline.  So closing may begin anywhere, in a shutdown or a heartbeat too.
    """

    __slots__ = (
        "_attendant",
        "_deadline",
        "_news",
        "_scope",
        "_settings",
        "_transport",
        "close_code",
        "closed",
        "connection",
        "crashed",
        "exchange",
        "failure",
        "handler_done",
        "inbox",
        "lingers",
        "outbox",
        "parted",
        "reader",
        "receives",
        "receiving",
        "state",
        "told",
        "wire",
    )

    state: WebSocketState
    #: The code the WebSocket is closed with: ours while we wait for the peer's; then that, 0 if its frame has none,
    #: 1006 if it leaves without one.
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
    ) -> None:
        self.connection: Final = connection
        self.exchange: Final = exchange
        self.wire: Final = wire
        self.outbox: Final = Outbox(connection, settings.writer_limit, self.lose)
        #: Messages read ahead.
        self.inbox: Final = Inbox(connection.config.limits.read_ahead)
        self.state = WebSocketState.OPEN
        self.close_code = None
        self.failure = None
        self.crashed = False
        #: Who reads the transport.
        self.reader: Reader = Reader.NOBODY
        #: Whether a task is in `receive`, and whether one ever was.
        self.receiving: bool = False
        self.receives: bool = False
        #: Whether the handler knows that it is over; whether it has returned.
        self.told: bool = False
        self.handler_done: bool = False
        #: Whether the peer may still be sending: closing over that would reset our close frame away.
        self.lingers: bool = False
        #: Set when the WebSocket is closed; when the connection is, too.
        self.closed: Final = anyio.Event()
        self.parted: Final = anyio.Event()
        self._transport: Final = connection.transport
        self._settings: Final = settings
        #: What reads while nobody receives, and sees the end through.
        self._attendant: Final = Errand(connection.crew, self._attend, "structweb websocket attendant")
        #: When the attendant gives up on the peer, and the scope for that while it works.
        self._deadline = inf
        self._scope: anyio.CancelScope | None = None
        #: Wakes `receive` while the attendant reads for it.
        self._news: anyio.Event | None = None

    @abstractmethod
    async def _attend(self) -> None: ...

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    async def close(self, code: int = _OK, reason: str | bytes = "") -> bool:
        """Close with a handshake, as long as `timeout` permits; False if it is closing or closed already."""
        if self.state in (WebSocketState.CLOSING, WebSocketState.CLOSED):
            return False
        self.start_close(code, reason)
        self.told = True
        await self.closed.wait()
        return True

    def start_close(self, code: int = _OK, reason: str | bytes = "") -> None:
        """Send our close frame, drop what is unread, and let the attendant wait for the peer's."""
        self.outbox.put_last(self.wire.close(code, reason))
        if self.state is WebSocketState.OWING:
            self._end()
            return
        self.state = WebSocketState.CLOSING
        self.close_code = code  # until the peer has its say
        self.inbox.clear()
        self._be_done_in_time()
        if self.reader is Reader.RECEIVER:
            self._transport.interrupt()
        self._tell()
        self._attendant.rouse()

    def _be_done_in_time(self) -> None:
        self._deadline = anyio.current_time() + self._settings.timeout
        if self._scope is not None:
            self._scope.deadline = self._deadline

    def leave(self) -> None:
        """Close without waiting for the peer."""
        if self.state in _CLOSABLE:
            self.start_close()

    def go_away(self) -> None:
        """Close because the server does; does not wait."""
        if self.state in _CLOSABLE:
            self.start_close(_GOING_AWAY)

    async def finish(self) -> None:
        """Close behind the handler, if it has not, and wait until the connection is closed."""
        self.handler_done = True
        if self.state in _CLOSABLE:
            self.start_close(_CRASHED if self.crashed else _OK)
        if not self.parted.is_set():
            self._attendant.rouse()
            await self.parted.wait()

    def sever(self) -> None:
        """Say goodbye without waiting: the connection is about to be aborted."""
        if self.state in _CLOSABLE:
            self._transport.write(self.wire.close(_GOING_AWAY if self.connection.server.closing else _CRASHED))
        if self.state is not WebSocketState.CLOSED:
            self.state = WebSocketState.CLOSED
            self.close_code = GONE
        self.closed.set()
        # Who sends or receives need not be a task of the handler: nothing else ends its wait.
        self.outbox.end()
        self._tell()

    def _closed_by_peer(self, event: Close) -> Close | None:
        if event.code == GONE:
            self.lose(ClientConnectionResetError("the peer left without a close frame"))
            return None
        self.close_code = 0 if event.code == NO_CODE else event.code  # 0 as in aiohttp
        self.connection.gone = True
        if self.state is WebSocketState.CLOSING:
            self._end()
            return None
        if self._settings.autoclose:
            self.outbox.put_last(self.wire.close(_OK))
            self._end()
        else:
            self.state = WebSocketState.OWING
        return event

    def _break_off(self, error: WebSocketError) -> Failed | None:
        """Tell the peer what it did wrong, and end."""
        self.lingers = True
        if self.state is WebSocketState.CLOSING:
            self._end()
            return None
        self.outbox.put_last(self.wire.close(error.code, error.reason))
        self.close_code = error.code
        self.failure = error
        self._end()
        return Failed(error)

    def lose(self, error: Exception) -> None:
        """Give the peer up."""
        if self.state is not WebSocketState.CLOSED:
            self.close_code = GONE
            self.failure = error
            self.connection.gone = True
            self._end()
        self._transport.abort()

    def _end(self) -> None:
        self.state = WebSocketState.CLOSED
        self.closed.set()
        self._tell()
        self._be_done_in_time()
        self._attendant.rouse()
