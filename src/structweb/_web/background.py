"""The tasks of an application beside its requests: those of `start_soon`, and its services.

They live in one task group, entered before and left after everything else of the application.  A task that fails does
not cancel the group, which holds the connections too: it asks for the end, requests finish in their time, and then its
error comes out.  At the end the loose tasks are cancelled first, all together, then the services, last in first out.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVarTuple

import anyio
import anyio.abc

from structweb._server.crew import awaitable_of
from structweb._server.firewall import is_ending, unwrapped
from structweb._server.report import StepRecord
from structweb._server.whereabouts import await_point
from structweb._web.failures import fatal_in

Ts = TypeVarTuple("Ts")

logger = logging.getLogger("structweb.web")

#: Seconds for the rest once a task has used up the time that all of them had.
LAST_CALL: Final = 0.1
#: Seconds between two records about tasks that keep the application from ending.
NAMING_INTERVAL: Final = 10.0


def stray(who: str, error: BaseException) -> RuntimeError:
    """Return an error in place of one that is no Exception: a cancellation that nobody ordered, or another backend's."""
    replacement = RuntimeError(f"{who} ended with {error!r}, but it was not told to end")
    replacement.__cause__ = error
    return replacement


@dataclass(eq=False, slots=True)
class Running:
    """A task that has not ended."""

    name: str
    service: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    #: What it awaits.
    awaited: object = None
    #: When it was told to end.
    told: float | None = None
    #: Whether a report has it.
    recorded: bool = False

    def end(self) -> None:
        """Tell it to end."""
        if self.told is None:
            self.told = anyio.current_time()
        self.scope.cancel()

    def record(self, outcome: str, error: Exception | None = None, waits_at: str = "") -> StepRecord:
        """Return what a report says of it."""
        kind, name = ("service", self.name.removeprefix("service ")) if self.service else ("task", self.name)
        seconds = 0.0 if self.told is None else anyio.current_time() - self.told
        said = "" if error is None else repr(error)
        return StepRecord(kind=kind, name=name, outcome=outcome, seconds=seconds, error=said, waits_at=waits_at)

    def __str__(self) -> str:
        where = await_point(self.awaited)
        return f"{self.name} (at {where})" if where else self.name


class BackgroundTasks:
    """The task group of an application's own tasks; `on_failure` is called when one of them fails."""

    task_group: anyio.abc.TaskGroup

    def __init__(self, on_failure: Callable[[], None]) -> None:
        #: The KeyboardInterrupt or SystemExit of a task.
        self.fatal: BaseException | None = None
        #: The error that stopped the application.
        self.failure: Exception | None = None
        #: What tasks raised when they were told to stop.
        self.late: list[Exception] = []
        #: How tasks ended: those that failed, and those that were there when all were told to stop.
        self.records: list[StepRecord] = []
        self._on_failure = on_failure
        self._running: list[Running] = []
        self._stopping = False
        self._changed = anyio.Event()

    async def open(self) -> None:
        """Enter the task group; `Unwinding.leave` leaves it."""
        self.task_group = anyio.create_task_group()
        await self.task_group.__aenter__()

    def start_soon(
        self, func: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object, service: bool = False
    ) -> None:
        """Start a task.  Not to be called after `stop`."""
        task = Running(str(name or getattr(func, "__qualname__", func)), service)
        self._running.append(task)
        self.task_group.start_soon(self._run, task, func, args, name=name or func)

    async def stop(self, seconds: float) -> None:
        """Cancel the tasks one by one (cancelling their group would cancel its owner) and wait for them.

        Returns after `seconds` and a last call in any case.  A task that shields itself cannot be ended: it is named in
        the log, again and again, while leaving the task group waits for it.
        """
        self._stopping = True
        try:
            with anyio.move_on_after(seconds):
                await self._end([task for task in self._running if not task.service])
                while self._running:
                    await self._end(self._running[-1:])
            if self._running:
                with anyio.move_on_after(LAST_CALL):
                    await self._end(list(self._running))
        finally:
            if self._running:
                for task in self._running:
                    task.end()
                    task.recorded = True
                    self.records.append(task.record("abandoned", waits_at=await_point(task.awaited) or ""))
                self.task_group.start_soon(self._name_the_stubborn, name="structweb farewell")

    async def _end(self, tasks: list[Running]) -> None:
        for task in tasks:
            task.end()
        while any(task in self._running for task in tasks):
            self._changed = anyio.Event()
            await self._changed.wait()

    async def _run(self, task: Running, func: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]) -> None:
        try:
            with task.scope:
                task.awaited = awaited = awaitable_of(func, *args)
                await awaited
        except GeneratorExit:  # pragma: no cover - collected unfinished, after its loop has closed
            raise
        except BaseException as exc:
            error = unwrapped(exc)
            fatal = fatal_in(exc)
            if fatal is not None:
                # Let through, it would stop asyncio's loop under the feet of everything else.
                self.fatal = fatal
                self.task_group.cancel_scope.cancel()
            elif isinstance(error, Exception):
                self._failed(task, error)
            elif isinstance(error, anyio.get_cancelled_exc_class()) and is_ending():
                raise
            else:  # a stray cancellation, say: on asyncio it would end the whole group, and nobody would know why
                self._failed(task, stray(f"background task {task.name}", error))
        finally:
            if self._stopping and not task.recorded:
                self.records.append(task.record("done"))
            task.awaited = None
            self._running.remove(task)
            self._changed.set()

    def _failed(self, task: Running, error: Exception) -> None:
        task.recorded = True
        self.records.append(task.record("failed", error))
        if self._stopping:
            self.late.append(error)
        elif self.failure is None:
            self.failure = error
            logger.error("The application stops: %s failed with %r", task.name, error)
            self._on_failure()
        else:
            logger.error("%s failed while the application stops", task.name, exc_info=error)

    async def _name_the_stubborn(self) -> None:
        """Tell which tasks keep the application from ending: they have to be waited for."""
        with anyio.CancelScope(shield=True):
            while self._running:
                names = "; ".join(map(str, self._running))
                logger.warning("Waiting for %d background tasks that do not stop: %s", len(self._running), names)
                with anyio.move_on_after(NAMING_INTERVAL):
                    while self._running:
                        self._changed = anyio.Event()
                        await self._changed.wait()
