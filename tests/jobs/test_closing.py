"""The end of a scheduler: by whom, in which order, and with what is left."""

import anyio
import pytest

from structweb.jobs import JobCancelled, Scheduler
from tests.jobs.heard import Heard

pytestmark = pytest.mark.anyio


class Ended(list[str]):
    """The names of what has run, as it ends."""

    async def work(self, name: str, seconds: float = 100) -> None:
        try:
            await anyio.sleep(seconds)
        except BaseException:
            self.append(f"{name} cut")
            raise
        self.append(name)


async def stubborn(seconds: float) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.sleep(seconds)


async def test_closing_cancels_what_runs_and_discards_what_is_pending():
    """J-06: a coroutine that is discarded is closed (a warning would be an error here)."""
    ended = Ended()
    async with Scheduler(limit=1) as scheduler:
        active = await scheduler.spawn(ended.work("active"))
        pending = await scheduler.spawn(ended.work("pending"))
        shielded = scheduler.shield(ended.work("shield"))
        await anyio.wait_all_tasks_blocked()
        await scheduler.close()
        assert sorted(ended) == ["active cut", "shield cut"]
        assert scheduler.closed
        assert len(scheduler) == 0
        assert scheduler.shields == ()
        for job in (active, pending, shielded):
            with pytest.raises(JobCancelled, match="its scheduler was closed"):
                await job
        await scheduler.close()


async def test_nothing_is_spawned_after_closing():
    """J-04: the coroutine is closed."""

    async def nothing() -> None:
        pass

    async with Scheduler() as scheduler:
        await scheduler.close()
        with pytest.raises(RuntimeError, match="Scheduling a new job after closing"):
            await scheduler.spawn(nothing())
        with pytest.raises(RuntimeError, match="Scheduling a new job after closing"):
            scheduler.shield(nothing())
    with pytest.raises(RuntimeError, match="Scheduling a new job after closing"):
        await scheduler.spawn(nothing())


async def test_closing_ends_the_wait_of_those_who_spawn():
    """J-06: a job that was waiting for room is refused (in aiojobs it is taken, and never ends)."""
    ended = Ended()
    refused = []

    async def spawn() -> None:
        with pytest.raises(RuntimeError, match="Scheduling a new job after closing"):
            await scheduler.spawn(ended.work("blocked"))
        refused.append(1)

    async with Scheduler(limit=1, pending_limit=1) as scheduler, anyio.create_task_group() as tasks:
        await scheduler.spawn(ended.work("active"))
        await scheduler.spawn(ended.work("pending"))
        tasks.start_soon(spawn)
        tasks.start_soon(spawn)
        await anyio.wait_all_tasks_blocked()
        await scheduler.close()
    assert (refused, ended) == ([1, 1], ["active cut"])


async def test_several_tasks_close():
    """J-06: all of them return when the jobs have ended."""
    returned = []

    async def close() -> None:
        await scheduler.close()
        returned.append(anyio.current_time() - start)

    async with Scheduler(close_timeout=5) as scheduler:
        await scheduler.spawn(stubborn, 3)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(close)
    assert returned == pytest.approx([3, 3, 3])


async def test_a_closer_that_is_cancelled_leaves_it_to_the_others():
    """J-06."""
    returned = []

    async def close(patience: float) -> None:
        with anyio.move_on_after(patience):
            await scheduler.close()
        returned.append(anyio.current_time() - start)

    async with Scheduler(close_timeout=5) as scheduler:
        await scheduler.spawn(stubborn, 3)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close, 1)
            tasks.start_soon(close, 100)
    assert returned == pytest.approx([1, 3])


async def test_a_job_that_ignores_its_cancellation_is_reported():
    """J-12, X-12: once, whoever closes; the others are not kept waiting; the block waits for it."""
    heard = Heard()
    start = anyio.current_time()
    async with Scheduler(close_timeout=2, exception_handler=heard) as scheduler:
        job = await scheduler.spawn(stubborn, 10, name="stubborn")
        await scheduler.spawn(anyio.sleep, 100)
        shielded = scheduler.shield(stubborn(10))
        await anyio.wait_all_tasks_blocked()
        before = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scheduler.close)
            tasks.start_soon(scheduler.close)
        assert anyio.current_time() - before == pytest.approx(2)
        await scheduler.close()
        assert anyio.current_time() - before == pytest.approx(2)
    assert anyio.current_time() - start == pytest.approx(10, abs=0.2)
    assert heard.messages == ["Job closing timed out"] * 2
    assert [context["job"] for context in heard] == [job, shielded]
    for context in heard:
        assert isinstance(context["exception"], TimeoutError)
        assert str(context["exception"]).endswith(
            f"it waits in {__file__}:{stubborn.__code__.co_firstlineno + 2} in stubborn"
        )
    assert await job is None  # it came to its end after all


async def test_whoever_closes_a_job_himself_is_told_himself():
    """J-11, J-12: the scheduler does not report what `Job.close` raises."""
    heard = Heard()
    told = []

    async def close() -> None:
        with pytest.raises(TimeoutError) as raised:
            await job.close(timeout=3)
        told.append(str(raised.value))

    async with Scheduler(close_timeout=2, exception_handler=heard) as scheduler:
        job = await scheduler.spawn(stubborn, 10)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
            await anyio.wait_all_tasks_blocked()
            await scheduler.close()
    assert len(told) == 1
    assert heard == []


async def test_no_close_timeout_waits_for_ever():
    """J-03."""
    heard = Heard()
    async with Scheduler(close_timeout=None, exception_handler=heard) as scheduler:
        await scheduler.spawn(stubborn, 1000)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        await scheduler.close()
        assert anyio.current_time() - start == pytest.approx(1000, abs=0.2)
    assert heard == []


@pytest.mark.parametrize(("of_scheduler", "of_call"), [(3, None), (60, 3), (None, 3)])
async def test_waiting_has_its_limit(of_scheduler: float | None, of_call: float | None):
    """J-07: what has not ended then is cancelled, and what is pending never runs."""
    ended = Ended()
    async with Scheduler(wait_timeout=of_scheduler, limit=1) as scheduler:
        await scheduler.spawn(ended.work("short", 1))
        await scheduler.spawn(ended.work("long"))
        await scheduler.spawn(ended.work("pending"))
        start = anyio.current_time()
        await scheduler.wait_and_close(of_call)
        assert anyio.current_time() - start == pytest.approx(3)
        assert ended == ["short", "long cut"]


async def test_waiting_is_for_shields_too_and_for_what_is_spawned_meanwhile():
    """J-07, J-08."""
    ended = Ended()

    async def spawn_more() -> None:
        await ended.work("first", 1)
        await scheduler.spawn(ended.work("second", 1))
        scheduler.shield(ended.work("third", 2))

    async with Scheduler() as scheduler:
        await scheduler.spawn(spawn_more)
        start = anyio.current_time()
        await scheduler.wait_and_close()
        assert anyio.current_time() - start == pytest.approx(3)
    assert ended == ["first", "second", "third"]


async def test_waiting_does_not_raise_what_jobs_raise():
    """J-07: it goes to the exception handler."""
    heard = Heard()

    async def fail() -> None:
        await anyio.sleep(1)
        raise LookupError("the job's own")

    ended = Ended()
    async with Scheduler(exception_handler=heard) as scheduler:
        await scheduler.spawn(fail)
        await scheduler.spawn(ended.work("other", 2))
        await scheduler.wait_and_close()
    assert heard.errors == ['LookupError("the job\'s own")']
    assert ended == ["other"]


async def test_waiting_cut_short():
    """J-07: the scheduler stays open, and its jobs go on."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(anyio.sleep, 10)
        with anyio.move_on_after(1):
            await scheduler.wait_and_close()
        assert not scheduler.closed
        assert job.active


async def test_a_job_cannot_wait_for_its_scheduler():
    """X-10: a clear error, at once."""
    async with Scheduler() as scheduler:
        for start in (scheduler.spawn(scheduler.wait_and_close), scheduler.spawn(scheduler.wait_and_close())):
            job = await start
            with pytest.raises(RuntimeError, match="a job cannot wait for the scheduler that it runs in"):
                await job
        shielded = scheduler.shield(scheduler.wait_and_close())
        with pytest.raises(RuntimeError, match="a job cannot wait for the scheduler that it runs in"):
            await shielded
        assert not scheduler.closed


async def test_a_job_that_closes_its_scheduler_is_cancelled_with_the_others():
    ended = Ended()

    async def close() -> None:
        await anyio.sleep(1)
        await scheduler.close()
        ended.append("never here")

    async with Scheduler() as scheduler:
        await scheduler.spawn(close)
        other = await scheduler.spawn(ended.work("other"))
        with pytest.raises(JobCancelled):
            await other
        assert scheduler.closed
    assert ended == ["other cut"]


async def test_a_job_may_have_a_scheduler_of_its_own():
    ended = Ended()

    async def inner() -> None:
        async with Scheduler() as mine:
            await mine.spawn(ended.work("inner", 2))
        ended.append("outer job")

    async with Scheduler() as scheduler:
        await scheduler.spawn(inner)
    assert ended == ["inner", "outer job"]


# -- shields -------------------------------------------------------------------------------------------------------------


async def test_whoever_awaits_a_shield_may_be_cancelled():
    """J-08, S-29: the work goes on, and is waited for."""
    ended = Ended()
    async with Scheduler() as scheduler:
        with anyio.move_on_after(1) as scope:
            await scheduler.shield(ended.work("saved", 3))
        assert scope.cancelled_caught
        assert (len(scheduler), len(scheduler.shields), ended) == (0, 1, [])
    assert ended == ["saved"]


async def test_a_shield_gives_the_result_or_raises():
    """J-08, X-13: it is a job that can be awaited."""

    async def fail() -> None:
        raise LookupError("the work's own")

    async def double(number: int) -> int:
        return 2 * number

    async with Scheduler(limit=1) as scheduler:
        await scheduler.spawn(anyio.sleep, 10)
        assert await scheduler.shield(double(2)) == 4
        assert await scheduler.shield(double, 3) == 6
        with pytest.raises(LookupError, match="the work's own"):
            await scheduler.shield(fail())
        assert await scheduler.shield(await scheduler.spawn(anyio.sleep, 0)) is None


async def test_an_error_of_a_shield_that_was_left_does_not_vanish():
    """S-31: unlike asyncio.shield's and aiojobs'."""
    heard = Heard()

    async def fail() -> None:
        await anyio.sleep(2)
        raise LookupError("left alone")

    async with Scheduler(exception_handler=heard) as scheduler:
        with anyio.move_on_after(1):
            await scheduler.shield(fail())
    assert heard.errors == ["LookupError('left alone')"]
