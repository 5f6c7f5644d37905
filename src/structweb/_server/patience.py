"""How long a connection may stay in its phase: deadlines, worked out and enforced."""

import logging
from typing import TYPE_CHECKING

from structweb._wire.limits import Phase

if TYPE_CHECKING:
    from structweb._server.connection import Connection

logger = logging.getLogger("structweb.server")


def check(connection: "Connection", now: float) -> None:
    """Work out the deadline of a new phase, or end a phase that has lasted too long."""
    if connection.phase in (Phase.SEND, Phase.LINGER):
        unsent = connection.transport.unsent()
        if unsent and unsent != connection.unsent:
            connection.deadline = None  # the peer takes its response
        connection.unsent = unsent
    if connection.deadline is None:
        if connection.exchange is not connection.dated:
            connection.dated, connection.since = connection.exchange, now
        if connection.phase is Phase.IDLE:
            connection.wire.rest()  # a connection that falls idle keeps nothing that it can make again
        patience = connection.config.timeouts.patience(connection.phase)
        connection.deadline = float("inf") if patience is None else now + patience
    elif now >= connection.deadline:
        _expire(connection)


def _expire(connection: "Connection") -> None:
    match connection.phase:
        case Phase.BODY if connection.body_scope is not None:
            connection.body_scope.cancel()
        case Phase.SEND | Phase.LINGER:
            logger.debug("Peer stalled, connection aborted (%s)", connection.describe())
            connection.abort()
        case _:
            connection.cancel(f"{connection.phase.value} timeout")
