"""A task that waits for bytes is run in the callback that brings them, on loops that only tell when a socket is ready."""

import asyncio
from asyncio import futures
from contextvars import ContextVar

import pytest

from structweb._server.transport.push import step

#: In C, and in Python.
FUTURES = pytest.mark.parametrize("kind", [asyncio.Future, futures._PyFuture])  # type: ignore[attr-defined]  # private
WHO = ContextVar("WHO", default="nobody")


def run(main):
    with asyncio.Runner() as runner:
        return runner.run(main())


@FUTURES
def test_a_task_runs_at_once_and_in_its_own_context(kind):
    async def main():
        loop = asyncio.get_running_loop()
        waiter, seen = kind(loop=loop), []

        async def wait():
            WHO.set("the task")
            seen.append(await waiter)
            seen.append((WHO.get(), asyncio.current_task() is task))

        def readable():
            step(waiter)
            seen.append(WHO.get())

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        loop.call_soon(readable)
        await task
        assert seen == [None, ("the task", True), "nobody"]

    run(main)


@FUTURES
def test_a_task_that_has_run_is_not_cancelled_any_more(kind):
    async def main():
        loop = asyncio.get_running_loop()
        waiter = kind(loop=loop)

        async def wait():
            await waiter

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        loop.call_soon(step, waiter)
        loop.call_soon(task.cancel)
        await asyncio.wait([task])
        assert not task.cancelled()
        assert waiter.done()

    run(main)


@FUTURES
@pytest.mark.parametrize("waiting", [0, 2])
def test_all_others_are_left_to_the_loop(kind, waiting):
    async def main():
        waiter, woken = kind(loop=asyncio.get_running_loop()), []
        for _ in range(waiting):
            waiter.add_done_callback(woken.append)
        step(waiter)
        assert waiter.done()
        assert woken == []
        await asyncio.sleep(0)
        assert woken == [waiter] * waiting

    run(main)
