"""The tasks of a scheduler: each does one job after the other, and sleeps in between.

To start a task and to end it costs more than all else about a job.  A job notices nothing of it: its context is its
own, its task has its name, and a task that was cancelled, or whose job left something behind, takes no other job.
"""

import inspect
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from anyio.abc import TaskGroup

from structweb._server.isolation import WRAPPER, Steps
from structweb._server.parking import IDLE_NAME, Parking, RunningTask

if TYPE_CHECKING:
    from structweb.jobs.job import Job

#: How many sleep at most; those beyond end.
IDLE_MOST: Final = 1024


class Handle(Protocol):
    """What a task group returns for a task that it starts."""

    def cancel(self) -> None:
        """Cancel the task."""


class Worker:
    """One task."""

    __slots__ = ("_berth", "_cancelled", "_coro", "_handle", "_job", "_task", "_workers")

    def __init__(self, workers: "Workers", job: "Job[Any]", group: TaskGroup, context: Context) -> None:
        """Start a task in `group` that begins with `job`.  Any: of any result."""
        self._workers: Final = workers
        self._berth: Final = workers.parking.berth()
        #: Known from its first step on.
        self._task: RunningTask | None = None
        #: What it does, or is to do when it wakes.
        self._job: Job[Any] | None = job  # Any: as above
        self._cancelled = False
        self._coro: Final = self._run()
        self._handle: Final[Handle] = group.create_task(self._coro, name=job._task_name, context=context)

    @property
    def running(self) -> bool:
        """Whether it is this task that runs in this moment."""
        return inspect.getcoroutinestate(self._coro) is inspect.CORO_RUNNING

    def take(self, job: "Job[Any]") -> None:  # Any: as above
        """Wake up, and do that."""
        self._job = job
        if self._task is not None:
            self._task.set_name(job._task_name)
        self._berth.wake()

    def rename(self, name: str) -> None:
        """Give the task another name."""
        if self._task is not None:  # before its first step it has none to give: it looks then
            self._task.set_name(name)

    def dismiss(self) -> None:
        """Wake up, and end."""
        self._berth.wake()

    def cancel(self) -> None:
        """Cancel the job, and end with it."""
        self._cancelled = True
        self._handle.cancel()

    async def _run(self) -> None:
        self._task = task = self._workers.parking.task()
        if self._job is not None:
            task.set_name(self._job._task_name)
        try:
            await self._work(task)
        except anyio.get_cancelled_exc_class():
            # Struck in its sleep: there is nobody to tell, but for a job that it has not come to any more.
            if self._job is not None:
                self._job._abandon()
            elif self in self._workers.idle:
                self._workers.idle.remove(self)

    @coroutine
    def _work(
        self, task: RunningTask
    ) -> Generator[Any, Any, None]:  # Any: what a backend's traps yield and take is its own affair
        """Step one job after the other by hand, each in its own context."""
        workers, wait = self._workers, self._berth.wait
        job: Job[Any] | None  # Any: of any result
        begun: tuple[Steps, Callable[..., Any]] | None  # Any: as above
        stepped: Any  # Any: Steps, or None in between, as those that follow
        run: Any  # Any: as above
        trap: Any  # Any: as above
        value: Any  # Any: as above
        while (job := self._job) is not None:
            begun = job._begin()
            if begun is not None:
                stepped, run = begun
                try:
                    trap = run(stepped.send, None)
                    while True:
                        try:
                            value = yield trap
                        except BaseException as exc:  # noqa: BLE001 - whatever the backend throws belongs to the job
                            thrown = [exc]
                        else:
                            trap = run(stepped.send, value)
                            continue
                        # Not while it is handled here, else it would be the context of all that the job raises now.
                        trap = run(stepped.throw, thrown.pop())
                except StopIteration as stop:
                    job._value = stop.value
                except GeneratorExit:  # collected unfinished, after its loop has closed
                    raise
                except BaseException as exc:  # noqa: BLE001 - told to whoever waits, or to the exception handler
                    job._fail(exc)
            self._job = None
            job._settle()
            # What this frame holds would live for as long as it sleeps.
            job = begun = stepped = run = trap = value = None
            if self._cancelled or task.cancelling() or len(workers.idle) >= workers.idle_most:
                return
            workers.idle.append(self)
            task.set_name(IDLE_NAME)
            yield from wait().__await__()


class Workers:
    """The workers of one scheduler, which run in `group`."""

    __slots__ = ("_context", "_group", "idle", "idle_most", "parking")

    def __init__(self, group: TaskGroup, parking: Parking) -> None:
        self._group: Final = group
        self.parking: Final = parking
        #: The workers' own: what a job's context holds would live as long as they.
        self._context: Final = copy_context()
        self._context.run(WRAPPER.set, None)  # what they do is wrapped, and not they themselves
        #: Those that sleep, the one that lay down last at the end; and how many may.
        self.idle: list[Worker] = []
        self.idle_most: int = IDLE_MOST

    def start(self, job: "Job[Any]") -> Worker:  # Any: of any result
        """Have a job done, from the next turn of the event loop on."""
        if self.idle:
            worker = self.idle.pop()
            worker.take(job)
        else:
            worker = Worker(self, job, self._group, self._context)
        return worker

    def dismiss(self) -> None:
        """End those that sleep, and each other one after its job."""
        self.idle_most = 0
        idle, self.idle = self.idle, []
        for worker in idle:
            worker.dismiss()
