"""A clean-up under way: step after step, each with a budget of its own, whatever became of those before."""

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from structweb._server.firewall import is_ending, unwrapped
from structweb._server.report import StepRecord
from structweb._server.whereabouts import await_point
from structweb._web.failures import CleanupError, reraise

logger = logging.getLogger("structweb.web")

#: Seconds between two records about a step that does not end though it has been cancelled.
NAMING_INTERVAL: Final = 10.0


@dataclass(eq=False, slots=True)
class Step:
    """A step of a clean-up, which may take `budget` seconds."""

    kind: str
    name: str
    call: Callable[[], Awaitable[object]]
    budget: float
    #: What it awaits.
    awaited: object = None
    #: Whether it was cancelled because its time was up.
    late: bool = False
    #: Where it was then.
    waits_at: str = ""
    #: Set when nothing looks at the time any more; None if nothing ever has.
    watched: anyio.Event | None = None
    #: Around what looks at the time.
    watching: anyio.CancelScope = field(default_factory=lambda: anyio.CancelScope(shield=True))


class Unwinding:
    """Runs the steps of a clean-up, and keeps what they raised.

    What looks at their time runs in `task_group`, the outermost one of what is cleaned up.
    """

    def __init__(self, task_group: TaskGroup, grace: Callable[[], float], interrupt: BaseException | None) -> None:
        self.errors: list[Exception] = []
        #: The cancellation (or KeyboardInterrupt, SystemExit) that is on its way outwards meanwhile.
        self.interrupt = interrupt
        #: What became of the steps.
        self.records: list[StepRecord] = []
        self._task_group = task_group
        self._grace = grace
        #: When the surroundings were found to be cancelled.
        self._cancelled_at: float | None = None
        self._hurried = False
        #: The step under way, and what it runs in.
        self._current: tuple[Step, anyio.CancelScope] | None = None

    def hurry(self) -> None:
        """Cut the step under way, and each one behind it at its first await."""
        self._hurried = True
        if self._current is not None:
            self._cut(*self._current, "clean-up is in a hurry")

    @staticmethod
    def _cut(step: Step, scope: anyio.CancelScope, reason: str) -> None:
        """Cancel a step, and note where it is."""
        if not step.late:
            step.late = True
            step.waits_at = await_point(step.awaited) or ""
        scope.cancel(reason)

    async def run(self, step: Step, scope: anyio.CancelScope) -> None:
        """Run `step` and exit `scope`, which was entered before; shield it if the surroundings are cancelled."""
        start = anyio.current_time()
        limit = start + step.budget
        if is_ending():
            if self._cancelled_at is None:
                self._cancelled_at = start
            limit = min(limit, self._cancelled_at + self._grace())
            scope.shield = True
        self._current = step, scope
        if limit <= start or self._hurried:
            scope.cancel("clean-up has no time any more")
        elif limit < math.inf:
            step.watched = watched = anyio.Event()
            self._task_group.start_soon(
                self._watch, step, watched, scope, limit, name=f"structweb clean-up {step.name}"
            )
        cut = False
        error: BaseException | None = None
        try:
            with ExitStack() as stack:
                stack.push(scope)
                step.awaited = awaited = step.call()
                await awaited
        except Exception as exc:  # noqa: BLE001 - it is raised when every step has run
            error = self.note(exc)
        except BaseException as exc:  # noqa: BLE001 - it goes on when every step has run
            self.interrupt = unwrapped(exc)
            cut = is_cancellation(exc)
        finally:
            self._current = None
            step.awaited = None
            if step.watched is not None:
                step.watching.cancel()
                await self._outwait(step.watched)
        seconds = anyio.current_time() - start
        if step.late or scope.cancelled_caught or (cut and scope.cancel_called):
            where = f", at {step.waits_at}" if step.waits_at else ""
            logger.warning("Clean-up %s was cut short after %.3g s%s", step.name, seconds, where)
            cut = True
        if step.kind != "tasks":  # they have records of their own
            outcome = "cut short" if cut else "done" if error is None else "failed"
            said = "" if error is None else repr(error)
            self.records.append(
                StepRecord(
                    kind=step.kind, name=step.name, outcome=outcome, seconds=seconds, error=said, waits_at=step.waits_at
                )
            )

    async def _outwait(self, watched: anyio.Event) -> None:
        """Wait for what watched a step, which has nothing to wait for any more.

        asyncio's own cancellations come through a shield: they go on when every step has run.
        """
        with anyio.CancelScope(shield=True):
            ended = False
            while not ended:
                try:
                    await watched.wait()
                    ended = True
                    await anyio.lowlevel.checkpoint()  # asyncio's task group counts it out a turn later
                except anyio.get_cancelled_exc_class() as exc:
                    self.interrupt = self.interrupt or exc

    async def _watch(self, step: Step, watched: anyio.Event, scope: anyio.CancelScope, limit: float) -> None:
        """Cancel a step when its time is up; and if it does not end then, say so: it has to be waited for."""
        try:
            with step.watching:
                await anyio.sleep_until(limit)
                self._cut(step, scope, "clean-up has used up its time")
                while True:
                    await anyio.sleep(NAMING_INTERVAL)
                    where = await_point(step.awaited)
                    logger.warning("Waiting for clean-up %s, which does not stop, at %s", step.name, where)
        finally:
            watched.set()

    async def leave(self) -> None:
        """Leave the outermost task group; it swallows the cancellation if a scope inside was the reason for it."""
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_exit(self._task_group)
                self._task_group.cancel_scope.cancel()
                if self.interrupt is not None and is_cancellation(self.interrupt):
                    reraise(self.interrupt)
        except Exception as exc:  # noqa: BLE001 - it is raised when every step has run
            self.note(exc)
        except BaseException as exc:  # noqa: BLE001 - the caller lets it go on
            self.interrupt = unwrapped(exc)
        else:
            if self.interrupt is not None and is_cancellation(self.interrupt):
                self.interrupt = None

    def note(self, error: Exception) -> Exception:
        """Keep an error of a step, and return it."""
        found = unwrapped(error)
        kept = found if isinstance(found, Exception) else error
        self.errors.append(kept)
        return kept

    def raise_errors(self) -> None:
        """Raise what the steps raised, if anything."""
        if len(self.errors) > 1:
            raise CleanupError("Multiple errors on cleanup stage", self.errors)
        if self.errors:
            reraise(self.errors[0])

    def log_errors(self, occasion: str) -> None:
        """Log what the steps raised, where another error comes out."""
        for error in self.errors:
            logger.error("Error in a clean-up %s", occasion, exc_info=error)


def is_cancellation(exc: BaseException) -> bool:
    """Tell whether `exc` is the running backend's cancellation."""
    return isinstance(exc, anyio.get_cancelled_exc_class())
