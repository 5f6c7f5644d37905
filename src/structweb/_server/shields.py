"""Shields with an owner and a deadline: blocks that no cancellation reaches, until the server lifts them.

A bare ``CancelScope(shield=True)`` can only be waited for.  A shield that is registered here is lifted when its time is
up, or when a shutdown cannot wait any longer: what held back until then cancels the block at its next await.
"""

import math
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from structweb._server.log import server_logger

if TYPE_CHECKING:
    from structweb._server.connection import Connection
    from structweb._server.report import ConnectionRecord

#: Seconds that a shield holds unless it says otherwise.
DEADLINE: Final = 30.0


class Shields:
    """The shields of one server that are up."""

    __slots__ = ("_changed", "_up", "lifted")

    def __init__(self) -> None:
        self._up: set[Shield] = set()
        self._changed: anyio.Event | None = None
        #: Where a shutdown lists those that had to be lifted; None before it.
        self.lifted: list[ConnectionRecord] | None = None

    def __len__(self) -> int:
        return len(self._up)

    def add(self, shield: "Shield") -> None:
        """Take a shield that goes up."""
        self._up.add(shield)

    def discard(self, shield: "Shield") -> None:
        """Forget a shield that is down."""
        self._up.discard(shield)
        if self._changed is not None:
            self._changed.set()

    def sweep(self, now: float) -> None:
        """Lift the shields whose time is up."""
        for shield in [shield for shield in self._up if shield.expires <= now]:
            shield.lift("its deadline has passed")

    def lift(self, reason: str) -> None:
        """Lift all shields."""
        for shield in tuple(self._up):
            shield.lift(reason)

    def next_expiry(self) -> float:
        """Return when the next shield expires; infinity when none is up."""
        return min((shield.expires for shield in self._up), default=math.inf)

    async def changed_within(self, seconds: float) -> None:
        """Wait until a shield comes down, but not longer than `seconds`."""
        self._changed = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    def owners(self) -> "set[Connection]":
        """Return the connections whose handlers are behind a shield."""
        return {shield.connection for shield in self._up}


class Shield:
    """``async with Shield(...)``: cancellations wait outside, until the block ends or the shield is lifted.

    Entering is a checkpoint, so that nothing is begun for a peer that has left already; so is leaving, where a
    cancellation that came meanwhile takes effect.
    """

    __slots__ = ("_connection", "_registry", "_scope", "_seconds", "_since", "expires")

    #: The time when it is lifted.
    expires: float

    def __init__(self, registry: Shields, connection: "Connection", seconds: float) -> None:
        given: object = seconds
        if not isinstance(given, int | float) or not 0 < given < math.inf:
            raise ValueError(f"the deadline of a shield is a finite number of seconds greater than 0, got {seconds!r}")
        self._registry = registry
        self._connection = connection
        self._seconds = seconds

    @property
    def connection(self) -> "Connection":
        """Whose handler it protects."""
        return self._connection

    def lift(self, reason: str) -> None:
        """Let cancellations through from now on.  Idempotent."""
        self._registry.discard(self)
        if not self._scope.shield:
            return
        self._scope.shield = False
        held_back = self._held_back()
        if held_back is not None:
            record = self._connection.record(anyio.current_time())
            record = replace(record, reason=record.reason or held_back)
            server_logger.warning("A shield was lifted, %s: %s", reason, record)
            if self._registry.lifted is not None:
                self._registry.lifted.append(record)

    def _held_back(self) -> str | None:
        """Return why what is behind it was cancelled; None if it was not."""
        connection = self._connection
        if connection.scope.cancel_called:
            return connection.reason
        exchange = connection.exchange
        limit = None if exchange is None else exchange.time_limit
        if exchange is None or (limit is not None and limit.cancelled_caught):  # caught: who is behind that goes on
            return None
        return exchange.cancel_reason

    async def __aenter__(self) -> Self:
        await checkpoint_if_cancelled()
        self.expires = anyio.current_time() + self._seconds
        self._scope = anyio.CancelScope(shield=True)
        self._scope.__enter__()
        self._registry.add(self)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._registry.discard(self)
        self._scope.__exit__(exc_type, exc, traceback)
        if exc is None:
            await checkpoint_if_cancelled()
        return False
