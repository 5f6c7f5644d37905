"""One application's life: what is entered at start-up and left at clean-up, by one task, last in first out.

The order of a start: the background group, then the root application's clean-up contexts and its on_startup
receivers, with a sub-application's contexts and receivers at the place where it was added, then the services.  The
order of an end: the background tasks and services, every context in strict reverse (a sub-application's before its
parent's), then the on_cleanup receivers, in the order of their lists as in aiohttp.

Each context lies in a cancel scope of its own, which does nothing until the context is left.  Then it bounds how long
that may take; and where the surroundings are cancelled (by a signal, or by a crashed task group that another context
holds open) it becomes the context's shield: otherwise a clean-up would end at its first await.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVarTuple

import anyio

from structweb._server.crew import check_function
from structweb._server.firewall import is_ending, unwrapped
from structweb._server.notice import ShutdownNotice
from structweb._server.report import StepRecord
from structweb._web.background import BackgroundTasks
from structweb._web.contexts import HeldContext
from structweb._web.failures import reraise
from structweb._web.policy import checked_middlewares
from structweb._web.settings import check_seconds
from structweb._web.signal import settle
from structweb._web.unwinding import Step, Unwinding, is_cancellation

if TYPE_CHECKING:
    from structweb._web.app import Application

Ts = TypeVarTuple("Ts")

logger = logging.getLogger("structweb.web")

#: Seconds that clean-up may still take once the task that runs it has been cancelled.
CLEANUP_GRACE: Final = 10.0
#: Seconds that each step of a clean-up may take.
CLEANUP_TIMEOUT: Final = 10.0


class SubApplicationHook:
    """The place of a sub-application among its parent's receivers; sends the sub-application's own signal."""

    __slots__ = ("_signal_name", "subapp")

    def __init__(self, subapp: "Application", signal_name: str) -> None:
        self.subapp = subapp
        self._signal_name = signal_name

    async def __call__(self, parent: "Application") -> None:
        """Send the signal of the same name to the sub-application."""
        await getattr(self.subapp, self._signal_name).send(self.subapp)

    def __repr__(self) -> str:
        return f"<{self._signal_name} of {self.subapp!r}>"


class Stage(Enum):
    """How far a life has come."""

    NEW = "not started"
    RUNNING = "running"
    ENDED = "ended"


class Lifespan:
    """The life of `app` and of its sub-applications, as a context manager: ``async with Lifespan(app): serve()``.

    Entering raises what a context or a receiver raised, after unwinding what was entered before it.

    When a background task crashes (one of `start_soon`, a critical service, or one in a task group that a clean-up
    context holds open), the body is cancelled, everything is cleaned up, and the block raises the task's own exception.
    With `on_failure`, tasks of `start_soon` and services call that in place of cancelling the body: it has to bring
    the body to an end.  `on_failed_start` is called before a start is undone that has raised an error: it may shelter
    that from cancellations.

    Leaving runs every clean-up, whatever becomes of the others, and raises what they raised: one error as itself,
    several as a `CleanupError`.  If the body raised an error of its own, that one comes out and theirs are logged.

    Enter and leave in the same task, and leave first what you entered in between.  Once that task is cancelled,
    clean-up has `grace` seconds; the attribute may be lowered at any time (0 cuts each clean-up at its first await).

    A step of the clean-up that takes longer than `cleanup_timeout` is cancelled, and the next one has its turn.
    """

    def __init__(
        self,
        app: "Application",
        *,
        grace: float = CLEANUP_GRACE,
        cleanup_timeout: float = CLEANUP_TIMEOUT,
        on_failure: Callable[[], None] | None = None,
        on_failed_start: Callable[[], None] | None = None,
    ) -> None:
        check_seconds(cleanup_timeout, "cleanup_timeout", "Lifespan()")
        self.grace = grace
        self.cleanup_timeout = cleanup_timeout
        #: What the clean-up did, step by step, once it is over.
        self.steps: tuple[StepRecord, ...] = ()
        self._app = app
        self._stage = Stage.NEW
        self._task_id = 0
        self._held: list[HeldContext] = []
        self._joined: list[Application] = []
        #: Given when the server is told to stop, or when the lifespan is left.
        self.notice: Final = ShutdownNotice()
        self._started = False
        self._on_failure = on_failure
        self._on_failed_start = on_failed_start
        self._background = BackgroundTasks(self._stop)
        self._unwinding: Unwinding | None = None
        self._hurried = False

    @property
    def started(self) -> bool:
        """Whether everything has been started."""
        return self._started

    async def __aenter__(self) -> Self:
        if self._stage is not Stage.NEW:
            raise RuntimeError(f"cannot start {self._app!r}: its lifespan is {self._stage.value}")
        self._stage = Stage.RUNNING
        self._task_id = anyio.get_current_task().id
        await self._background.open()
        try:
            await self._join(self._app)
            self._app.pre_freeze()
            for app in self._joined:
                checked_middlewares(app.middlewares)
            for service in self._app.services:
                service.reset()
                self._background.start_soon(service.run, name=f"service {service.name}", service=True)
                await service.wait_ready()
            self._app.freeze()
            self._started = True
        except BaseException as exc:
            await self._fail(exc)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        if self._stage is not Stage.RUNNING:
            raise RuntimeError(f"cannot clean up {self._app!r}: its lifespan is {self._stage.value}")
        if anyio.get_current_task().id != self._task_id:
            raise RuntimeError(f"{self._app!r} must be cleaned up by the task that started it, got another task")
        unwinding = await self._unwind(exc, completed=True)
        interrupt = unwinding.interrupt
        self._raise_failure(unwinding, exc)
        if (exc is not None and not is_cancellation(exc)) or (interrupt is not None and not is_cancellation(interrupt)):
            unwinding.log_errors("after another error")
        else:
            unwinding.raise_errors()
        if interrupt is not None and interrupt is not exc:
            if exc is not None and not is_cancellation(exc):
                logger.error("An error while %r ended the application", interrupt, exc_info=exc)
            reraise(interrupt)
        return exc is not None and interrupt is None and is_cancellation(exc)

    def start_soon(self, func: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None) -> None:
        """Run ``func(*args)`` in the background, see `Application.start_soon`."""
        check_function(func, "app.start_soon()")
        if self._stage is not Stage.RUNNING:
            raise RuntimeError(f"cannot start {func!r}: the lifespan of {self._app!r} is {self._stage.value}")
        self._background.start_soon(func, *args, name=name)

    def hurry(self) -> None:
        """Cut each clean-up at its first await, the one under way at the one where it stands.  May be called at any time."""
        self._hurried = True
        if self._unwinding is not None:
            self._unwinding.hurry()

    def _stop(self) -> None:
        """End the body: a background task has failed."""
        if self._started and self._on_failure is not None:
            self._on_failure()
        else:
            self._background.task_group.cancel_scope.cancel()

    def _raise_failure(self, unwinding: Unwinding, exc: BaseException | None) -> None:
        """Raise what a background task failed with, unless an error of the body or something fatal comes out."""
        failure = self._background.failure
        if failure is None:
            return
        for other in (exc, unwinding.interrupt):
            if other is not None and not is_cancellation(other):
                logger.error("A background task failed as well", exc_info=failure)
                return
        unwinding.log_errors("after a background task had failed")
        reraise(failure)

    async def _join(self, app: "Application") -> None:
        """Enter the contexts of `app` and call its on_startup receivers."""
        if app in self._joined:  # added twice, say under two domains: it lives once
            return
        self._joined.append(app)
        app.join(self)
        for factory in app.cleanup_ctx:
            self._held.append(await HeldContext.enter(factory, app))
        app.cleanup_ctx.freeze()
        app.on_startup.freeze()
        for receiver in app.on_startup:
            if isinstance(receiver, SubApplicationHook):
                await self._join(receiver.subapp)
            else:
                await _call(receiver, app)

    async def _fail(self, exc: BaseException) -> None:
        """Unwind a start that `exc` ended; raise what is behind `exc`, or return if that is `exc` itself."""
        if self._on_failed_start is not None and isinstance(exc, Exception):
            self._on_failed_start()
        unwinding = await self._unwind(exc, completed=False)
        self._raise_failure(unwinding, exc)
        if not is_cancellation(exc):
            unwinding.log_errors("after a failed start")
            original = unwrapped(exc)
            if original is not exc:
                reraise(original)
            return
        if unwinding.interrupt is not None and not is_cancellation(unwinding.interrupt):
            unwinding.log_errors("after a failed start")
            reraise(unwinding.interrupt)
        unwinding.raise_errors()  # the crash of a background task is what cancelled the start
        if unwinding.interrupt is None:
            raise RuntimeError(f"the start of {self._app!r} was cancelled by a cancel scope of one of its contexts")

    async def _unwind(self, exc: BaseException | None, *, completed: bool) -> Unwinding:
        """Run every clean-up there is, on_cleanup only if the start was `completed`."""
        self._stage = Stage.ENDED
        self.notice.give()
        background = self._background
        interrupt = exc if exc is not None and is_cancellation(exc) else None
        self._unwinding = unwinding = Unwinding(background.task_group, lambda: self.grace, interrupt)
        if self._hurried:
            unwinding.hurry()
        # What comes behind it needs some of the time that a cancelled task has for all.
        seconds = self.grace / 2 if is_ending() else self.cleanup_timeout
        ending = Step("tasks", "of background tasks", partial(background.stop, seconds), math.inf)
        await unwinding.run(ending, anyio.CancelScope().__enter__())
        while self._held:
            held = self._held.pop()
            budget = self.cleanup_timeout if held.budget is None else held.budget
            await unwinding.run(Step("context", held.name, held.leave, budget), held.scope)
            unwinding.records += held.records
        if completed:
            for receiver, app in self._cleanup_receivers(self._app):
                name = getattr(receiver, "__qualname__", None) or repr(receiver)
                step = Step("on_cleanup", name, partial(_call, receiver, app), self.cleanup_timeout)
                await unwinding.run(step, anyio.CancelScope().__enter__())
        await unwinding.leave()
        self.steps = (*background.records, *unwinding.records)
        unwinding.errors[:0] = background.late
        unwinding.interrupt = background.fatal or unwinding.interrupt
        for app in self._joined:
            app.part(self)
        return unwinding

    def _cleanup_receivers(
        self, app: "Application", seen: set["Application"] | None = None
    ) -> Iterator[tuple[Callable[["Application"], Awaitable[object] | None], "Application"]]:
        """Yield the on_cleanup receivers of `app` and its sub-applications, each application's once."""
        seen = {app} if seen is None else seen
        for receiver in app.on_cleanup:
            if not isinstance(receiver, SubApplicationHook):
                yield receiver, app
            elif receiver.subapp not in seen:
                seen.add(receiver.subapp)
                yield from self._cleanup_receivers(receiver.subapp, seen)


async def _call(receiver: Callable[["Application"], Awaitable[object] | None], app: "Application") -> None:
    await settle(receiver, receiver(app))
