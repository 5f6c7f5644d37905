"""The end of an engine's connections, level by level: drain, cancel, lift shields, abort."""

import math
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from structweb._server.connection import Connection
from structweb._server.log import server_logger
from structweb._server.reasons import CancelReason
from structweb._server.report import ConnectionRecord, ShutdownReport
from structweb._server.shields import Shields
from structweb._wire.limits import Phase

#: Seconds that cancelled handlers get for their clean-up before their sockets are aborted.
CANCEL_GRACE: Final = 0.1
#: Seconds for what waited on those sockets; who is still there afterwards is reported as abandoned.
ABORT_GRACE: Final = 0.1
#: Seconds that on_shutdown has at least, so that a shutdown without patience still says goodbye.
FAREWELL: Final = 0.1

# Without an exchange: nobody waits for these.
_QUIET: Final = frozenset({Phase.IDLE, Phase.HEAD, Phase.CLOSED})

OnShutdown = Callable[[], Awaitable[object]]


class Guests:
    """The connections of an engine, and what is done with all of them."""

    def __init__(self, shields: Shields) -> None:
        self.connections: set[Connection] = set()
        # Connection tasks, counted: the first thing a task does may be to wait for a handshake, and a task that has
        # not run yet is nowhere else to be seen.
        self.live = 0
        #: Those that were cancelled in the midst of something, as they were then.
        self.struck: dict[Connection, ConnectionRecord] = {}
        self._shields = shields
        self._emptied: anyio.Event | None = None
        self._patience: anyio.CancelScope | None = None
        #: Whether nobody is waited for any more.
        self.hurried = False

    def arrive(self) -> None:
        """Count a connection in, before its task starts."""
        self.live += 1

    def depart(self) -> None:
        """Count it out, as the last thing its task does."""
        self.live -= 1
        if not self.live and self._emptied is not None:
            self._emptied.set()

    async def gone_within(self, seconds: float) -> None:
        """Wait until no connection is left, but not longer than `seconds`."""
        with anyio.move_on_after(seconds):
            while self.live:
                self._emptied = anyio.Event()
                await self._emptied.wait()

    def strike(self, reason: str) -> None:
        """Cancel every connection."""
        now = anyio.current_time()
        for guest in tuple(self.connections):
            guest.cancel(CancelReason.SHUTDOWN, reason)  # nothing of it runs before this loop has ended
            if guest.phase not in _QUIET and guest not in self.struck:
                self.struck[guest] = guest.record(now)

    def abort(self, *, spare: "set[Connection] | None" = None) -> None:
        """Break connections, so that nothing waits for a peer any more, shielded or not; all but those to `spare`."""
        for guest in self.connections - (spare or set()):
            guest.abort()

    def hurry(self) -> None:
        """End all at once, also while `see_off` waits."""
        self.hurried = True
        if self._patience is not None:
            self._patience.cancel()
        self.strike("server in a hurry")
        self._shields.lift("the server is in a hurry")
        self.abort()

    async def see_off(
        self, timeout: float, shield_timeout: float, on_shutdown: OnShutdown | None
    ) -> tuple[ShutdownReport, Exception | None]:
        """Let them finish for `timeout` seconds, and end what is left; return what was done, and `on_shutdown`'s error."""
        start = anyio.current_time()
        busy = {guest: guest.record(start) for guest in self.connections if guest.phase not in _QUIET}
        busy.update(self.struck)
        idle = len(self.connections.difference(busy))
        lifted = self._shields.lifted = []
        for guest in tuple(self.connections):
            guest.shut()
        failure = await self._drain(start, timeout, on_shutdown)
        if self.live:
            self.strike("server shutdown")
            await self.gone_within(CANCEL_GRACE)
        if self.live and self._shields:
            await self._outwait_shields(anyio.current_time() + shield_timeout - CANCEL_GRACE)
        if self.live:
            self.abort()
            await self.gone_within(ABORT_GRACE)
        end = anyio.current_time()
        report = ShutdownReport(
            finished=tuple(record for guest, record in busy.items() if guest not in self.struck),
            cancelled=tuple(record for guest, record in self.struck.items() if guest not in self.connections),
            lifted=tuple(lifted),
            abandoned=tuple(guest.record(end) for guest in self.connections),
            idle=idle,
            seconds=end - start,
        )
        report.log()
        return report, failure

    async def _drain(self, start: float, timeout: float, on_shutdown: OnShutdown | None) -> Exception | None:
        """Run `on_shutdown` and wait for running exchanges, until the patience ends; return its error."""
        failure: Exception | None = None
        said = on_shutdown is None
        self._patience = patience = anyio.CancelScope()
        if self.hurried:
            patience.cancel()
        with patience:
            if on_shutdown is not None:
                patience.deadline = start + max(timeout, FAREWELL)
                try:
                    await on_shutdown()
                except Exception as exc:  # noqa: BLE001 - raised by shutdown(), when everything has ended
                    failure = exc
                said = True
            patience.deadline = start + timeout
            await self.gone_within(math.inf)
        if not said and self.hurried:
            server_logger.warning("on_shutdown was cancelled: the server is in a hurry")
        elif not said:
            server_logger.warning("on_shutdown did not end within the shutdown timeout of %g s: cancelled", timeout)
        return failure

    async def _outwait_shields(self, limit: float) -> None:
        """Let shields hold until their deadlines, or until `limit`; then lift them.  Nobody else is waited for."""
        shields = self._shields
        while shields:
            while shields:
                self.abort(spare=shields.owners())
                await shields.changed_within(min(shields.next_expiry(), limit) - anyio.current_time())
                now = anyio.current_time()
                shields.sweep(now)
                if now >= limit:
                    shields.lift("the shutdown cannot wait any longer")
            # One that comes down gives others the time to go up: tasks of the request that are cancelled only now.
            await self.gone_within(CANCEL_GRACE)
            if not self.live or now >= limit:
                return
