"""Jobs: how they stand, what waiting for one gives, and how one is closed."""

import gc
import weakref

import anyio
import pytest

from structweb.jobs import JobCancelled, Scheduler
from tests.jobs.heard import Heard

pytestmark = pytest.mark.anyio


async def work(result: object = None, seconds: float = 1) -> object:
    await anyio.sleep(seconds)
    return result


async def fail(message: str = "the job's own", seconds: float = 1) -> None:
    await anyio.sleep(seconds)
    raise LookupError(message)


async def slow_to_end(seconds: float, error: str = "") -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)
        if error:
            raise LookupError(error)


def state(job) -> str:
    found = [name for name in ("active", "pending", "closed") if getattr(job, name)]
    assert len(found) == 1, found
    return found[0]


async def test_exactly_one_state_is_true():
    """J-14."""
    async with Scheduler(limit=1) as scheduler:
        first = await scheduler.spawn(work())
        second = await scheduler.spawn(work())
        assert (state(first), state(second)) == ("active", "pending")
        assert repr(first).startswith("<Job coro=<<coroutine object work at ")
        assert repr(second).startswith("<Job pending coro=<<coroutine object work at ")
        await first
        assert (state(first), state(second)) == ("closed", "active")
        assert repr(first).startswith("<Job closed coro=<<coroutine object work at ")
        assert await second is None
        assert state(second) == "closed"


async def test_a_job_that_was_told_to_end_is_closed():
    """J-14: also while it still ends; it counts as active job until it has."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(slow_to_end, 2)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:

            async def close() -> None:
                await job.close(timeout=5)

            tasks.start_soon(close)
            await anyio.wait_all_tasks_blocked()
            assert state(job) == "closed"
            assert scheduler.active_count == 1
        assert scheduler.active_count == 0


# -- waiting -----------------------------------------------------------------------------------------------------------


async def test_waiting_gives_the_result_again_and_again():
    """J-15, X-13: awaiting the job is the same."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(work("done"))
        assert await job.wait() == "done"
        assert await job.wait() == "done"
        assert await job == "done"
    assert await job.wait(timeout=0) == "done"


async def test_waiting_raises_the_jobs_own_exception():
    """J-15, X-06: with its own traceback, however often it is raised."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(fail())
        depths = []
        for _ in range(3):
            with pytest.raises(LookupError, match="the job's own") as raised:
                await job.wait()
            depths.append([entry.name for entry in raised.traceback])
        assert depths[0][-1] == "fail"
        assert depths[0] == depths[1] == depths[2]
        assert "_run" not in depths[0]


async def test_an_exception_alone_in_a_group_comes_as_itself():
    """X-06: and several come as their group."""

    async def group() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, "alone")

    async def nested() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(group)

    async def two() -> None:
        raise ExceptionGroup("two of them", [LookupError("one"), LookupError("two")])

    async with Scheduler() as scheduler:
        with pytest.raises(LookupError, match="alone"):
            await (await scheduler.spawn(nested))
        with pytest.raises(ExceptionGroup) as raised:
            await (await scheduler.spawn(two))
        assert [str(error) for error in raised.value.exceptions] == ["one", "two"]


async def test_waiting_for_a_pending_job():
    """J-15: waits for its start, too."""
    async with Scheduler(limit=1) as scheduler:
        await scheduler.spawn(work())
        start = anyio.current_time()
        assert await (await scheduler.spawn(work("second"))).wait() == "second"
        assert anyio.current_time() - start == pytest.approx(2)


async def test_cancelling_the_wait_does_not_touch_the_job():
    """J-15."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(work("done", 10))
        with anyio.move_on_after(1) as scope:
            await job.wait()
        assert scope.cancelled_caught
        assert state(job) == "active"
        assert await job == "done"


@pytest.mark.parametrize("limit", [1, 2], ids=["pending", "active"])
async def test_a_wait_with_a_timeout(limit: int):
    """J-15: it ends the job, also one that has not begun (InvalidStateError in aiojobs)."""
    async with Scheduler(limit=limit) as scheduler:
        first = await scheduler.spawn(work("first", 10))
        job = await scheduler.spawn(work("never", 10))
        with pytest.raises(TimeoutError, match=r"took longer than 3 s"):
            await job.wait(timeout=3)
        assert state(job) == "closed"
        assert scheduler.active_count == 1
        with pytest.raises(JobCancelled, match="took longer than 3 s"):
            await job.wait()
        assert await first == "first"


async def test_a_timeout_and_a_job_that_fails_on_its_way_out():
    """J-15: the caller is told of both."""
    heard = Heard()
    async with Scheduler(exception_handler=heard, close_timeout=5) as scheduler:
        job = await scheduler.spawn(slow_to_end, 1, "at the end")
        with pytest.raises(TimeoutError) as raised:
            await job.wait(timeout=3)
        assert repr(raised.value.__cause__) == "LookupError('at the end')"
    assert heard == []


async def test_a_timeout_and_a_job_that_does_not_end():
    """J-15: the caller goes on after `close_timeout`; what the job raises later is not lost."""
    heard = Heard()
    async with Scheduler(exception_handler=heard, close_timeout=1) as scheduler:
        job = await scheduler.spawn(slow_to_end, 10, "at the end")
        start = anyio.current_time()
        with pytest.raises(TimeoutError):
            await job.wait(timeout=3)
        assert anyio.current_time() - start == pytest.approx(4)
    assert heard.messages == ["Job processing failed"]


async def test_a_timeout_of_the_job_itself_is_its_own_exception():
    async def run_out() -> None:
        with anyio.fail_after(1):
            await anyio.sleep(2)

    async with Scheduler() as scheduler:
        job = await scheduler.spawn(run_out)
        for _ in range(2):
            with pytest.raises(TimeoutError) as raised:
                await job.wait(timeout=10)
            assert raised.traceback[-1].name != "_time_out"


async def test_a_job_cannot_wait_for_itself():
    """X-10: a clear error, and no deadlock."""
    async with Scheduler() as scheduler:

        async def wait_for_itself() -> None:
            await anyio.sleep(1)
            await job.wait()

        job = await scheduler.spawn(wait_for_itself)
        with pytest.raises(RuntimeError, match="a job cannot wait for itself"):
            await job


async def test_what_a_job_starts_may_wait_for_it():
    async with Scheduler() as scheduler:

        async def parent() -> str:
            waiting.append(await scheduler.spawn(child))
            await anyio.sleep(1)
            return "done"

        async def child() -> str:
            return await job.wait()

        waiting: list = []
        job = await scheduler.spawn(parent)
        await job
        assert await waiting[0] == "done"


# -- closing -------------------------------------------------------------------------------------------------------------


async def test_closing_cancels_and_waits():
    """J-16: the second call is a no-op."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(slow_to_end, 2)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        await job.close(timeout=5)
        assert anyio.current_time() - start == pytest.approx(2)
        assert state(job) == "closed"
        await job.close()
        with pytest.raises(JobCancelled, match="'slow_to_end' has no result: it was closed"):
            await job


async def test_closing_a_job_that_has_ended():
    """J-16: nothing happens, whatever its end was."""
    heard = Heard()
    async with Scheduler(exception_handler=heard) as scheduler:
        job = await scheduler.spawn(fail())
        await anyio.sleep(2)
        await job.close()
    assert len(heard) == 1


async def test_a_pending_job_is_closed_without_running():
    """J-16: its coroutine too (a warning would be an error here)."""
    async with Scheduler(limit=1) as scheduler:
        await scheduler.spawn(work())
        job = await scheduler.spawn(work())
        await job.close()
        assert (state(job), scheduler.pending_count) == ("closed", 0)


async def test_a_job_that_was_not_scheduled_yet_never_runs():
    """J-16: closed between its start and its first step."""
    ran = []

    async def run() -> None:
        ran.append(1)

    async with Scheduler() as scheduler:
        job = await scheduler.spawn(run())
        await job.close()
        job = await scheduler.spawn(run)
        await job.close()
    assert ran == []


async def test_closing_raises_what_the_job_raises():
    """J-16, J-11: to everybody who closes it, and nowhere else."""
    heard = Heard()
    told = []

    async def close() -> None:
        try:
            await job.close(timeout=5)
        except LookupError as error:
            told.append(str(error))

    async with Scheduler(exception_handler=heard) as scheduler:
        job = await scheduler.spawn(slow_to_end, 1, "at the end")
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
            tasks.start_soon(close)
    assert told == ["at the end"] * 2
    assert heard == []


async def test_closing_gives_up():
    """J-12, X-12: a job that ignores its cancellation is waited for `close_timeout`, then at the end of the block."""
    heard = Heard()
    async with Scheduler(exception_handler=heard, close_timeout=2) as scheduler:
        job = await scheduler.spawn(slow_to_end, 100)
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        with pytest.raises(TimeoutError, match=r"has not ended 2 s after it was cancelled"):
            await job.close()
        assert anyio.current_time() - start == pytest.approx(2)
        with pytest.raises(TimeoutError, match=r"has not ended 3 s after"):
            await job.close(timeout=3)
        assert heard == []
    assert anyio.current_time() - start == pytest.approx(100)


async def test_a_job_that_closes_itself_is_cancelled():
    after = []

    async def close_itself() -> None:
        await anyio.sleep(1)
        await job.close()
        after.append("never here")

    async with Scheduler() as scheduler:
        job = await scheduler.spawn(close_itself)
    assert after == []
    with pytest.raises(JobCancelled, match="it was closed"):
        await job


# -- names, and what reports need ----------------------------------------------------------------------------------------


async def test_names():
    """J-17."""
    async with Scheduler(limit=1) as scheduler:
        named = await scheduler.spawn(work(), name="mail")
        as_in_aiojobs = await scheduler.spawn(work(), "bill")
        nameless = await scheduler.spawn(work())
        assert (named.get_name(), as_in_aiojobs.get_name(), nameless.get_name()) == ("mail", "bill", None)
        nameless.set_name("later")
        assert nameless.get_name() == "later"
        last = await scheduler.spawn(work)
        await nameless
        await anyio.sleep(0.5)
        assert last.get_name() == "work"


async def test_the_task_of_a_job_has_its_name():
    """J-17: for whoever looks at tasks."""

    async def own_name() -> str | None:
        return anyio.get_current_task().name

    async with Scheduler() as scheduler:
        assert await (await scheduler.spawn(own_name, name="mail")) == "mail"
        assert await (await scheduler.spawn(own_name())) == "test_the_task_of_a_job_has_its_name.<locals>.own_name"


async def test_a_new_name_is_the_tasks_as_well():
    async def own_names() -> list[str | None]:
        names = [anyio.get_current_task().name]
        await anyio.sleep(1)
        return [*names, anyio.get_current_task().name]

    async with Scheduler() as scheduler:
        for _ in range(2):  # in a task that has to be started, and in one that is there
            job = await scheduler.spawn(own_names)
            job.set_name("before it starts")
            await anyio.sleep(0.5)
            job.set_name("while it runs")
            assert await job == ["before it starts", "while it runs"]
            job.set_name("too late")
            assert "too late" not in {task.name for task in anyio.get_running_tasks()}


async def test_a_shield_can_be_named_in_a_report():
    """Its name, its age, and where it waits: the innermost line that is nobody's machinery."""

    async def deeper() -> None:
        await anyio.sleep(10)

    async def save() -> None:
        await deeper()

    here = deeper.__code__.co_firstlineno + 1
    async with Scheduler() as scheduler:
        for start in (save(), save):
            shield = scheduler.shield(start)
            assert shield.place is None
            await anyio.sleep(3)
            (found,) = scheduler.shields
            assert found is shield
            assert found.get_name() == "test_a_shield_can_be_named_in_a_report.<locals>.save"
            assert found.age == pytest.approx(3)
            assert found.place == f"{__file__}:{here} in {deeper.__qualname__}"
            await shield
            assert shield.place is None
            assert scheduler.shields == ()


async def test_a_failed_job_is_gone_when_nobody_has_it():
    """No cycle of error, traceback and job holds what the work held."""

    class Thing:
        pass

    async def hold(thing: Thing) -> None:
        await anyio.sleep(1)
        raise LookupError

    async with Scheduler() as scheduler:
        thing = Thing()
        gone = weakref.ref(thing)
        job = await scheduler.spawn(hold, thing)
        del thing
        gc.collect()
        gc.disable()
        try:
            try:
                await job
            except LookupError:
                pass
            del job
            await anyio.sleep(1)
            assert gone() is None
        finally:
            gc.enable()
