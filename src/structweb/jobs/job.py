"""One piece of background work: waited for, closed, and asked how it stands."""

import logging
import sys
import traceback
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio

from structweb._server.firewall import is_ending, unwrapped
from structweb._server.isolation import Steps
from structweb._server.parking import Berth
from structweb._server.report import StepRecord
from structweb._web.failures import fatal_in, reraise
from structweb.jobs.work import Work, trimmed
from structweb.jobs.workers import Worker

if TYPE_CHECKING:
    from structweb.jobs.scheduler import Scheduler

T_co = TypeVar("T_co", covariant=True)

logger: Final = logging.getLogger("structweb.jobs")

#: Whether errors tell who has spawned the job.
_IN_DEV_MODE: Final = sys.flags.dev_mode


class JobCancelled(Exception):
    """The job that was waited for has no result: it was cancelled before it had one."""


class Phase(Enum):
    """The life of a job, in this order; a step may be left out."""

    PENDING = "pending"
    ACTIVE = "active"
    #: It was told to end, and has not yet.
    CLOSING = "closing"
    CLOSED = "closed"


# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a job.
_PENDING: Final = Phase.PENDING
_ACTIVE: Final = Phase.ACTIVE
_CLOSING: Final = Phase.CLOSING
_CLOSED: Final = Phase.CLOSED


def _stack() -> traceback.StackSummary:
    """Return the stack of whoever spawns a job."""
    frame = sys._getframe(1)  # the documented way to a caller
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("structweb.jobs."):
        frame = frame.f_back
    return traceback.extract_stack(frame)


class Job(Generic[T_co]):
    """A piece of work of a `Scheduler`, made by its `spawn` and `shield`.

    Awaiting a job is the same as `wait`.  Exactly one of `pending`, `active` and `closed` is true.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_cancelled",
        "_closers",
        "_context",
        "_error",
        "_heard",
        "_listeners",
        "_name",
        "_owner",
        "_phase",
        "_reason",
        "_source",
        "_traceback",
        "_value",
        "_work",
        "_worker",
    )

    _value: T_co

    def __init__(self, work: Work[T_co], owner: "Scheduler", name: str | None) -> None:
        self._work = work
        self._owner = owner
        self._name = name
        self._phase = _PENDING
        self._began = owner._parking.time()
        #: What does the work, once it runs.
        self._worker: Worker | None = None
        #: What the work runs with, until its end: the context of whoever spawned it.
        self._context: Context | None = copy_context()
        #: Those who wait for the end now, and will be told of an error; None before the first.
        self._listeners: dict[Berth, None] | None = None
        #: How many of those have told it to end, and will be told that it has not.
        self._closers = 0
        #: Whether somebody was told of the error.
        self._heard = False
        self._cancelled = False
        self._reason = "its task was cancelled"
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._source = _stack() if _IN_DEV_MODE else None

    def __repr__(self) -> str:
        state = "pending " if self.pending else "closed " if self.closed else ""
        return f"<Job {state}coro=<{self._work.target}>>"

    def __await__(self) -> Generator[Any, Any, T_co]:  # Any: what is yielded is between the loop and the task
        return self.wait().__await__()

    # -- how it stands ---------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether it runs, and nobody has told it to end."""
        return self._phase is _ACTIVE

    @property
    def pending(self) -> bool:
        """Whether it waits for its turn: the scheduler has as many active jobs as it may."""
        return self._phase is _PENDING

    @property
    def closed(self) -> bool:
        """Whether it has ended, with or without a result, or was told to end."""
        return self._phase is _CLOSING or self._phase is _CLOSED

    @property
    def age(self) -> float:
        """Seconds since it was spawned."""
        return self._owner._parking.time() - self._began

    @property
    def place(self) -> str | None:
        """Where it waits: ``file:line in function`` of the innermost await in its own code.  None unless it runs."""
        return None if self._worker is None or self._phase is _CLOSED else self._work.place()

    def _record(self) -> StepRecord:
        """Return what a report says of a job that has to be cut."""
        name = self.get_name() or self._work.name
        return StepRecord(kind="job", name=name, outcome="cut short", seconds=self.age, waits_at=self.place or "")

    def get_name(self) -> str | None:
        """Return the name given to it, else that of its coroutine or function; None for one that has no name and still waits."""
        return self._name if self._name is not None or self._worker is None else self._work.name

    @property
    def _task_name(self) -> str:
        if self._name is not None:
            return self._name
        return getattr(self._work.target, "__qualname__", None) or self._work.name

    def set_name(self, name: str) -> None:
        """Give it another name, and its task as well."""
        self._name = name
        if self._worker is not None and self._phase is not _CLOSED:
            self._worker.rename(name)

    # -- waiting for it --------------------------------------------------------------------------------------------

    async def wait(self, *, timeout: float | None = None) -> T_co:
        """Return the result, or raise the work's own exception; again and again.

        An exception that leaves a task group alone comes as itself.  Raises `JobCancelled` if the job was closed
        before it had a result.  Cancelling the wait does not touch the job.

        After `timeout` seconds the job is cancelled, given the scheduler's `close_timeout` to end, and TimeoutError
        is raised.  RuntimeError for a job that waits for itself.
        """
        if self._phase is not _CLOSED:
            self._owner._check_loop()
            if self._runs_now():
                raise RuntimeError(f"a job cannot wait for itself: {self!r}")
            if timeout is None:
                await self._listen(None)
            elif not await self._listen(timeout):
                await self._time_out(timeout)
        told = self._told()
        if told:
            del self  # this frame becomes part of the error's traceback: a cycle would keep alive whatever that holds
            reraise(told.pop())
        if self._cancelled:
            raise JobCancelled(f"job {self.get_name() or self._work.name!r} has no result: {self._reason}")
        return self._value

    async def close(self, *, timeout: float | None = None) -> None:
        """Cancel the work and wait for its end, `timeout` seconds or the scheduler's `close_timeout`.

        A pending job never runs.  Raises what the work raises on its way out, and TimeoutError if it has not ended in
        time: it is cancelled all the same, and still the scheduler's.  Does nothing for a job that has ended.
        A job that closes itself is cancelled, as any other.
        """
        if self._phase is _CLOSED:
            return
        self._owner._check_loop()
        patience = self._owner.close_timeout if timeout is None else timeout
        self._closers += 1
        try:
            self._stop("it was closed")
            ended = await self._listen(patience)
        finally:
            self._closers -= 1
        if not ended:
            self._owner._late.add(self)  # this caller is told of it: nobody else needs to be
            raise self._too_late(patience)
        told = self._told()
        if told:
            del self  # as in `wait`
            reraise(told.pop())

    async def _time_out(self, timeout: float) -> None:
        """Close the job after a wait that was too long, and raise TimeoutError."""
        self._stop(f"it took longer than {timeout} s")
        if await self._listen(self._owner.close_timeout):
            self._heard = True
        raise TimeoutError(f"{self!r} took longer than {timeout} s") from self._error

    async def _listen(self, patience: float | None) -> bool:
        """Wait for the end, at most `patience` seconds, as one whom an error will be told; tell whether it has come."""
        berth = self._owner._parking.berth()
        if self._listeners is None:
            self._listeners = {}
        self._listeners[berth] = None
        try:
            if patience is None:
                await berth.wait()
            else:
                with anyio.move_on_after(patience):
                    await berth.wait()
        except BaseException:
            del self._listeners[berth]
            self._report_unheard()  # it may have ended in the very moment in which the wait was cancelled
            raise
        del self._listeners[berth]
        return self._phase is _CLOSED

    def _told(self) -> list[BaseException]:
        """Return what the work raised, as it was when it left the work, for one who raises it; nothing for a good end."""
        error = self._error
        if error is None:
            return []
        self._heard = True
        return [error.with_traceback(self._traceback)]

    def _runs_now(self) -> bool:
        """Tell whether it is the job's own task that asks, and not one that it has started."""
        return self._worker is not None and self._phase is not _CLOSED and self._worker.running

    # -- for the scheduler -----------------------------------------------------------------------------------------

    def _stop(self, reason: str) -> None:
        """Tell the job to end; one that is pending has ended then."""
        if self._phase is _PENDING:
            self._owner._withdraw(self)
            self._discard(reason)
        elif self._phase is _ACTIVE:
            self._phase = _CLOSING
            self._reason = reason
            logger.debug("%r cancelled, %s", self, reason)
            if self._worker is not None and self._context is None:  # it has begun
                self._worker.cancel()

    def _discard(self, reason: str) -> None:
        """End a job that never ran."""
        self._work.discard()
        self._context = None
        self._phase, self._cancelled, self._reason = _CLOSED, True, reason
        self._tell_listeners()

    # -- for its worker --------------------------------------------------------------------------------------------

    def _begin(self) -> tuple[Steps, Callable[..., Any]] | None:  # Any: what the steps yield
        """Return what to step, and what to call each step with: its context.  None if there is nothing to do."""
        context, self._context = self._context, None
        if context is None or self._phase is _CLOSING:  # between its start and its first step
            self._work.discard()
            self._cancelled = True
            return None
        try:
            return self._work.begin(context), context.run
        except BaseException as exc:  # noqa: BLE001 - told to whoever waits, or to the exception handler
            self._fail(exc)
            return None

    def _abandon(self) -> None:
        """End a job that its worker, cancelled in its sleep, did not come to."""
        self._work.discard()
        self._context = None
        self._cancelled = True
        self._settle()

    def _settle(self) -> None:
        """End, with a result, an error or neither."""
        cut = self._cancelled and self._phase is _ACTIVE and is_ending()
        self._phase = _CLOSED
        self._owner._ended(self, cut)
        if self._listeners is not None:
            self._tell_listeners()
        if self._error is not None:
            self._report_unheard()

    def _tell_listeners(self) -> None:
        for berth in self._listeners or ():
            berth.wake()

    def _fail(self, exc: BaseException) -> None:
        """Note what the work raised."""
        cancelled = anyio.get_cancelled_exc_class()
        found: BaseException | None = exc
        if isinstance(exc, cancelled):
            found = None
        elif isinstance(exc, BaseExceptionGroup):
            found = exc.split(cancelled)[1]
        if found is None:
            self._cancelled = True
            return
        self._error = error = unwrapped(found)
        # Without our own frame, which holds the job, which holds the error: a cycle that only the collector would end.
        self._traceback = error.__traceback__
        if error is exc:
            self._traceback = trimmed(self._traceback)
        error.__traceback__ = self._traceback
        fatal = fatal_in(found)
        if fatal is not None:
            self._heard = True  # it comes out of the scheduler's block
            self._owner._end_program(fatal)

    def _report_unheard(self) -> None:
        """Tell the exception handler of an error, unless somebody waits for it or was told."""
        if self._phase is _CLOSED and self._error is not None and not self._heard and not self._listeners:
            self._heard = True
            self._owner._tell(self._report("Job processing failed", self._error))

    def _too_late(self, patience: float | None) -> TimeoutError:
        """Return what is said of a job that ignores its cancellation."""
        place = f", it waits in {self.place}" if self.place else ""
        return TimeoutError(f"{self!r} has not ended {patience} s after it was cancelled{place}")

    def _report(self, message: str, error: BaseException) -> dict[str, Any]:  # Any: each key has its own type
        """Return what the exception handler is told."""
        report = {"message": message, "job": self, "exception": error}
        if self._source is not None:
            report["source_traceback"] = self._source
        return report
