"""How long a connection may stay in its phase: deadlines, worked out and enforced."""

import logging
from typing import TYPE_CHECKING, Final

from structweb._server.reasons import CancelReason
from structweb._wire.limits import Phase

if TYPE_CHECKING:
    from structweb._server.connection import Connection
    from structweb._server.exchange import Exchange

logger = logging.getLogger("structweb.server")

#: Seconds between two sweeps, and so the error of every deadline.
INTERVAL: Final = 1.0


class Pace:
    """How long a peer was waited for in one exchange beyond what it paid for, in bytes that it moved.

    Kept for those only that are waited for at a sweep; what happens between two sweeps costs a counter.
    """

    __slots__ = ("_exchange", "_moved", "_when", "debt")

    def __init__(self, exchange: "Exchange", moved: int, now: float) -> None:
        self._exchange = exchange
        self._moved = moved
        self._when = now
        #: Seconds.  Nothing is paid in advance: a fast beginning does not buy slowness later.
        self.debt: float = 0.0

    def is_of(self, exchange: "Exchange") -> bool:
        """Tell whether it is kept for `exchange`."""
        return self._exchange is exchange

    def charge(self, moved: int, now: float, rate: float) -> None:
        """Count what was moved, in total, and the time until `now`; one that was not waited for pays for one sweep."""
        waited = min(now - self._when, INTERVAL)
        paid = max(0, moved - self._moved) / rate  # TLS makes more of what is written: that is nobody's debt
        self.debt = max(0.0, self.debt + waited - paid)
        self._moved, self._when = moved, now


def check(connection: "Connection", now: float) -> None:
    """Work out the deadline of a new phase, or end a phase that has lasted too long."""
    phase = connection.phase
    unsent = 0
    if phase in (Phase.SEND, Phase.LINGER):
        unsent = connection.transport.unsent()
        if unsent and unsent != connection.unsent:
            connection.deadline = None  # the peer takes its response
        connection.unsent = unsent
    if connection.deadline is None and connection.exchange is not connection.dated:
        connection.dated, connection.since = connection.exchange, now
    patience = connection.config.timeouts.patience(phase)
    if (phase is Phase.BODY or unsent) and _debt(connection, now) > _most_debt(connection):
        connection.slow = True
        _expire(connection)
    elif connection.deadline is None:
        if phase is Phase.IDLE:
            connection.wire.rest()  # a connection that falls idle keeps nothing that it can make again
            connection.pace = None
        connection.deadline = float("inf") if patience is None else now + patience
    elif now >= connection.deadline:
        _expire(connection)


def _most_debt(connection: "Connection") -> float:
    timeouts = connection.config.timeouts
    most = timeouts.body if connection.phase is Phase.BODY else timeouts.send
    return float("inf") if most is None else most


def _debt(connection: "Connection", now: float) -> float:
    """Return how many seconds the peer was waited for beyond those that it paid for."""
    rate, exchange, pace = connection.config.timeouts.min_rate, connection.exchange, connection.pace
    if rate is None or exchange is None or connection.work is Phase.UPGRADED:
        return 0.0  # another protocol has its own idea of slowness
    moved = connection.received + exchange.bytes_sent - connection.transport.unsent()
    if pace is None or not pace.is_of(exchange):
        connection.pace = pace = Pace(exchange, moved, now)
    else:
        pace.charge(moved, now, rate)
    return pace.debt


def _expire(connection: "Connection") -> None:
    match connection.phase:
        case Phase.BODY if connection.body_scope is not None:
            connection.body_scope.cancel()
        case Phase.SEND | Phase.LINGER:
            logger.debug("Peer stalled, connection aborted (%s)", connection.describe())
            connection.abort()
        case _:
            connection.cancel(CancelReason.LIMIT, f"{connection.phase.value} timeout")
