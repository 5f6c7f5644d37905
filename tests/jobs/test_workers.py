"""The tasks that jobs share: what a job does not notice of the one before it in the same task."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
import pytest

from structweb._server.parking import IDLE_NAME
from structweb.jobs import JobCancelled, Scheduler
from structweb.jobs.workers import IDLE_MOST
from structweb.testing import LeakError, cancel_everywhere, no_leaks

pytestmark = pytest.mark.anyio

tenant: ContextVar[object] = ContextVar("tenant")


async def whoami() -> tuple[int, str | None]:
    await anyio.sleep(1)
    task = anyio.get_current_task()
    return task.id, task.name


def idle() -> list[int]:
    return [task.id for task in anyio.get_running_tasks() if task.name == IDLE_NAME]


async def test_jobs_that_follow_each_other_share_a_task_and_not_a_name():
    async with Scheduler() as scheduler:
        first, named = await (await scheduler.spawn(whoami, name="the first"))
        second, unnamed = await (await scheduler.spawn(whoami))
        assert first == second
        assert (named, unnamed) == ("the first", "whoami")
        assert idle() == [first]
    assert idle() == []


async def test_jobs_at_the_same_time_share_none():
    async with Scheduler() as scheduler:
        jobs = [await scheduler.spawn(whoami) for _ in range(5)]
        assert len({(await job)[0] for job in jobs}) == 5


async def test_a_context_is_the_jobs_own():
    """Neither is it seen by the next job in that task, nor does it live on with the task."""

    class Tenant: ...

    kept: list[weakref.ref[Tenant]] = []

    async def first() -> None:
        someone = Tenant()
        kept.append(weakref.ref(someone))
        tenant.set(someone)
        await anyio.sleep(1)

    async def second() -> object:
        await anyio.sleep(1)
        return tenant.get(None)

    async with Scheduler() as scheduler:
        job = await scheduler.spawn(first)
        await job
        gc.collect()
        assert kept[0]() is None
        assert await (await scheduler.spawn(second)) is None
        token = tenant.set("the caller's")
        inherited = await scheduler.spawn(second)
        tenant.reset(token)
        assert await inherited == "the caller's"
        assert len(idle()) == 1


async def test_what_a_job_held_is_gone_while_its_task_sleeps():
    class Large: ...

    def fresh() -> weakref.ref[Large]:
        large = Large()
        handed_in.append(large)
        return weakref.ref(large)

    async def hold(large: Large) -> None:
        await anyio.sleep(1)
        raise LookupError

    handed_in: list[Large] = []
    kept = fresh()
    heard: list[object] = []
    async with Scheduler(exception_handler=lambda _, context: heard.append(context["message"])) as scheduler:
        await scheduler.spawn(hold, handed_in.pop())
        await anyio.sleep(2)
        assert len(idle()) == 1
        gc.collect()
        assert kept() is None
    assert heard == ["Job processing failed"]


async def test_a_task_that_was_cancelled_takes_no_other_job():
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(anyio.sleep_forever)
        await anyio.sleep(1)
        await job.close()
        assert idle() == []
        again, _ = await (await scheduler.spawn(whoami))
        assert idle() == [again]


async def test_a_job_that_is_closed_before_its_first_step_costs_no_task():
    async with Scheduler() as scheduler:
        before, _ = await (await scheduler.spawn(whoami))
        job = await scheduler.spawn(whoami)
        await job.close()
        with pytest.raises(JobCancelled):
            await job
        assert (await (await scheduler.spawn(whoami)))[0] == before


async def test_a_cancellation_that_nobody_dealt_with_is_not_the_next_jobs(anyio_backend_name):
    if anyio_backend_name != "asyncio":
        pytest.skip("a task of trio keeps no count of its cancellations")

    async def swallow() -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return task.cancelling()
        return 0

    async def count() -> int:
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    async with Scheduler() as scheduler:
        assert await (await scheduler.spawn(swallow)) == 1
        assert idle() == []
        assert await (await scheduler.spawn(count)) == 0


async def test_a_sleeping_task_that_somebody_cancels_is_missed_by_nobody(anyio_backend_name):
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has tasks that anybody may cancel")
    async with Scheduler() as scheduler:
        await (await scheduler.spawn(whoami))
        for task in asyncio.all_tasks():
            if task.get_name() == IDLE_NAME:
                task.cancel()
        await anyio.sleep(1)
        assert idle() == []
        assert [(await (await scheduler.spawn(whoami)))[0]] == idle()


async def test_a_job_whose_task_is_struck_on_waking_has_no_result(anyio_backend_name):
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has tasks that anybody may cancel")
    async with Scheduler() as scheduler:
        await (await scheduler.spawn(whoami))
        job = await scheduler.spawn(whoami())
        for task in asyncio.all_tasks():
            if task.get_name() == "whoami":
                task.cancel()
        with pytest.raises(JobCancelled, match="its task was cancelled"):
            await job
        assert await (await scheduler.spawn(anyio.sleep, 1)) is None


async def test_a_job_in_cancelled_surroundings_ends():
    """Its task sleeps in a scope that is cancelled, and hears of both in the same turn."""
    with anyio.CancelScope() as scope:
        async with Scheduler() as scheduler:
            await (await scheduler.spawn(whoami))
            scope.cancel()
            job = await scheduler.spawn(whoami())
            await anyio.sleep(1)
    assert job.closed
    with pytest.raises(JobCancelled):
        await job
    assert idle() == []


async def test_no_more_than_so_many_sleep():
    async with Scheduler(limit=None) as scheduler:
        for _ in range(IDLE_MOST + 10):
            await scheduler.spawn(anyio.sleep, 1)
        await anyio.sleep(2)
        assert scheduler.active_count == 0
        assert len(idle()) == IDLE_MOST
        await scheduler.close()
        await anyio.sleep(1)
        assert idle() == []


async def test_an_error_has_no_context_that_it_would_not_have_in_a_task_of_its_own():
    async def late() -> None:
        with anyio.move_on_after(1):
            await anyio.sleep_forever()
        raise LookupError

    async with Scheduler() as scheduler:
        with pytest.raises(LookupError) as caught:
            await (await scheduler.spawn(late))
    assert caught.value.__context__ is None


async def test_what_a_shared_task_left_running_is_found():
    """The task is older than the block that is watched; what it does is not.  A sleeping one is nobody's leak."""

    async def linger() -> None:
        await anyio.sleep(10)

    async with Scheduler() as scheduler:
        async with no_leaks():
            await (await scheduler.spawn(whoami))
        with pytest.raises(LeakError) as caught:
            async with no_leaks():
                await scheduler.spawn(linger, name="left alone")
    (left,) = caught.value.left
    assert left.startswith(f"  a task: 'left alone', waiting at {__file__}:{linger.__code__.co_firstlineno + 1} in ")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_checkpoints_of_jobs_count(backend):
    """The job is done by a task that is older than the function that spawns it, and than the scene's own beginning."""

    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async with Scheduler() as scheduler:
            await (await scheduler.spawn(whoami))

            async def run() -> None:
                await (await scheduler.spawn(nap))

            yield run

    async def nap() -> None:
        await anyio.sleep(1)
        await anyio.sleep(1)

    sweep = cancel_everywhere(scene, backends=[backend])
    assert sum("in test_checkpoints_of_jobs_count.<locals>.nap" in case.where for case in sweep.cases) == 2
