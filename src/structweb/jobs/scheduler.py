"""Owns background jobs: starts them within limits, waits for them, and lets none outlive it."""

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack
from enum import Enum
from types import TracebackType
from typing import Any, Final, Never, Self, TypeAlias, TypeVar, TypeVarTuple, overload

import anyio

from structweb._server.firewall import FATAL
from structweb._server.parking import Parking, find_parking
from structweb._server.report import StepRecord
from structweb._web.failures import reraise
from structweb.jobs.job import Job, Phase
from structweb.jobs.queue import Queue
from structweb.jobs.work import Work
from structweb.jobs.workers import Workers

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger: Final = logging.getLogger("structweb.jobs")

#: Is told of errors that nobody waits for: the scheduler, and "message", "job" and "exception".
ExceptionHandler: TypeAlias = Callable[["Scheduler", dict[str, Any]], object]  # Any: each key has its own type


class Stage(Enum):
    """The life of a scheduler."""

    NEW = "not entered yet"
    OPEN = "open"
    CLOSED = "closed"
    LEFT = "left"


# Looking a member up in its enum takes 0.1 us on CPython 3.11.
_OPEN: Final = Stage.OPEN
_ACTIVE: Final = Phase.ACTIVE


class Scheduler(Collection[Job[Any]]):  # Any: jobs of any result
    """Runs jobs in a task group of its own: ``async with Scheduler() as scheduler``.

    At most `limit` jobs are active at once (None for any number), at most `pending_limit` wait for their turn (0 for
    any number), and whoever spawns one more waits.  Leaving the block waits up to `wait_timeout` seconds for the jobs
    to end, then cancels those that are left, and reports those that have not ended `close_timeout` seconds later.
    A job that ignores its cancellation is waited for all the same: a task cannot be abandoned.

    `exception_handler` is called with the scheduler and a dict (``message``, ``job``, ``exception``) for an error that
    nobody waits for; without one, such errors are logged to ``structweb.jobs``.

    As a collection it has the jobs that are active or pending.  Everything is to be called in the event loop in which
    the scheduler was entered; RuntimeError otherwise.
    """

    _group: anyio.abc.TaskGroup
    _workers: Workers

    def __init__(
        self,
        *,
        close_timeout: float | None = 0.1,
        wait_timeout: float | None = 60,
        limit: int | None = 100,
        pending_limit: int = 10000,
        exception_handler: ExceptionHandler | None = None,
    ) -> None:
        if exception_handler is not None and not callable(exception_handler):
            raise TypeError(f"A callable object or None is expected, got {exception_handler!r}")
        if inspect.iscoroutinefunction(exception_handler):
            raise TypeError(
                f"exception_handler must be a plain function, got the coroutine function {exception_handler!r}"
            )
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, or None for no limit, got {limit!r}")
        if pending_limit < 0:
            raise ValueError(f"pending_limit must be at least 1, or 0 for no limit, got {pending_limit!r}")
        self._close_timeout = close_timeout
        self._wait_timeout = wait_timeout
        self._limit = limit
        self._exception_handler = exception_handler
        self._stage = Stage.NEW
        # Dicts for their order: reports name the oldest first.
        self._active: dict[Job[Any], None] = {}  # Any: of any result, as below
        self._shields: dict[Job[Any], None] = {}  # Any: as above
        self._queue = Queue(pending_limit)
        #: Set when nothing is left; made for those who wait for that.
        self._quiet: anyio.Event | None = None
        #: When those that were told to end are too late; None until they are told.
        self._deadline: float | None = None
        self._late: set[Job[Any]] = set()  # Any: as above
        #: Those that ran when all were told to end, as they were then.
        self._cut: list[StepRecord] = []
        self._fatal: BaseException | None = None
        self._parking: Parking

    def __repr__(self) -> str:
        return f"<Scheduler {'closed ' if self.closed else ''}jobs={len(self)}>"

    # -- the jobs --------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Job[Any]]:  # Any: see the class
        return iter([*self._active, *self._queue])  # a copy: jobs end while somebody awaits one after the other

    def __len__(self) -> int:
        return len(self._active) + len(self._queue)

    def __contains__(self, job: object) -> bool:
        return job in self._active or job in self._queue

    @property
    def shields(self) -> tuple[Job[Any], ...]:  # Any: see the class
        """What `shield` has started and has not ended, the oldest first."""
        return tuple(self._shields)

    @property
    def limit(self) -> int | None:
        """How many jobs may be active at once; None for any number."""
        return self._limit

    @property
    def pending_limit(self) -> int:
        """How many jobs may wait for their turn; 0 for any number."""
        return self._queue.limit

    @property
    def close_timeout(self) -> float | None:
        """Seconds that a cancelled job has before it is reported; None for ever."""
        return self._close_timeout

    @property
    def active_count(self) -> int:
        """How many jobs run."""
        return len(self._active)

    @property
    def pending_count(self) -> int:
        """How many jobs wait for their turn."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether it takes no more jobs."""
        return self._stage is Stage.CLOSED or self._stage is Stage.LEFT

    @property
    def exception_handler(self) -> ExceptionHandler | None:
        """What is told of errors that nobody waits for; None if they are logged."""
        return self._exception_handler

    # -- more of them ----------------------------------------------------------------------------------------------

    @overload
    async def spawn(self, coro: Awaitable[T], name: str | None = None, /) -> Job[T]: ...

    @overload
    async def spawn(self, coro: Awaitable[T], *, name: str | None = None) -> Job[T]: ...

    @overload
    async def spawn(self, func: Callable[[*Ts], Awaitable[T]], /, *args: *Ts, name: str | None = None) -> Job[T]: ...

    async def spawn(self, coro: Any, *args: Any, name: str | None = None) -> Job[Any]:  # type: ignore[misc]  # Any: see the overloads, whose *Ts mypy finds in no *args
        """Start a job: a coroutine, or a function that is called with `args` in the job's task.

        It starts at once if fewer than `limit` jobs are active, else when its turn comes.  Waits (and can be cancelled)
        only while `pending_limit` jobs are pending.  A coroutine that never starts is closed.  The job runs with a copy
        of the caller's context variables.  Raises RuntimeError before the scheduler was entered and once it is closed.
        """
        if len(args) == 1 and isinstance(coro, Awaitable) and (args[0] is None or isinstance(args[0], str)):
            name, args = args[0], ()  # as aiojobs has it
        job = self._put(Work(coro, args), name)
        if job.pending:
            await self._until_queued(job)
        return job

    def _put(self, work: Work[T], name: str | None) -> Job[T]:
        """Start the job of `work` if it need not wait for its turn."""
        if self._stage is not _OPEN or not self._parking.here():
            self._refuse(work)
        job = Job(work, self, name)
        if self._limit is None or len(self._active) < self._limit:
            self._start(job, self._active)
        return job

    async def _until_queued(self, job: Job[Any]) -> None:  # Any: of any result
        """Have a job wait for its turn."""
        await self._queue.put(job)
        if self.closed and job.closed:
            raise RuntimeError("Scheduling a new job after closing")

    @overload
    def shield(self, arg: Awaitable[T]) -> Job[T]: ...

    @overload
    def shield(self, func: Callable[[*Ts], Awaitable[T]], /, *args: *Ts) -> Job[T]: ...

    def shield(self, arg: Any, *args: Any) -> Job[Any]:  # type: ignore[misc]  # Any: see the overloads, whose *Ts mypy finds in no *args
        """Start an awaitable, or a function with `args`, at once and beyond the limit; await the job for its result.

        Whoever awaits it may be cancelled, and the work goes on.  `wait_and_close` waits for it, and `close` cancels
        it.  Raises RuntimeError before the scheduler was entered and once it is closed.
        """
        work = Work(arg, args)
        if self._stage is not _OPEN or not self._parking.here():
            self._refuse(work)
        job = Job(work, self, None)
        self._start(job, self._shields)
        return job

    def _refuse(self, work: Work[Any]) -> Never:  # Any: of any result
        """Discard `work`, and raise RuntimeError for what prevents it."""
        work.discard()
        self._check_loop()
        if self._stage is Stage.NEW:
            raise RuntimeError("cannot start a job: enter the scheduler first (async with Scheduler() as scheduler)")
        raise RuntimeError("Scheduling a new job after closing")

    def _start(self, job: Job[Any], kept: dict[Job[Any], None]) -> None:  # Any: of any result
        job._phase = _ACTIVE
        try:
            job._worker = self._workers.start(job)
        except BaseException:
            job._discard("it could not be started")
            raise
        kept[job] = None

    # -- their end -------------------------------------------------------------------------------------------------

    async def wait_and_close(self, timeout: float | None = None) -> None:
        """Wait for every job and shield, also for those that are spawned meanwhile, then `close`.

        Waits at most `timeout` seconds, or `wait_timeout` if that is None.  Does not raise what jobs raise.
        RuntimeError for a job that calls it: it would wait for itself.
        """
        if self._stage in (_OPEN, Stage.CLOSED):
            self._check_loop()
            for job in [*self._active, *self._shields]:
                if job._runs_now():
                    raise RuntimeError(f"a job cannot wait for the scheduler that it runs in: {job!r}")
            if self._stage is _OPEN:
                with anyio.move_on_after(self._wait_timeout if timeout is None else timeout):
                    await self._until_quiet()
        await self.close()

    async def close(self) -> None:
        """Take no more jobs, discard those that are pending, cancel the others and wait `close_timeout` for their end.

        Those that have not ended then are reported to the exception handler ("Job closing timed out"), unless
        somebody closes them himself.  May be called by several tasks, and again; a job that calls it is cancelled.
        """
        if self._stage is Stage.LEFT:
            return
        self._check_loop()
        self._shut("its scheduler was closed")
        if not self._busy():
            return
        now = anyio.current_time()
        if self._deadline is None:
            self._deadline = float("inf") if self._close_timeout is None else now + self._close_timeout
        # One deadline for all who call: the first one's patience is the jobs'.
        if now < self._deadline:
            with anyio.move_on_at(self._deadline):
                await self._until_quiet()
        for job in [*self._active, *self._shields]:
            if job not in self._late and not job._closers:
                self._late.add(job)
                self._tell(job._report("Job closing timed out", job._too_late(self._close_timeout)))

    def call_exception_handler(self, context: dict[str, Any]) -> None:  # Any: each key has its own type
        """Tell the exception handler, or the log, of an error.  An error of the handler itself is logged beside it."""
        if self._exception_handler is not None:
            try:
                self._exception_handler(self, context)
            except Exception:
                logger.exception("Error in the exception handler of %r", self)
            else:
                return
        job = context.get("job")
        logger.error("%s: %r", context.get("message"), job, exc_info=context.get("exception"))

    def _tell(self, context: dict[str, Any]) -> None:  # Any: as above
        """Tell the exception handler; whatever it raises (it may be a subclass's) ends no task of ours."""
        try:
            self.call_exception_handler(context)
        except FATAL as exc:
            self._end_program(exc)
        except BaseException:
            logger.exception("Error in call_exception_handler of %r", self)

    def _shut(self, reason: str) -> None:
        """Take no more jobs, discard those that are pending, and tell the others to end."""
        if self.closed:
            return
        before, self._stage = self._stage, Stage.CLOSED
        self._queue.close(reason)
        for job in [*self._active, *self._shields]:
            self._cut.append(job._record())
            job._stop(reason)
        if before is _OPEN:
            self._workers.dismiss()

    def _patience(self) -> float:
        """Return how long it may take to wind down."""
        return sum(math.inf if each is None else each for each in (self._wait_timeout, self._close_timeout))

    def _busy(self) -> bool:
        return bool(self._active or self._shields or self._queue)

    async def _until_quiet(self) -> None:
        while self._busy():
            if self._quiet is None:
                self._quiet = anyio.Event()
            await self._quiet.wait()

    def _check_loop(self) -> None:
        """Raise RuntimeError unless called in the event loop in which the scheduler lives."""
        if self._stage is not Stage.NEW:
            self._parking.check(self)

    # -- what jobs tell --------------------------------------------------------------------------------------------

    def _withdraw(self, job: Job[Any]) -> None:  # Any: of any result
        """Forget a pending job."""
        self._queue.remove(job)
        self._tell_if_quiet()

    def _ended(self, job: Job[Any], cut: bool) -> None:  # Any: of any result
        """Forget a job that has run, and start the next one; `cut` if everything around the scheduler is cancelled."""
        if job in self._active:
            del self._active[job]
        else:
            self._shields.pop(job, None)
        if self._late:
            self._late.discard(job)
        if cut:
            self._shut("the task of its scheduler was cancelled")
        if self._limit is not None:
            while len(self._active) < self._limit and (pending := self._queue.take()):
                self._start(pending, self._active)
        self._tell_if_quiet()

    def _tell_if_quiet(self) -> None:
        if self._quiet is not None and not self._busy():
            self._quiet.set()
            self._quiet = None

    def _end_program(self, error: BaseException) -> None:
        """End everything around with a KeyboardInterrupt or SystemExit: it is raised when the block is left."""
        self._fatal = self._fatal or error
        self._group.cancel_scope.cancel()

    # -- the block -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._stage is not Stage.NEW:
            raise RuntimeError(f"a scheduler is entered once, but this one is {self._stage.value}")
        self._parking = find_parking()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._workers = Workers(self._group, self._parking)
        self._stage = _OPEN
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        if self._stage in (Stage.NEW, Stage.LEFT):
            raise RuntimeError(f"cannot leave this scheduler: it is {self._stage.value}")
        cancellation = exc if isinstance(exc, anyio.get_cancelled_exc_class()) else None
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_exit(self._group)
                await self._wind_down()
                if cancellation is not None:
                    reraise(cancellation)
        except BaseException:
            if self._fatal is not None:
                reraise(self._fatal)
            raise
        finally:
            self._stage = Stage.LEFT
        if self._fatal is not None:
            reraise(self._fatal)
        return cancellation is not None  # it was the group's own, which has taken it

    async def _wind_down(self) -> None:
        """Wait for the jobs and close; cancelled meanwhile, close at once."""
        try:
            await self.wait_and_close()
        finally:
            self._shut("the block of its scheduler was cancelled")
            if self._busy():
                with anyio.CancelScope(shield=True):  # as long as `close_timeout`; joining comes after it in any case
                    await self.close()
