"""Where a task waits until plain code wakes it, for what the event loop itself takes for that.

`anyio.Event` is the same thing for all, at three times the price.  What starts a job or waits for one pays here.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    import asyncio

    import trio

#: The name of a task that sleeps until there is work: whoever looks for tasks that were left running passes over it.
IDLE_NAME: Final = "structweb idle worker"


class Berth(ABC):
    """A place for one task: it waits, and is woken by somebody in the same event loop."""

    __slots__ = ()

    @abstractmethod
    def wait(self) -> Awaitable[None]:
        """Return what to await, at once: until the next `wake`, or the task's cancellation."""

    @abstractmethod
    def wake(self) -> None:
        """Wake the task, if it waits and was not woken yet."""


class RunningTask(Protocol):
    """A task, as far as it is known here."""

    def set_name(self, name: str, /) -> None:
        """Give it another name."""

    def cancelling(self) -> int:
        """Return how often it was cancelled without anybody having dealt with it."""


class Parking(ABC):
    """What the running event loop has for tasks that wait."""

    __slots__ = ("time",)

    #: Returns the seconds of the loop's clock.
    time: Callable[[], float]

    @abstractmethod
    def here(self) -> bool:
        """Tell whether the caller runs in that loop."""

    def check(self, asked: object) -> None:
        """Raise RuntimeError unless called in that loop, which is the one of `asked`."""
        if self.here():
            return
        try:
            current_token()
        except RuntimeError as exc:
            raise RuntimeError(
                f"{asked!r} is to be used in its event loop; other threads have anyio.from_thread.run"
            ) from exc
        raise RuntimeError(f"{asked!r} is bound to a different event loop")

    @abstractmethod
    def berth(self) -> Berth:
        """Return a place to wait."""

    @abstractmethod
    def task(self) -> RunningTask:
        """Return the calling task."""


class _AsyncioBerth(Berth):
    __slots__ = ("_future", "_loop")

    def __init__(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    def wait(self) -> Awaitable[None]:
        self._future = future = self._loop.create_future()
        return future

    def wake(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)


class _AsyncioParking(Parking):
    __slots__ = ("_current_task", "_get_loop", "_loop")

    def __init__(self) -> None:
        import asyncio

        self._get_loop: Final = asyncio.get_running_loop
        self._current_task: Final = asyncio.current_task
        self._loop: Final = self._get_loop()
        self.time = self._loop.time

    def here(self) -> bool:
        try:
            return self._get_loop() is self._loop
        except RuntimeError:  # no loop at all
            return False

    def berth(self) -> Berth:
        return _AsyncioBerth(self._loop)

    def task(self) -> RunningTask:
        task = self._current_task()
        if task is None:
            raise RuntimeError("expected to be called by a task, but a callback of the event loop runs")
        return task


class _TrioBerth(Berth):
    __slots__ = ("_lowlevel", "_task")

    def __init__(self) -> None:
        import trio.lowlevel

        self._lowlevel: Final = trio.lowlevel
        self._task: trio.lowlevel.Task | None = None

    def wait(self) -> Awaitable[None]:
        self._task = self._lowlevel.current_task()
        return self._lowlevel.wait_task_rescheduled(self._leave)

    def wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self._lowlevel.reschedule(task)

    def _leave(self, _: object) -> "trio.lowlevel.Abort":
        """Let a cancelled task go."""
        self._task = None
        return self._lowlevel.Abort.SUCCEEDED


class _TrioParking(Parking):
    __slots__ = ("_lowlevel", "_token")

    def __init__(self) -> None:
        import trio.lowlevel

        self._lowlevel: Final = trio.lowlevel
        self._token: Final = trio.lowlevel.current_trio_token()
        self.time = trio.current_time

    def here(self) -> bool:
        return self._lowlevel.in_trio_run() and self._lowlevel.current_trio_token() is self._token

    def berth(self) -> Berth:
        return _TrioBerth()

    def task(self) -> RunningTask:
        return _TrioTask(self._lowlevel.current_task())


class _TrioTask:
    __slots__ = ("_task",)

    def __init__(self, task: "trio.lowlevel.Task") -> None:
        self._task: Final = task

    def set_name(self, name: str, /) -> None:
        self._task.name = name

    def cancelling(self) -> int:
        return 0  # it is a state of scopes, and those have been left


def find_parking() -> Parking:
    """Return the running event loop's."""
    if "trio" in sys.modules:
        from trio.lowlevel import in_trio_run

        if in_trio_run():
            return _TrioParking()
    return _AsyncioParking()
