"""Counts the checkpoints of a function, and of every task that it starts, and does something at one of them.

A coroutine is stepped by hand: each time it suspends, that is a checkpoint.  The tasks that it starts are stepped in
the same way; a context variable, which tasks inherit, tells which they are.
"""

import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, contextmanager
from types import coroutine
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel

from structweb._server.isolation import WRAPPER, Steps
from structweb._server.whereabouts import await_point

T = TypeVar("T")

#: Turns of the loop that the news of what was done gets to arrive.
NEWS: Final = 50


class Checkpoints:
    """Counts checkpoints, and calls `strike` at the one of the number `target`.

    Whoever was suspended there then goes on no further than to its next checkpoint before `arrived` says so, or some
    turns of the loop have passed: what `strike` does may need other tasks, to be felt.
    """

    def __init__(self, target: int, strike: Callable[[], None], arrived: Callable[[], bool]) -> None:
        self.count: int = 0
        #: Where the strike found the function; None before.
        self.where: str | None = None
        self._target = target
        self._strike = strike
        self._arrived = arrived

    async def run(self, func: Callable[[], Awaitable[T]]) -> T:
        """Return what ``func()`` returns; every checkpoint of it counts."""

        async def call() -> T:
            return await func()

        def wrap(stepped: Steps) -> Steps:
            return _wrapped(stepped, self)

        token = WRAPPER.set(wrap)
        try:
            return await _stepped(call(), self)
        finally:
            WRAPPER.reset(token)

    def pass_one(self, awaited: object) -> bool:
        """Count a checkpoint of the coroutine `awaited`; tell whether it was the one."""
        self.count += 1
        if self.count != self._target:
            return False
        self.where = await_point(awaited) or "an unknown place"
        self._strike()
        return True

    async def hold(self) -> None:
        """Wait for the news."""
        for _ in range(NEWS):
            if self._arrived():
                break
            await anyio.lowlevel.cancel_shielded_checkpoint()


@coroutine
def _stepped(
    stepped: Coroutine[Any, Any, T], counter: Checkpoints
) -> Generator[Any, Any, T]:  # Any: what a backend's traps yield and take is its own affair
    try:
        trap = stepped.send(None)
        while True:
            was_the_one = counter.pass_one(stepped)
            try:
                value = yield trap
            except GeneratorExit:
                stepped.close()
                raise
            except BaseException as exc:  # noqa: BLE001 - whatever the backend throws belongs to the function
                trap = stepped.throw(exc)
            else:
                if was_the_one:
                    yield from counter.hold().__await__()
                trap = stepped.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def _task(stepped: Coroutine[Any, Any, object], counter: Checkpoints) -> object:
    return await _stepped(stepped, counter)


def _wrapped(stepped: Coroutine[Any, Any, object], counter: Checkpoints) -> Coroutine[Any, Any, object]:
    """Return a coroutine that steps another one, and closes it if nobody ever starts it."""
    wrapper = _task(stepped, counter)
    weakref.finalize(wrapper, stepped.close)
    return wrapper


def tasks_stepped() -> AbstractContextManager[None]:
    """Step the tasks that `Checkpoints.run` starts in this loop, while the block lasts."""
    loop: Any = anyio.lowlevel.current_token().native_token  # Any: what a backend takes for its loop
    return _tasks_of_asyncio(loop) if hasattr(loop, "set_task_factory") else _tasks_of_trio()


@contextmanager
def _tasks_of_asyncio(loop: Any) -> Generator[None]:  # Any: an event loop; its type would import asyncio everywhere
    from asyncio import Task  # imported when it is used

    def make(loop: Any, coro: Coroutine[Any, Any, object], **options: Any) -> "Task[object]":  # Any: asyncio's
        context = options.get("context")
        wrap = WRAPPER.get() if context is None else context.get(WRAPPER)
        return Task(coro if wrap is None else wrap(coro), loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)


@contextmanager
def _tasks_of_trio() -> Generator[None]:
    from trio.abc import Instrument  # imported when it is used
    from trio.lowlevel import Task, add_instrument, remove_instrument

    class Stepper(Instrument):
        def task_spawned(self, task: Task) -> None:
            wrap = task.context.get(WRAPPER)
            if wrap is not None:
                task.coro = wrap(task.coro)  # type: ignore[assignment]  # it steps any coroutine

    stepper = Stepper()
    add_instrument(stepper)
    try:
        yield
    finally:
        remove_instrument(stepper)
