"""A task of asyncio's own for code that knows nothing else, and is cancelled the way it expects: once.

anyio's cancellation is a state: as long as it lasts, each await raises, those of a clean-up too.  asyncio's is an event: it
is raised once, and what an ``except`` or a ``finally`` awaits then runs.  Libraries written for asyncio rely on that when
they roll back, or give a connection back to its pool.
"""

import math
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import anyio

from structweb._server.log import server_logger
from structweb._server.whereabouts import await_point

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds that a clean-up has, once its task has been cancelled.
PATIENCE: Final = 10.0
#: Seconds between the cancellations behind that.
INSISTENCE: Final = 0.1


async def run_native(
    func: Callable[[*Ts], Coroutine[Any, Any, T]],  # Any: what a coroutine yields is between it and its loop
    *args: *Ts,
    patience: float = PATIENCE,
) -> T:
    """Return what ``await func(*args)`` returns, run in an asyncio task of its own; raise what it raises.

    A cancellation of the caller is delivered once, as ``task.cancel()`` does it: `func` may await in its ``finally``.
    The caller stays until the task has ended, under a shield.  If that takes longer than `patience` seconds, a warning
    says where it waits, and from then on the task is cancelled again and again, as anyio would.

    What `func` needs to be whole (taking a connection, the transaction, giving the connection back) belongs inside of
    it: behind it the caller's cancellation goes on.  It runs in a copy of the caller's context.

    Raises RuntimeError on trio, which runs no asyncio code, and for a task that somebody else cancels; ValueError if
    `patience` is no finite number of seconds from 0.
    """
    if not 0 <= patience < math.inf:
        raise ValueError(f"patience must be a finite number of seconds from 0, got {patience!r}")
    if not on_asyncio():
        raise RuntimeError(f"run_native() needs asyncio, and it does not run here: on trio {func!r} has no loop")
    import asyncio  # for trio's users it would be a fifth of what importing structweb takes

    done = anyio.Event()
    task = asyncio.get_running_loop().create_task(func(*args))
    task.add_done_callback(lambda _: done.set())
    try:
        await done.wait()
    except BaseException:
        if await _ended(task, done, patience):
            raise
        return task.result()  # what it raised on its way out comes in place of the cancellation
    if task.cancelled():
        raise RuntimeError(f"the task of {func!r} was cancelled, and not by its caller")
    return task.result()


def on_asyncio() -> bool:
    """Tell whether the running task is one of asyncio."""
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is not None and asyncio.current_task() is not None  # no task: trio as a guest of a loop
    except RuntimeError:
        return False


async def _ended(task: "asyncio.Task[T]", done: anyio.Event, patience: float) -> bool:
    """Cancel a task and wait for its end; tell whether it has raised nothing else."""
    task.cancel()
    with anyio.CancelScope(shield=True):  # each wait in it has its deadline
        with anyio.move_on_after(patience):
            await done.wait()
        if not done.is_set():
            where = await_point(task.get_coro())
            server_logger.warning(
                "%r is cancelled again: %g s were not enough for its clean-up, at %s", task, patience, where
            )
        while not done.is_set():
            task.cancel()
            with anyio.move_on_after(INSISTENCE):
                await done.wait()
    return task.cancelled() or task.exception() is None
