"""The engine: owner of one server's listeners and connections, from entering to shutdown."""

import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskGroup
from anyio.lowlevel import checkpoint

from structweb._server.accept import Listening
from structweb._server.config import ServerConfig
from structweb._server.connection import Connection
from structweb._server.crew import Crew
from structweb._server.exchange import ExchangeHandler
from structweb._server.firewall import contain, unwrapped
from structweb._server.listeners import Listener
from structweb._server.log import server_logger
from structweb._server.notice import ShutdownNotice
from structweb._server.passing import Passing
from structweb._server.proxied import ProxyGate
from structweb._server.reaper import reap
from structweb._server.report import ShutdownReport
from structweb._server.service import serve_connection
from structweb._server.shields import Shields
from structweb._server.shutdown import Guests
from structweb._server.transport import open_transport, wrap_stream
from structweb._server.transport.base import Transport
from structweb._server.transport.pull import READ_SIZE
from structweb._server.transport.sockets import INHERITS, set_options
from structweb._server.websocket_pulse import Pulse

# Turns of the loop in which connections that seem idle read what lies in the kernel: one until the loop has looked there,
# and one each for a callback, for a task that reads for another, and for that one.
_LAST_ROUNDS: Final = 4
# Seconds between two records about handlers that keep the engine from ending.
_NAMING_INTERVAL: Final = 1.0


class Stage(Enum):
    """Where the life of an engine stands."""

    NEW = "not entered yet"
    OPEN = "open"
    CLOSING = "shutting down"
    CLOSED = "shut down"
    LEFT = "left"


class Engine:
    """Owns every connection of one server: `async with Engine(handler, config) as engine`.

    Leaving ends everything at once; `shutdown` before that lets running exchanges finish.  It is entered and left by
    one task, and what was entered later is left earlier, as with any task group.  Failures of a connection are log
    records.  KeyboardInterrupt, SystemExit and bugs of structweb itself cancel the task that entered the engine and
    are raised when it leaves.
    """

    handler: ExchangeHandler
    config: ServerConfig
    #: The live connections; they come and go by themselves.
    connections: set[Connection]
    #: What connections see of the shutdown: no further request is taken.
    closing: bool
    #: Requests taken so far.
    requests_count: int
    #: The heartbeats of its WebSockets.
    pulse: Pulse
    #: Where connections and their tasks run, from entering to leaving.
    tasks: TaskGroup
    #: What the shutdown did, once it is over.
    report: ShutdownReport | None
    #: The shields of handlers that are up.
    shields: Shields
    #: Given when the shutdown begins, if not earlier.
    notice: ShutdownNotice

    def __init__(self, handler: ExchangeHandler, config: ServerConfig, *, notice: ShutdownNotice | None = None) -> None:
        self.handler = handler
        self.config = config
        self.shields = Shields()
        self.notice = notice or ShutdownNotice()
        self._guests = Guests(self.shields)
        self.connections = self._guests.connections
        self.closing = False
        self.requests_count = 0
        self.pulse = Pulse()
        self.report = None
        self._stage = Stage.NEW
        self._host = 0
        self._listenings: list[Listening] = []
        self._fatal: BaseException | None = None

    async def __aenter__(self) -> Self:
        if self._stage is not Stage.NEW:
            raise RuntimeError(f"an engine is entered once, but this one is {self._stage.value}")
        self._host = anyio.get_current_task().id
        self._shut = anyio.Event()
        self._naming = anyio.CancelScope(shield=True)
        self._stack = AsyncExitStack()
        self._services: TaskGroup = await self._stack.enter_async_context(Passing(anyio.create_task_group()))
        self._stack.callback(self._end_services)
        self.tasks = await self._stack.enter_async_context(Passing(anyio.create_task_group()))
        self._services.start_soon(reap, self.connections, self.shields, name="structweb reaper")
        self._services.start_soon(self.pulse.run, name="structweb pulse")
        self._stage = Stage.OPEN
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        if self._stage in (Stage.NEW, Stage.LEFT):
            raise RuntimeError(f"cannot leave this engine: it is {self._stage.value}")
        if anyio.get_current_task().id != self._host:
            raise RuntimeError(
                "cannot leave this engine: the task that entered it (or set the runner up) must leave it (clean it up)"
            )
        self._close_doors()
        self._guests.strike("server left")
        self.shields.lift("the server was left")
        self._guests.abort()
        self.tasks.cancel_scope.cancel()
        self._stage = Stage.LEFT
        if self._guests.live:
            self._services.start_soon(self._name_the_stubborn, name="structweb farewell")
        failure: BaseException | None = None
        swallowed = None
        try:
            swallowed = await self._stack.__aexit__(exc_type, exc, tb)
        except BaseExceptionGroup as group:
            failure = unwrapped(group)
        failure = self._fatal or failure
        if failure is None:
            return swallowed
        if failure is exc:
            return False
        raise failure

    # -- what it serves --------------------------------------------------------------------------------------------

    @property
    def listenings(self) -> tuple[Listening, ...]:
        """What it listens on now."""
        return tuple(self._listenings)

    def listen(self, listener: Listener) -> Listening:
        """Accept connections from `listener`, which is the engine's from now on, until the returned handle is stopped.

        Raises RuntimeError (and leaves `listener` alone) before the engine is entered and once it shuts down.
        """
        if self._stage is not Stage.OPEN:
            raise RuntimeError(f"cannot listen on {listener.url}: the engine is {self._stage.value}")
        set_options(listener.socket, self.config)
        listening = Listening(listener)
        self._listenings.append(listening)
        self._services.start_soon(self._accept, listening, name=f"structweb accept {listener.url}")
        return listening

    async def _accept(self, listening: Listening) -> None:
        """Accept connections until `listening` is stopped."""
        try:
            listener = listening.listener
            await listening.run(partial(self._admit, listener.ssl_context, gate=listener.gate))
        finally:
            self._listenings.remove(listening)

    def _admit(
        self, ssl_context: ssl.SSLContext | None, sock: socket.socket, peer: object, gate: ProxyGate | None = None
    ) -> None:
        """Start the task of an accepted connection."""
        if self._stage is Stage.LEFT or self._guests.hurried:
            sock.close()
            return
        if not INHERITS:
            set_options(sock, self.config)
        self._guests.arrive()
        self.tasks.start_soon(self._serve_socket, sock, peer, ssl_context, gate, name="structweb connection")

    async def _serve_socket(
        self, sock: socket.socket, peer: object, ssl_context: ssl.SSLContext | None, gate: ProxyGate | None
    ) -> None:
        """Serve an accepted connection to its end."""

        def opener(crew: Crew) -> Awaitable[Transport]:
            if gate is not None:
                return gate.open_transport(sock, self.config, ssl_context, crew, peer)
            return open_transport(sock, self.config, ssl_context=ssl_context, task_group=crew, peername=peer)

        try:
            first = self._first_words(sock, ssl_context, gate) if self.closing else b""
            if self.closing and not first:
                sock.close()  # taken in the moment before the doors closed: nobody is known to want anything
            else:
                await serve_connection(opener, self, first)
        except GeneratorExit:  # pragma: no cover - collected unfinished, after its loop has closed
            raise
        except BaseException as error:  # noqa: BLE001 - the firewall: contain() sorts them
            self._contain(error, f"peer {peer}")
        finally:
            self._guests.depart()

    def _first_words(self, sock: socket.socket, ssl_context: ssl.SSLContext | None, gate: ProxyGate | None) -> bytes:
        """Return what is here of the request of one who came in the moment before the doors closed.

        It is answered: the client's connect succeeded, and its request is in our kernel, which would lose it with the
        socket.  Over TLS there is no request before a handshake, which a shutdown does not wait for; nor does it for
        the rest of a request, or for a proxy.
        """
        if ssl_context is not None or gate is not None or self._stage is not Stage.CLOSING or self._guests.hurried:
            return b""
        try:
            return sock.recv(READ_SIZE)
        except OSError:  # nothing is here (BlockingIOError), or the peer has left
            return b""

    async def serve_stream(self, stream: ByteStream) -> None:
        """Serve one ready stream to its end; the engine closes it.  Once the engine shuts down: closes it at once.

        The connection is the engine's, as any other: cancelling this call cancels the connection, and it is joined
        when the engine is left.
        """
        if self._stage in (Stage.NEW, Stage.LEFT):
            raise RuntimeError(f"cannot serve a stream: the engine is {self._stage.value}")
        if self.closing:
            await anyio.aclose_forcefully(stream)
            return
        scope, done = anyio.CancelScope(), anyio.Event()
        self._guests.arrive()
        self.tasks.start_soon(self._serve_ready, stream, scope, done, name="structweb connection")
        try:
            await done.wait()
        finally:
            scope.cancel()

    async def _serve_ready(self, stream: ByteStream, scope: anyio.CancelScope, done: anyio.Event) -> None:
        """Serve a stream under `scope`, and set `done` at the end."""

        async def opener(crew: Crew) -> Transport:
            return wrap_stream(stream, self.config, crew)

        where = f"peer {stream.extra(SocketAttribute.remote_address, stream)}"  # a closed stream may not know any more
        try:
            with scope:
                try:
                    await serve_connection(opener, self)
                finally:
                    await anyio.aclose_forcefully(stream)  # abort() cannot: not every stream closes without an await
        except GeneratorExit:  # pragma: no cover - collected unfinished, after its loop has closed
            raise
        except BaseException as error:  # noqa: BLE001 - the firewall: contain() sorts them
            self._contain(error, where)
        finally:
            done.set()
            self._guests.depart()

    def _contain(self, error: BaseException, where: str) -> None:
        """Put a connection's failure on record; end the whole engine when it is meant for the program."""
        fatal = contain(error, where)
        if fatal is not None:
            # Raised here, it would tear asyncio's loop down on the spot and run nobody's clean-up.
            self._fatal = self._fatal or fatal
            self._services.cancel_scope.cancel()

    # -- how it ends -----------------------------------------------------------------------------------------------

    async def shutdown(
        self, timeout: float, *, on_shutdown: Callable[[], Awaitable[object]] | None = None
    ) -> ShutdownReport:
        """Stop listening, let running exchanges finish for `timeout` seconds, end what is left; tell what was done.

        Idle connections end at once, and the last response of a busy one says `Connection: close`; who has sent a request
        that was not read yet, or stands in a backlog with one, is busy.  `on_shutdown`
        runs first and within the same patience.  Takes `timeout` and 0.2 s at most, whatever peers do, and if shields
        are up then, `ServerConfig.shield_timeout` more.  What still runs then shields itself without the engine's
        knowledge: it is reported as abandoned, and leaving the engine waits for it.
        Shields itself from an outer cancellation.  A second call waits for the first one and returns its report.
        An error of `on_shutdown` is raised at the end.
        """
        if self._stage in (Stage.NEW, Stage.LEFT):
            raise RuntimeError(f"cannot shut down: the engine is {self._stage.value}")
        with anyio.CancelScope(shield=True):  # bounded: each wait below has its deadline
            if self._stage is Stage.OPEN:
                self._stage = Stage.CLOSING
                try:
                    self._close_doors()
                    for listening in self.listenings:
                        await listening.stop()
                    for _ in range(_LAST_ROUNDS):
                        await checkpoint()
                    patience = self.config.shield_timeout
                    self.report, failure = await self._guests.see_off(timeout, patience, on_shutdown)
                    if failure is not None:
                        raise failure
                    return self.report
                finally:
                    self._stage = Stage.CLOSED if self._stage is Stage.CLOSING else self._stage
                    self._shut.set()
            await self._shut.wait()
        if self.report is None:
            raise RuntimeError("the first shutdown failed: there is no report")
        return self.report

    def hurry(self) -> None:
        """Cancel and abort everything at once, also while a shutdown waits.  Never waits, may be called again."""
        if self._stage in (Stage.NEW, Stage.LEFT):
            return
        self._close_doors()
        self._guests.hurry()

    def _close_doors(self) -> None:
        """Take no further connection, and no further request."""
        self.closing = True
        self.notice.give()
        for listening in self._listenings:
            listening.cancel()

    def _end_services(self) -> None:
        """End what serves connections, now that there are none."""
        self._naming.cancel()
        self._services.cancel_scope.cancel()

    async def _name_the_stubborn(self) -> None:
        """Tell once a second which connections keep the engine from ending.

        Nothing else can be done about a task that shields itself: it has to be waited for.
        """
        with self._naming:
            while True:
                await anyio.sleep(_NAMING_INTERVAL)
                now = anyio.current_time()
                names = "; ".join(str(guest.record(now)) for guest in self.connections)
                server_logger.warning("Waiting for %d that shield themselves: %s", self._guests.live, names)
