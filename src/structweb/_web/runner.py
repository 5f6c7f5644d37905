"""Runners: the life of a server, from the application's start-up to its clean-up, in one task."""

import math
import sys
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from structweb._server.accept import Listening
from structweb._server.access_log import AbstractAccessLogger, AccessLogger
from structweb._server.listeners import Listener
from structweb._server.report import ShutdownReport
from structweb._server.signals import open_signals
from structweb._web.app import Application
from structweb._web.aside import Aside
from structweb._web.failures import reraise
from structweb._web.hints import whose
from structweb._web.lifespan import CLEANUP_TIMEOUT, Lifespan
from structweb._web.server import AppServer, Server
from structweb._web.settings import RunnerOptions, check_seconds, settings_from

if TYPE_CHECKING:
    from structweb._web.sites import BaseSite


class GracefulExit(SystemExit):
    """Ends `run_app` as a signal does."""

    code: str | int | None = 1


class State(Enum):
    """The life of a runner."""

    NEW = "not set up"
    STARTING = "being set up"
    RUNNING = "running"
    CLOSING = "being cleaned up"
    CLOSED = "cleaned up"


class BaseRunner(ABC):
    """Holds a server open while sites bring it connections.

    ``async with runner:`` sets up and cleans up.  `setup` and `cleanup` are its two halves: call both from the same
    task, and before `cleanup` close what you opened since `setup` (task groups, cancel scopes, other runners), as
    nested ``async with`` blocks would.  ``await tg.start(runner.run)`` gives the runner a task of its own.

    With `handle_signals`, SIGINT or SIGTERM cancel what the ``async with`` block waits for and leave it, as its end
    does; a second signal ends the shutdown at once.  Between a loose `setup` and `cleanup` the signal cancels what the
    task waits for, and `cleanup`, called in a ``finally``, turns that into `GracefulExit`.

    Told to stop, it gives the notice (`request.shutting_down`, `app.shutting_down`), goes on serving for `drain_delay`
    seconds, in which load balancers find out, stops listening, and lets requests finish for `shutdown_timeout` seconds.
    """

    def __init__(
        self, *, handle_signals: bool = False, shutdown_timeout: float = 60.0, drain_delay: float = 0.0
    ) -> None:
        owner = f"{type(self).__name__}()"
        check_seconds(shutdown_timeout, "shutdown_timeout", owner)
        self.shutdown_timeout = shutdown_timeout
        check_seconds(drain_delay, "drain_delay", owner)
        if drain_delay == math.inf:
            raise ValueError(f"{owner}: drain_delay must be finite, got {drain_delay!r}")
        self.drain_delay = drain_delay
        self._handle_signals = handle_signals
        self._state = State.NEW
        self._task: anyio.TaskInfo | None = None
        self._server: Server | None = None
        self._sites: list[BaseSite] = []
        self._report: ShutdownReport | None = None
        self._stack = AsyncExitStack()
        self._relayed = False
        self._interrupted = False
        self._misnested = False

    @property
    def server(self) -> Server | None:
        """The server that the sites bring connections to; None before set-up and after clean-up."""
        return self._server

    @property
    def sites(self) -> set["BaseSite"]:
        """The sites that listen now."""
        return set(self._sites)

    @property
    def addresses(self) -> list[Any]:  # Any: what getsockname returns depends on the family
        """The addresses that the sites are bound to."""
        return [address for site in self._sites for address in site.addresses]

    @property
    def report(self) -> ShutdownReport | None:
        """What the shutdown finished, cancelled and abandoned; None before it.  Clean-up adds its steps at its end."""
        return self._report

    @abstractmethod
    def _lifespan(self) -> AbstractAsyncContextManager[object]:
        """Return what is entered before, and left after, everything else."""

    @abstractmethod
    def _make_server(self) -> Server:
        """Return the server to open, once the lifespan has been entered."""

    @abstractmethod
    async def shutdown(self) -> None:
        """Run the hooks that help handlers to an end.  Clean-up does it after the last connection was accepted."""

    async def setup(self) -> None:
        """Start up; from then on sites can be started.

        Raises what start-up raised, after everything has been undone.  You owe the runner a `cleanup`, in this task.
        """
        await self.__aenter__()

    async def cleanup(self) -> None:
        """Stop listening, let requests finish for `shutdown_timeout`, cancel the rest, clean up.

        May stand in a ``finally`` while the task is being cancelled: it is shielded, and bounded.  Does nothing when
        there is nothing to clean up.
        """
        if self._state in (State.NEW, State.CLOSED):
            return
        exc = sys.exception()
        cancellation = exc if isinstance(exc, anyio.get_cancelled_exc_class()) else None
        # Unlike the end of an `async with` block, it cannot end what goes on around it: something has to replace that.
        if await self._close(cancellation) and cancellation is not None:
            raise GracefulExit

    async def run(self, *, task_status: TaskStatus[Self] = anyio.TASK_STATUS_IGNORED) -> None:
        """Set up, wait for cancellation, clean up: ``runner = await tg.start(runner.run)``."""
        async with self:
            task_status.started(self)
            await anyio.sleep_forever()

    async def __aenter__(self) -> Self:
        if self._state is not State.NEW:
            raise RuntimeError(f"{self!r} cannot be set up: it is {self._state.value}; make another runner")
        self._state = State.STARTING
        self._task = anyio.get_current_task()
        # Scopes want a loop, and a runner may be made before there is one.
        # Around the application and its connections.  Once that is started it is a shield: what cancels the task from
        # outside ends the body alone; requests under way can finish, and each clean-up has its time.  Cancelled itself,
        # it ends everything.
        self._shelter = anyio.CancelScope()
        # Around the delay before the drain, which is bounded.
        self._delay = anyio.CancelScope(shield=True)
        # Around the code between set-up and clean-up.
        self._body = anyio.CancelScope()
        try:
            await self._open()
        except BaseException as exc:
            if await self._leave(exc):  # only the first signal, or a second one, cancels from inside
                raise GracefulExit from None
            raise
        self._state = State.RUNNING
        if self._relayed:
            self._interrupt()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._state is State.CLOSED:  # somebody has called `cleanup` in the block
            return False
        return await self._close(exc)

    async def _open(self) -> None:
        stack = self._stack
        sentries = await stack.enter_async_context(Aside(anyio.create_task_group()))
        stack.callback(sentries.cancel_scope.cancel)
        await sentries.start(self._relay_cancellation)
        if self._handle_signals:
            await sentries.start(open_signals, self._end_gracefully, self._end_at_once)
        stack.enter_context(self._shelter)
        await stack.enter_async_context(self._lifespan())
        await anyio.lowlevel.checkpoint_if_cancelled()  # tasks of the application may have been struck already
        self._take_shelter()
        server = self._make_server()
        await stack.enter_async_context(Aside(server))
        self._server = server
        stack.push_async_callback(self._drain, server)
        self._body.__enter__()

    def _take_shelter(self) -> None:
        """Keep cancellations from outside away from the application and its connections."""
        self._shelter.shield = True

    async def _relay_cancellation(self, *, task_status: TaskStatus[None]) -> None:
        """Wait outside the shelter for a cancellation of the task, and let it reach the body."""
        try:
            task_status.started()
            await anyio.sleep_forever()
        finally:  # by cancellation; or by a KeyboardInterrupt, which trio raises in whatever task is running
            self._relayed = True
            if self._state is State.RUNNING:
                self._interrupt()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._body.cancel("cancelled from outside")

    async def _close(self, exc: BaseException | None) -> bool:
        """Leave everything in reverse; tell whether `exc` ends here."""
        if anyio.get_current_task() != self._task:
            raise RuntimeError(
                f"{self!r} must be cleaned up by the task that set it up, {self._task}, got {anyio.get_current_task()}; "
                "'await task_group.start(runner.run)' gives a runner a task of its own"
            )
        if self._state is not State.RUNNING:
            raise RuntimeError(f"{self!r} cannot be cleaned up: it is {self._state.value}")
        try:
            ended = bool(self._body.__exit__(type(exc) if exc else None, exc, exc.__traceback__ if exc else None))
        except RuntimeError as error:
            if not self._misnested:
                self._misnested = True
                raise RuntimeError(
                    f"{self!r} cannot be cleaned up yet: something that was opened since its set-up (a task group, a "
                    "cancel scope, another runner) is still open; end it first, as nested 'async with' blocks would"
                ) from error
            ended = False  # trio left the scope at the first attempt: go on with the rest
        self._state = State.CLOSING
        return await self._leave(None if ended else exc) or ended

    async def _leave(self, exc: BaseException | None) -> bool:
        try:
            ended = await self._stack.__aexit__(type(exc) if exc else None, exc, exc.__traceback__ if exc else None)
        except Exception as error:  # noqa: BLE001 - it is raised again
            # Python takes what is being handled around the block (its cancellation, say) for the context of whatever
            # comes out of a coroutine that an exception has resumed; and so has the one that ended the last task here.
            await anyio.lowlevel.cancel_shielded_checkpoint()
            reraise(error)
        finally:
            self._complete_report()
            self._state = State.CLOSED
            self._server = None
            self._sites.clear()
        if self._interrupted:
            await (
                anyio.lowlevel.checkpoint_if_cancelled()
            )  # the body was not left, it was cancelled, and so is the task
        return bool(ended)

    async def _drain(self, server: Server) -> None:
        self._give_notice(server)
        if self.drain_delay:
            with self._delay:
                await anyio.sleep(self.drain_delay)
        try:
            await server.shutdown(self.shutdown_timeout, on_shutdown=self.shutdown)
        finally:
            self._report = server.engine.report

    def _complete_report(self) -> None:  # noqa: B027 - only an application has more to report
        """Add to the report what came behind the connections."""

    def _give_notice(self, server: Server) -> None:
        server.engine.notice.give()

    def _end_gracefully(self) -> None:
        """Take the first signal."""
        if self._state is State.RUNNING:
            self._body.cancel("signal")
        else:
            self._shelter.cancel("signal")

    def _end_at_once(self) -> None:
        """Take the second signal: nothing is waited for any more."""
        self._shelter.cancel("second signal")
        self._delay.cancel("second signal")
        if self._server is not None:
            self._server.hurry()

    # -- for sites -------------------------------------------------------------------------------------------------

    def register(self, site: "BaseSite") -> None:
        """Take `site` among those that listen.  Raises RuntimeError if it is there already, or the runner is not up."""
        if self._state is not State.RUNNING:
            raise RuntimeError(f"cannot start {site!r}: its runner is {self._state.value}")
        if site in self._sites:
            raise RuntimeError(f"cannot start {site!r}: it has been started already")
        self._sites.append(site)

    def listen(self, listener: Listener) -> Listening:
        """Accept connections from `listener`.  Closes it and raises RuntimeError if the runner is not up any more."""
        if self._server is None or self._state is not State.RUNNING:
            listener.close()
            raise RuntimeError(f"cannot listen on {listener.url}: the runner is {self._state.value}")
        return self._server.engine.listen(listener)

    def unregister(self, site: "BaseSite") -> None:
        """Forget `site`.  Raises RuntimeError if it does not listen for this runner."""
        if site not in self._sites:
            raise RuntimeError(f"cannot stop {site!r}: it is not registered in {self!r}")
        self._sites.remove(site)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.value}>"


class AppRunner(BaseRunner):
    """Runs an `Application`: starts it up, serves it, and cleans it up.

    Each step of clean-up (a context, a receiver) is cancelled after `cleanup_timeout` seconds; services have as many.
    Takes the `RunnerOptions` as keyword arguments; those in the application's `handler_args` win over them.
    Raises TypeError for what is no Application and for settings that do not exist.
    """

    def __init__(
        self,
        app: Application,
        *,
        handle_signals: bool = False,
        access_log_class: type[AbstractAccessLogger] = AccessLogger,
        shutdown_timeout: float = 60.0,
        drain_delay: float = 0.0,
        cleanup_timeout: float = CLEANUP_TIMEOUT,
        **options: Unpack[RunnerOptions],
    ) -> None:
        super().__init__(handle_signals=handle_signals, shutdown_timeout=shutdown_timeout, drain_delay=drain_delay)
        if not isinstance(app, Application):
            raise TypeError(f"AppRunner() needs a web.Application, got {app!r}{whose(app)}")
        every: Any = {"access_log_class": access_log_class, **options, **app.handler_args}  # Any: unchecked as yet
        self._settings = settings_from(every, "AppRunner()")
        self._app = app
        self._life = Lifespan(
            app, cleanup_timeout=cleanup_timeout, on_failure=self._fall, on_failed_start=self._take_shelter
        )

    @property
    def app(self) -> Application:
        """The application."""
        return self._app

    async def shutdown(self) -> None:
        """Send the application's on_shutdown.  Clean-up does it after the last connection was accepted."""
        await self._app.shutdown()

    def _lifespan(self) -> AbstractAsyncContextManager[object]:
        return self._life

    def _make_server(self) -> Server:
        return AppServer(self._app, self._settings)

    def _give_notice(self, server: Server) -> None:
        self._life.notice.give()
        super()._give_notice(server)

    def _complete_report(self) -> None:
        if self._report is not None:
            self._report = self._report.with_steps(self._life.steps)

    def _fall(self) -> None:
        """Leave the body, for a service has failed: requests finish, and clean-up raises the error."""
        self._body.cancel("service failed")

    def _end_at_once(self) -> None:
        self._life.hurry()
        super()._end_at_once()


class ServerRunner(BaseRunner):
    """Runs a low-level `Server`, which has no application: no router, no middlewares, no signals.

    Raises TypeError for what is no Server.
    """

    def __init__(
        self,
        web_server: Server,
        *,
        handle_signals: bool = False,
        shutdown_timeout: float = 60.0,
        drain_delay: float = 0.0,
    ) -> None:
        super().__init__(handle_signals=handle_signals, shutdown_timeout=shutdown_timeout, drain_delay=drain_delay)
        if not isinstance(web_server, Server):
            raise TypeError(f"ServerRunner() needs a web.Server, got {web_server!r}")
        self._web_server = web_server

    async def shutdown(self) -> None:
        """Do nothing: there are no hooks."""

    def _lifespan(self) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    def _make_server(self) -> Server:
        return self._web_server
