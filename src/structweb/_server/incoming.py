"""The request's side of an exchange: what was asked, by whom, and the body behind it."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVarTuple

import anyio

from structweb._server.body import OVER, Body
from structweb._server.crew import Crew
from structweb._server.reasons import CancelReason
from structweb._server.shields import Shield
from structweb._wire.events import Head, Refusal

if TYPE_CHECKING:
    from structweb._server.config import ServerConfig
    from structweb._server.connection import Connection
    from structweb._server.notice import ShutdownNotice
    from structweb._server.transport.base import Transport

Ts = TypeVarTuple("Ts")


class Incoming:
    """A request head, the connection that it came over, and what is known of its peer."""

    __slots__ = ("_connection", "crew", "disconnect", "head", "keep_alive", "refusal", "route", "time_limit")

    _connection: "Connection"
    #: The request; `Head("UNKNOWN", "/", HttpVersion10, ...)` when `refusal` is set.
    head: Head
    #: Set for bytes that are no acceptable request: answer with its status and message.
    refusal: Refusal | None
    #: The tasks of this exchange; None before the first one.
    crew: Crew | None
    #: "cancel" or "finish": what the client's departure means for the handler.  Read when it happens.
    disconnect: str
    #: What the floor above found to handle it, for reports: its `str`; None before.
    route: object
    #: The scope that ends the handler at its deadline, while it runs and behind it if it had to; None for no deadline.
    time_limit: anyio.CancelScope | None
    #: False when the connection closes after this response; may be set until the response starts.
    keep_alive: bool

    @property
    def config(self) -> "ServerConfig":
        """The server's settings."""
        return self._connection.config

    @property
    def transport(self) -> "Transport":
        """The connection's transport, to ask it for extra info; reading and writing go through the exchange."""
        return self._connection.transport

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The connection's cancel scope: cancelling it ends the handler and the connection."""
        return self._connection.scope

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why what runs for this exchange was cancelled; None if it was not, or by somebody else than the server."""
        cause = self._connection.cause
        if cause is None and self.time_limit is not None and self.time_limit.cancel_called:
            return CancelReason.DEADLINE
        if cause is None and self.crew is not None and self.crew.dismissed:
            return CancelReason.SIBLING_ERROR
        return cause

    @property
    def body(self) -> Body:
        """The request body."""
        return Body(self._connection, self)

    @property
    def has_body(self) -> bool:
        """Whether the head announced a body (of more than zero bytes)."""
        block = self.head.block
        return block.chunked or bool(block.content_length)

    def abort(self) -> None:
        """Close the connection at once; what the system has not sent yet is lost."""
        self.keep_alive = False
        self._connection.abort()

    @property
    def notice(self) -> "ShutdownNotice":
        """What tells of the server's shutdown."""
        return self._connection.server.notice

    def shield(self, seconds: float) -> Shield:
        """Return a block, for ``async with``, that no cancellation reaches for so long."""
        connection = self._connection
        return Shield(connection.server.shields, connection, seconds)

    def spawn(self, func: Callable[[*Ts], Coroutine[Any, Any, object]], *args: *Ts, name: object) -> None:
        """Run ``func(*args)`` as a task of this exchange, whose handler ends `crew`.  A failure cancels the connection."""
        connection = self._connection
        if connection.exchange is not self or connection.phase in OVER:
            raise RuntimeError(f"cannot spawn {name!r}: {self.head!r} is over")
        if self.crew is None:
            self.crew = self._make_crew()
        self.crew.start_soon(func, *args, name=name)

    def begin_tasks_anew(self) -> None:
        """Forget the tasks that have ended: what is spawned now belongs to the answer to the handler's failure."""
        self.crew = None

    def spawn_no_more(self) -> None:
        """Refuse the first task: nobody would wait for it."""
        self.crew = self._make_crew()
        self.crew.close()

    def _make_crew(self) -> Crew:
        connection = self._connection
        on_failure = partial(connection.cancel, CancelReason.SIBLING_ERROR, "a task of the request failed")
        return Crew(connection.server.tasks, on_failure, owner="a request")

    @property
    def peer_gone(self) -> bool:
        """Whether the peer is known to have left."""
        return self._connection.gone
