"""The heartbeat of a WebSocket: finds peers that are gone without a word."""

from typing import TYPE_CHECKING, Final

from structweb._server.transport.pull import Reader
from structweb._server.websocket_inbox import Failed, WebSocketState
from structweb._server.websocket_pulse import BEATS

if TYPE_CHECKING:
    from structweb._server.websocket import WebSocketSession


class Heart:
    """Counts the silence of a peer: after a whole interval comes a ping, after half of one more the end.

    Three peers are silent, but not gone.  One whose messages the handler does not take, by more than is read ahead for
    the heart's sake, cannot be heard, its pongs are behind them: while nothing is read, nothing is counted.  One that
    is behind with reading gets our ping late: as long as it takes bytes, it lives.  And one whose loop was held up (by
    us) had no chance to be heard: see `Pulse.run`.
    """

    __slots__ = ("_interval", "_session", "_silence", "heard")

    #: Whether bytes came since the last beat.
    heard: bool

    def __init__(self, session: "WebSocketSession", interval: float) -> None:
        self._session: Final = session
        self._interval: Final = interval
        self._silence = 0
        self.heard = True

    def beat(self) -> bool:
        """Count, as `Pulse` has it."""
        session = self._session
        if session.state is not WebSocketState.OPEN:
            return False
        moves = session.outbox.moves()
        if self.heard or moves or session.reader is Reader.NOBODY:
            self.heard = False
            self._silence = 0
            return True
        self._silence += 1
        if self._silence == BEATS:
            session.outbox.put(session.wire.ping())
        elif self._silence >= BEATS + BEATS // 2:
            error = TimeoutError(f"no pong within {self._interval / 2:g} seconds")
            session.inbox.put(Failed(error))
            session.lose(error)
            return False
        return True
