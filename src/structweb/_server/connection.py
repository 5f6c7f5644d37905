"""One connection: read a head, run the handler, see the response out, and again."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from structweb._server import patience
from structweb._server.closing import close, drop_body, part
from structweb._server.config import ServerConfig
from structweb._server.crew import Crew
from structweb._server.departures import ClientConnectionResetError
from structweb._server.exchange import Exchange, ExchangeHandler
from structweb._server.isolation import run_isolated
from structweb._server.notice import ShutdownNotice
from structweb._server.patience import Pace
from structweb._server.reasons import CancelReason
from structweb._server.report import ConnectionRecord
from structweb._server.shields import Shields
from structweb._server.transport.base import Transport
from structweb._server.upgrade import UpgradedStream
from structweb._server.websocket_pulse import Pulse
from structweb._server.whereabouts import await_point
from structweb._server.writing import Stage
from structweb._wire.events import Refusal
from structweb._wire.http1 import Http1
from structweb._wire.limits import Phase

if TYPE_CHECKING:
    from structweb._server.websocket import WebSocketSession

logger = logging.getLogger("structweb.server")
T = TypeVar("T")

# Pipelined requests served in a row before other tasks get their turn.
_FAIR_SHARE: Final = 16

# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a request.
_IDLE: Final = Phase.IDLE
_HANDLER: Final = Phase.HANDLER
_FINISHED: Final = Stage.FINISHED


class Owner(Protocol):
    """What a connection needs of the server it belongs to."""

    handler: ExchangeHandler
    config: ServerConfig
    connections: "set[Connection]"
    #: Set once the server shuts down: the exchange under way is the last one.
    closing: bool
    requests_count: int
    #: Where the tasks of a connection run; the connection joins them.
    tasks: TaskGroup
    #: The shields of handlers that are up.
    shields: Shields
    notice: ShutdownNotice
    #: What wakes WebSockets for their heartbeats.
    pulse: Pulse


class Connection:
    """The server's side of one connection, in one task.

    The reaper calls `sweep` once a second; `shut`, `cancel` and `abort` may be called from any task.
    """

    __slots__ = (
        "away",
        "body_scope",
        "cause",
        "config",
        "crew",
        "dated",
        "deadline",
        "exchange",
        "gone",
        "handling",
        "pace",
        "phase",
        "pieces",
        "reason",
        "received",
        "reusable",
        "scope",
        "send_lock",
        "sending",
        "server",
        "since",
        "slow",
        "transport",
        "unsent",
        "watching",
        "websocket",
        "wire",
        "work",
    )

    #: Where it stands; whoever sets it sets `deadline` to None, too.
    phase: Phase
    #: The time at which the phase has lasted too long; None until the next sweep works it out.
    deadline: float | None
    transport: Transport
    #: The exchange under way.
    exchange: Exchange | None
    #: What handles it, for reports.
    handling: Coroutine[Any, Any, None] | None  # Any: what a backend's traps yield and take is its own affair
    #: The exchange that the reaper saw last, and when it saw it first.
    dated: Exchange | None
    since: float
    #: Whether a handler of a WebSocket waits for something else than its peer.
    away: bool
    #: The WebSocket that it has become.
    websocket: "WebSocketSession | None"
    #: Whether the peer is known to have left, since the exchange under way began: one that has only ended its side still
    #: gets what it asked for before, as long as no handler waits.
    gone: bool
    #: Body pieces taken since the last wait.
    pieces: int
    #: Whether something waits for the peer to take bytes.
    sending: bool
    #: What the peer had not taken at the last sweep.
    unsent: int
    #: Bytes of bodies that were waited for.
    received: int
    #: How fast the peer is, as far as that was looked at in the exchange under way.
    pace: Pace | None
    #: Whether it was too slow.
    slow: bool
    #: The phase behind a wait: HANDLER, UPGRADED, or at the end LINGER.
    work: Phase
    #: Why the connection was cancelled; None while it was not.
    cause: CancelReason | None
    #: The same for logs, in more words; "" while it was not.
    reason: str

    def __init__(self, server: Owner, scope: anyio.CancelScope, crew: Crew) -> None:
        config = server.config
        self.server: Owner = server
        self.config: ServerConfig = config
        self.scope: anyio.CancelScope = scope
        self.crew: Crew = crew
        self.wire: Http1 = Http1(config.limits, express=config.express)
        self.phase = Phase.IDLE
        self.deadline = None
        self.exchange = None
        self.handling = None
        self.dated = None
        self.away = False
        self.websocket = None
        self.gone = False
        self.cause = None
        self.reason = ""
        self.watching: bool = False
        self.reusable: bool = config.timeouts.keepalive != 0
        self.body_scope: anyio.CancelScope | None = None
        self.send_lock: anyio.Lock | None = None
        self.pieces = 0
        self.sending = False
        self.unsent = 0
        self.received = 0
        self.pace = None
        self.slow = False
        self.work = Phase.HANDLER

    async def run(self) -> None:  # noqa: C901 - the hot path: one straight loop costs less than it would in pieces
        """Serve exchanges, one after the other, until either side ends the connection."""
        server, wire, transport = self.server, self.wire, self.transport
        handler, base = server.handler, copy_context()
        in_a_row = 0
        refusal: Refusal | None = None
        fresh = True  # nobody has asked for anything yet
        phase: Phase | None = None if wire.buffered else _IDLE  # None: a head may be here already
        while True:
            if phase is not None:
                if server.closing:
                    break
                self.phase = phase
                data = await transport.receive()
                if not data:
                    break
                in_a_row = 0
                wire.feed(data)
            try:
                head = wire.next_head()
            except Refusal as exc:
                refusal = exc
                break
            if head is None:
                phase = Phase.HEAD if wire.head_started else _IDLE
                continue
            server.requests_count += 1
            fresh = False
            self.exchange = exchange = Exchange(self, head)
            self.phase, self.deadline, self.gone = _HANDLER, None, False
            self.handling = handling = handler(exchange)
            await run_isolated(handling, base.copy(), self)
            if self.watching:
                self.unwatch()
            if exchange.stage is not _FINISHED or self.body_scope is not None:
                self.abort()  # a truncated response, or a task that the handler left behind in the middle of its body
                return
            if not wire.body_done and not await drop_body(self):
                break
            if not exchange.keep_alive:
                break
            self.exchange = self.handling = None
            del exchange, head, handling
            phase = None if wire.next_cycle() else _IDLE
            self.deadline = None
            in_a_row = (in_a_row + 1) % _FAIR_SHARE
            if not in_a_row:
                await checkpoint()
        if refusal is not None:
            await self._refuse(refusal, fresh=fresh)
        await part(self)

    # -- what an exchange asks for ---------------------------------------------------------------------------------

    async def read_body(self) -> None:
        """Wait for more bytes from the peer, at most `Timeouts.body`, and feed them to the wire."""
        if self.body_scope is not None:
            raise RuntimeError("cannot receive: the request body is being read by another task already")
        self.phase, self.deadline = Phase.BODY, None
        self.body_scope = scope = anyio.CancelScope()
        try:
            with scope:
                data = await self.transport.receive()
        except ConnectionError as exc:
            self.lose()
            raise ConnectionResetError("the peer left before the end of the request body") from exc
        finally:
            self.body_scope = None
            self.pieces = 0
            self.work_on()
        if scope.cancelled_caught:
            if self.slow:
                raise Refusal(408, f"The body arrived at less than {self.config.timeouts.min_rate:g} bytes a second")
            raise Refusal(408, f"No body bytes arrived for {self.config.timeouts.body} seconds")
        if data:
            self.received += len(data)
            self.wire.feed(data)
        elif self.config.half_close == "serve":
            self.wire.feed_eof()
        else:
            self.lose()
            raise ConnectionResetError("the peer left before the end of the request body")

    async def drain(self) -> None:
        """Wait until the peer took enough, at most `Timeouts.send` without progress.  Cancelled, it aborts.

        Raises ClientConnectionResetError when the peer is gone, also when there is nothing to wait for.
        """
        # Without congestion there is no wait: what was written is on its way, or lost.
        await (self.send(self._flush) if self.transport.congested else self._flush())

    async def send(self, step: Callable[[], Awaitable[T]]) -> T:
        """Return what `step` returns; one at a time, and at most `Timeouts.send` without progress.  Cancelled, it aborts."""
        if self.send_lock is None:
            self.send_lock = anyio.Lock()
        async with self.send_lock:
            self.sending = True
            self.phase, self.deadline = Phase.SEND, None
            try:
                return await step()
            except Exception:
                raise
            except BaseException:
                # Part of the data may be on its way: nothing that follows could be understood.
                self.abort()
                raise
            finally:
                self.sending = False
                self.work_on()

    async def give_way(self) -> None:
        """Let other tasks have their turn."""
        self.pieces = 0
        await checkpoint()

    def work_on(self) -> None:
        """Enter the phase of what goes on behind a wait: a handler may read in one task and write in another."""
        waiting = Phase.BODY if self.body_scope is not None else Phase.SEND if self.sending else None
        self.phase, self.deadline = waiting or self.work, None

    async def _flush(self) -> None:
        try:
            await self.transport.drain()
        except ConnectionError as exc:
            self.lose()
            raise ClientConnectionResetError("cannot send: the peer is gone") from exc

    async def close(self) -> None:
        """Send what is unsent, at most `Timeouts.send` without progress, and close."""
        await close(self)

    def hand_over(self) -> UpgradedStream:
        """Give the connection away as a byte stream; HTTP is over."""
        self.work = Phase.UPGRADED
        self.work_on()
        if self.watching:
            self.unwatch()
        self.watching = True  # whoever owns the stream reads it, and sees the departure himself
        return UpgradedStream(self, self.wire.hand_over())

    # -- the peer's departure --------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Have the transport tell when the peer leaves; a WebSocket sees for itself while its handler is away."""
        if self.websocket is not None:
            self.websocket.attend()
            return
        self.watching = True
        self.transport.watch(self._peer_gone)

    def unwatch(self) -> None:
        """End the watch; what was read ahead stays for the next request."""
        self.watching = False
        self.transport.unwatch()

    def lose(self) -> None:
        """Note that the peer has left: the exchange under way sends nothing more."""
        self.gone = True
        exchange = self.exchange
        if exchange is not None and exchange.stage is not Stage.FINISHED:
            exchange.keep_alive = False  # which keeps its response off the express lane, too

    def _peer_gone(self) -> None:
        if self.config.half_close == "serve" and self.transport.ended:
            return  # it has only ended its side; if more is amiss, writing tells
        self.lose()
        exchange = self.exchange
        if exchange is not None and exchange.disconnect == "cancel" and exchange.stage is not Stage.FINISHED:
            self.cancel(CancelReason.CLIENT_GONE)

    # -- what its owner asks for -----------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Work out the deadline of a new phase, or end a phase that has lasted too long."""
        patience.check(self, now)

    def shut(self) -> None:
        """Let the exchange under way be the last one; end a connection without one at once."""
        if self.websocket is not None:
            self.websocket.go_away()
        elif self.phase in (Phase.IDLE, Phase.HEAD) or (self.phase is Phase.LINGER and not self.transport.unsent()):
            self.cancel(CancelReason.SHUTDOWN)

    def cancel(self, cause: CancelReason, detail: str = "") -> None:
        """Cancel whatever the connection does, and end it; the first cause counts, `detail` has more words for logs."""
        reason = detail or cause.value
        if self.cause is None:
            self.cause, self.reason = cause, reason
        logger.debug("Connection cancelled, %s (%s)", reason, self.describe())
        self.scope.cancel(reason)

    def abort(self) -> None:
        """Close the transport at once; unsent bytes are lost."""
        transport = getattr(self, "transport", None)
        if transport is not None:
            exchange = self.exchange
            transport.abort(truncated=exchange is not None and exchange.ends_with_connection)

    def describe(self) -> str:
        """Return who is connected and what the connection does, for logs and reports."""
        transport = getattr(self, "transport", None)
        peer = transport.get_extra_info("peername") if transport is not None else None
        request = f", {self.exchange.head!r}" if self.exchange is not None else ""
        return f"peer {peer}, {self.phase.value}{request}"

    def record(self, now: float) -> ConnectionRecord:
        """Return the same for reports, with the age of the request and the line where its handler waits."""
        transport = getattr(self, "transport", None)
        exchange = self.exchange
        return ConnectionRecord(
            peer=str(transport.get_extra_info("peername")) if transport is not None else "",
            phase=self.phase.value,
            request="" if exchange is None else f"{exchange.head.method} {exchange.head.target}",
            route="" if exchange is None or exchange.route is None else str(exchange.route),
            seconds=0.0 if exchange is None or exchange is not self.dated else now - self.since,
            waits_at=(exchange and exchange.crew and exchange.crew.place()) or await_point(self.handling) or "",
            reason=self.reason,
        )

    # -- endings ---------------------------------------------------------------------------------------------------

    async def _refuse(self, refusal: Refusal, *, fresh: bool) -> None:
        refusal.foreign = refusal.foreign and fresh
        self.exchange = exchange = Exchange.refused(self, refusal)
        self.phase, self.deadline, self.gone = Phase.HANDLER, None, False
        self.handling = handling = self.server.handler(exchange)
        await run_isolated(handling, copy_context(), self)
        if self.watching:
            self.unwatch()
