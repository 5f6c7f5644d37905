"""A scheduler for an application: alive from its start-up until its last handler has ended."""

import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Final, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

import anyio
from anyio.abc import TaskGroup

from structweb._server.firewall import FATAL
from structweb._server.report import StepRecord
from structweb._web.app import Application
from structweb._web.failures import reraise
from structweb._web.keys import AppKey
from structweb._web.request import Request
from structweb.jobs.job import Job
from structweb.jobs.scheduler import ExceptionHandler, Scheduler
from structweb.jobs.work import Work

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds that clean-up gives a scheduler beyond its own patience.
CLEANUP_MARGIN: Final = 0.1

#: Where an application has its scheduler.
AIOJOBS_SCHEDULER: Final = AppKey("AIOJOBS_SCHEDULER", Scheduler)


class SchedulerOptions(TypedDict, total=False):
    """What `Scheduler` takes."""

    close_timeout: float | None
    wait_timeout: float | None
    limit: int | None
    pending_limit: int
    exception_handler: ExceptionHandler | None


class _Embedded(AbstractAsyncContextManager[None, None]):
    """The scheduler of one life of an application, in a task of its own that shelters it.

    What cancels the application must not strike its jobs before clean-up comes to them, with the grace that it has.
    """

    _host: TaskGroup
    _ended: anyio.Event
    _leaving: anyio.Event

    def __init__(self, app: Application, options: SchedulerOptions) -> None:
        self._app = app
        self._scheduler = Scheduler(**options)
        self._shelter = anyio.CancelScope(shield=True)
        self._fatal: BaseException | None = None

    @property
    def cleanup_timeout(self) -> float:
        """How long clean-up lets it take: it has its own patience."""
        return self._scheduler._patience() + CLEANUP_MARGIN

    @property
    def cleanup_records(self) -> list[StepRecord]:
        """The jobs that had to be cut, for the report of the shutdown."""
        return self._scheduler._cut

    async def __aenter__(self) -> None:
        self._ended, self._leaving = anyio.Event(), anyio.Event()
        async with AsyncExitStack() as stack:
            self._host = await stack.enter_async_context(anyio.create_task_group())
            # Not by `start`: cancelled in the moment in which the task tells that it runs, that cancels the task, which
            # its shelter does not let through, and waits for it.
            stack.callback(self._shelter.cancel, "start-up was cancelled")
            begun = anyio.Event()
            self._host.start_soon(self._run, begun, name="structweb jobs")
            await begun.wait()
            self._app[AIOJOBS_SCHEDULER] = self._scheduler
            stack.pop_all()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._leaving.set()
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self._host)
            try:
                await self._ended.wait()
            finally:
                self._shelter.cancel("clean-up was cut short")
        if self._fatal is not None:
            reraise(self._fatal)

    async def _run(self, begun: anyio.Event) -> None:
        try:
            with self._shelter:
                async with self._scheduler:
                    begun.set()
                    await self._leaving.wait()
        except FATAL as exc:
            # Let through, it would stop asyncio's loop under the feet of everything else.
            self._fatal = exc
            self._host.cancel_scope.cancel()
        finally:
            self._ended.set()


class _Embedding:
    """Makes a scheduler for each life of an application: a clean-up context."""

    def __init__(self, options: SchedulerOptions) -> None:
        Scheduler(**options)  # complains now, and not only when the application starts
        self._options = options
        self.__qualname__ = setup.__qualname__  # what reports call the context

    def __call__(self, app: Application) -> _Embedded:
        return _Embedded(app, self._options)


def setup(app: Application, **options: Unpack[SchedulerOptions]) -> None:
    """Give `app` a scheduler, made with `options`; handlers of its sub-applications find it too.

    It lives from start-up until the last handler has ended: as a clean-up context, entered after those that were
    added before this call, and left before them.  Unfinished jobs then get `wait_timeout` seconds.
    RuntimeError for an application that has one.
    """
    if any(isinstance(context, _Embedding) for context in app.cleanup_ctx):
        raise RuntimeError(f"{app!r} has a scheduler already: call structweb.jobs.setup() once")
    app.cleanup_ctx.append(_Embedding(options))


def get_scheduler_from_app(app: Application) -> Scheduler | None:
    """Return the scheduler of `app` itself, None if it has none (yet)."""
    return app.get(AIOJOBS_SCHEDULER)


def get_scheduler_from_request(request: Request) -> Scheduler | None:
    """Return the scheduler of the request's application, or of the nearest one around it; None if there is none."""
    return request.config_dict.get(AIOJOBS_SCHEDULER)


def get_scheduler(request: Request) -> Scheduler:
    """Return what `get_scheduler_from_request` returns; RuntimeError if that is None."""
    scheduler = get_scheduler_from_request(request)
    if scheduler is None:
        raise RuntimeError("Call structweb.jobs.setup() on application initialization")
    return scheduler


@overload
async def spawn(request: Request, coro: Awaitable[T], *, name: str | None = None) -> Job[T]: ...


@overload
async def spawn(
    request: Request, func: Callable[[*Ts], Awaitable[T]], /, *args: *Ts, name: str | None = None
) -> Job[T]: ...


async def spawn(request: Request, coro: Any, *args: Any, name: str | None = None) -> Job[Any]:  # type: ignore[misc]  # Any: see the overloads, whose *Ts mypy finds in no *args
    """Start a job in the scheduler of the request's application: it goes on when the request is over.

    Takes what `Scheduler.spawn` takes.
    """
    return await _scheduler_for(request, coro).spawn(coro, *args, name=name)


@overload
def shield(request: Request, arg: Awaitable[T]) -> Job[T]: ...


@overload
def shield(request: Request, func: Callable[[*Ts], Awaitable[T]], /, *args: *Ts) -> Job[T]: ...


def shield(request: Request, arg: Any, *args: Any) -> Job[Any]:  # type: ignore[misc]  # Any: see the overloads, whose *Ts mypy finds in no *args
    """Start work that must not be cut with the request, and return it to be awaited.

    Takes what `Scheduler.shield` takes.
    """
    return _scheduler_for(request, arg).shield(arg, *args)


def _scheduler_for(request: Request, work: Any) -> Scheduler:  # Any: see `spawn`
    try:
        return get_scheduler(request)
    except RuntimeError:
        Work(work).discard()
        raise


async def create_scheduler(
    *,
    close_timeout: float | None = 0.1,
    limit: int | None = 100,
    pending_limit: int = 10000,
    exception_handler: ExceptionHandler | None = None,
) -> Scheduler:
    """Return a scheduler, which is still to be entered.  Deprecated: make a `Scheduler`."""
    warnings.warn("Scheduler can now be instantiated directly.", DeprecationWarning, stacklevel=2)
    return Scheduler(
        close_timeout=close_timeout, limit=limit, pending_limit=pending_limit, exception_handler=exception_handler
    )
