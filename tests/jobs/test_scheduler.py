"""Schedulers: what they run, how much of it at once, and who waits for his turn."""

from contextvars import ContextVar

import anyio
import pytest

from structweb.jobs import Job, JobCancelled, Scheduler, create_scheduler

pytestmark = pytest.mark.anyio

VOICE: ContextVar[str] = ContextVar("VOICE", default="nobody")


async def work(result: object = None, seconds: float = 1) -> object:
    await anyio.sleep(seconds)
    return result


# -- made, and asked -------------------------------------------------------------------------------------------------


def test_a_scheduler_is_made_outside_of_a_loop():
    """J-01, J-03: with aiojobs' defaults."""
    scheduler = Scheduler()
    assert (scheduler.limit, scheduler.pending_limit, scheduler.close_timeout) == (100, 10000, 0.1)
    assert (scheduler.active_count, scheduler.pending_count, scheduler.closed) == (0, 0, False)
    assert scheduler.exception_handler is None
    assert repr(scheduler) == "<Scheduler jobs=0>"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"exception_handler": 1}, TypeError, "A callable object or None is expected, got 1"),
        ({"exception_handler": work}, TypeError, "must be a plain function, got the coroutine function"),
        ({"limit": 0}, ValueError, "limit must be at least 1, or None for no limit, got 0"),
        ({"pending_limit": -1}, ValueError, "pending_limit must be at least 1, or 0 for no limit, got -1"),
    ],
)
def test_arguments_are_checked(options, error, words):
    """J-01."""
    with pytest.raises(error, match=words):
        Scheduler(**options)


async def test_the_factory_is_deprecated():
    """J-09: it takes what it took, and what it returns is still to be entered."""
    with pytest.warns(DeprecationWarning, match="can now be instantiated directly"):
        scheduler = await create_scheduler(limit=3, pending_limit=4, close_timeout=5)
    assert (scheduler.limit, scheduler.pending_limit, scheduler.close_timeout) == (3, 4, 5)
    async with scheduler:
        assert await (await scheduler.spawn(work("done"))) == "done"


async def test_a_scheduler_is_a_collection():
    """J-02: of the jobs that are active or pending."""
    async with Scheduler(limit=1) as scheduler:
        active = await scheduler.spawn(work())
        pending = await scheduler.spawn(work())
        assert (len(scheduler), list(scheduler)) == (2, [active, pending])
        assert active in scheduler
        assert pending in scheduler
        assert None not in scheduler
        assert (scheduler.active_count, scheduler.pending_count) == (1, 1)
        assert repr(scheduler) == "<Scheduler jobs=2>"
        await active
        assert active not in scheduler
        assert list(scheduler) == [pending]
    assert (len(scheduler), repr(scheduler)) == (0, "<Scheduler closed jobs=0>")


async def test_jobs_may_end_while_they_are_iterated():
    """J-02: each was there when the iteration began."""
    async with Scheduler() as scheduler:
        for number in range(5):
            await scheduler.spawn(work, number, number)
        assert [await job for job in scheduler] == [0, 1, 2, 3, 4]


# -- what is spawned -------------------------------------------------------------------------------------------------


async def test_a_coroutine_and_a_function_with_arguments():
    """J-04, X-11."""
    async with Scheduler() as scheduler:
        assert await (await scheduler.spawn(work("one"))) == "one"
        assert await (await scheduler.spawn(work, "two")) == "two"
        assert await (await scheduler.spawn(work, "three", 5, name="third")) == "three"


async def test_a_function_is_called_in_its_job():
    """X-11: so what it does wrong is the job's error."""
    async with Scheduler() as scheduler:
        with pytest.raises(TypeError, match="work"):
            await (await scheduler.spawn(work, "too", "many", "arguments"))
        job = await scheduler.spawn(len, [1])  # plain functions return nothing to await
        with pytest.raises(TypeError, match="await"):
            await job


async def test_what_is_neither_is_refused():
    """X-11."""
    async with Scheduler() as scheduler:
        with pytest.raises(TypeError, match="expected a coroutine or a function with its arguments, got 'text'"):
            await scheduler.spawn("text")
        with pytest.raises(TypeError, match="a coroutine takes no arguments any more"):
            await scheduler.spawn(work(), 1, 2)
        assert len(scheduler) == 0


async def test_a_job_has_a_copy_of_the_callers_context():
    """Also one that starts when somebody else's job has ended."""

    async def voice() -> str:
        await anyio.sleep(1)
        heard = VOICE.get()
        VOICE.set("a job")
        return heard

    async with Scheduler(limit=1) as scheduler:
        VOICE.set("first")
        first = await scheduler.spawn(voice())
        VOICE.set("second")
        second = await scheduler.spawn(voice)
        VOICE.set("third")
        assert [await first, await second] == ["first", "second"]
        assert VOICE.get() == "third"


async def test_spawning_does_not_wait_while_there_is_a_slot():
    """J-04: so a cancelled task can still hand its clean-up over."""
    done = []

    async def clean_up() -> None:
        await anyio.sleep(1)
        done.append("cleaned up")

    async with Scheduler() as scheduler:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await scheduler.spawn(clean_up)
    assert done == ["cleaned up"]


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_no_more_than_the_limit_run_at_once():
    """J-04, J-05."""
    running, most = 0, 0

    async def counted(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(1 + number % 3)
        running -= 1

    async with Scheduler(limit=3) as scheduler:
        for number in range(20):
            await scheduler.spawn(counted, number)
        assert (scheduler.active_count, scheduler.pending_count) == (3, 17)
    assert most == 3


async def test_the_first_that_comes_is_the_first_that_runs():
    """J-05."""
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)
        await anyio.sleep(1)

    async with Scheduler(limit=1) as scheduler:
        for number in range(20):
            await scheduler.spawn(note, number)
    assert order == list(range(20))


async def test_no_limit():
    """J-03."""
    async with Scheduler(limit=None) as scheduler:
        for _ in range(500):
            await scheduler.spawn(work)
        assert (scheduler.active_count, scheduler.pending_count) == (500, 0)


async def test_no_limit_of_pending_jobs():
    """J-03."""
    async with Scheduler(limit=1, pending_limit=0) as scheduler:
        for _ in range(500):
            await scheduler.spawn(anyio.sleep, 0)
        assert scheduler.pending_count == 499


async def test_whoever_spawns_one_too_many_waits():
    """J-04: first come, first served, and nobody overtakes those who wait."""
    spawned: list[tuple[int, float]] = []
    order: list[int] = []

    async def job(number: int) -> None:
        order.append(number)
        await anyio.sleep(1)

    async def spawn(scheduler: Scheduler, number: int) -> None:
        await scheduler.spawn(job, number)
        spawned.append((number, anyio.current_time() - start))

    async with Scheduler(limit=1, pending_limit=1) as scheduler, anyio.create_task_group() as tasks:
        start = anyio.current_time()
        for number in range(6):
            tasks.start_soon(spawn, scheduler, number)
            await anyio.wait_all_tasks_blocked()
        assert [number for number, _ in spawned] == [0, 1]
        assert (scheduler.active_count, scheduler.pending_count, len(scheduler)) == (1, 1, 2)
    assert [number for number, _ in spawned] == order == [0, 1, 2, 3, 4, 5]
    assert [round(seconds) for _, seconds in spawned] == [0, 0, 1, 2, 3, 4]


async def test_a_closed_pending_job_makes_room():
    """J-05: at once, and it is skipped when its turn would come."""
    async with Scheduler(limit=1, pending_limit=1) as scheduler:
        await scheduler.spawn(work("first"))
        pending = await scheduler.spawn(work("never"))
        with anyio.fail_after(0.5):
            await pending.close()
            last = await scheduler.spawn(work("last"))
        assert await last == "last"
        with pytest.raises(JobCancelled, match="has no result: it was closed"):
            await pending


async def test_cancelled_while_it_waits_for_room():
    """J-04: the coroutine is closed (a warning would be an error here), and those behind it take its place."""
    results = []

    async def spawn(scheduler: Scheduler, name: str) -> None:
        job = await scheduler.spawn(work(name))
        results.append(await job)

    async with Scheduler(limit=1, pending_limit=1) as scheduler:
        async with anyio.create_task_group() as tasks:
            await scheduler.spawn(work("active"))
            await scheduler.spawn(work("pending"))
            with anyio.move_on_after(0.5) as scope:
                tasks.start_soon(spawn, scheduler, "behind")
                await scheduler.spawn(work("given up"))
        assert scope.cancelled_caught
        assert results == ["behind"]


async def test_cancelled_when_it_is_let_in():
    """J-04: in the same step, it comes too late: the caller has its job, and is cancelled at its next await."""
    ran = []
    spawned = []
    scope = anyio.CancelScope()
    gate = anyio.Event()

    async def fail() -> None:
        await gate.wait()
        raise LookupError

    async def note() -> None:
        ran.append("note")

    def cancel(scheduler: Scheduler, context: dict[str, object]) -> None:
        # Called in the very step in which the failed job made room.
        assert "note" in repr(list(scheduler)[-1])
        scope.cancel()

    async with Scheduler(limit=1, pending_limit=1, exception_handler=cancel) as scheduler:
        await scheduler.spawn(fail)
        await scheduler.spawn(work)
        async with anyio.create_task_group() as tasks:

            async def spawn() -> None:
                with scope:
                    spawned.append(await scheduler.spawn(note))
                    await anyio.lowlevel.checkpoint()

            tasks.start_soon(spawn)
            await anyio.wait_all_tasks_blocked()
            gate.set()
        assert scope.cancelled_caught
        await spawned[0]
    assert ran == ["note"]


# -- entered and left ------------------------------------------------------------------------------------------------


async def test_nothing_starts_before_it_is_entered():
    """X-10: and the coroutine is closed."""
    scheduler = Scheduler()
    with pytest.raises(RuntimeError, match="enter the scheduler first"):
        await scheduler.spawn(work())
    with pytest.raises(RuntimeError, match="enter the scheduler first"):
        scheduler.shield(work())


async def test_a_scheduler_is_entered_once():
    """X-10."""
    async with Scheduler() as scheduler:
        with pytest.raises(RuntimeError, match="entered once, but this one is open"):
            await scheduler.__aenter__()
    with pytest.raises(RuntimeError, match="entered once, but this one is left"):
        await scheduler.__aenter__()
    with pytest.raises(RuntimeError, match="cannot leave this scheduler: it is left"):
        await scheduler.__aexit__(None, None, None)


async def test_one_that_was_closed_is_not_entered():
    """X-10."""
    scheduler = Scheduler()
    await scheduler.close()
    assert scheduler.closed
    with pytest.raises(RuntimeError, match="this one is closed"):
        await scheduler.__aenter__()


async def test_leaving_waits_for_the_jobs():
    """J-07: also for those that jobs spawn meanwhile, and for shields."""
    done: list[str] = []

    async def descend(depth: int) -> None:
        await anyio.sleep(1)
        done.append(f"job {depth}")
        if depth:
            await scheduler.spawn(descend, depth - 1)
        else:
            scheduler.shield(last)

    async def last() -> None:
        await anyio.sleep(1)
        done.append("shield")

    async with Scheduler() as scheduler:
        await scheduler.spawn(descend, 3)
    assert done == ["job 3", "job 2", "job 1", "job 0", "shield"]


async def test_leaving_with_an_error_waits_too():
    """J-07: and the error comes out as it is."""
    jobs: list[Job[object]] = []
    with pytest.raises(LookupError, match="the block's own"):
        async with Scheduler() as scheduler:
            jobs.append(await scheduler.spawn(work("done")))
            raise LookupError("the block's own")
    assert await jobs[0] == "done"


async def test_a_cancelled_block_cancels_its_jobs():
    """Those that are pending never run."""
    ran = []

    async def note(name: str) -> None:
        ran.append(name)
        await anyio.sleep(100)
        ran.append(f"{name} ended")

    with anyio.move_on_after(1) as scope:
        async with Scheduler(limit=1) as scheduler:
            active = await scheduler.spawn(note, "active")
            pending = await scheduler.spawn(note, "pending")
            shielded = scheduler.shield(note("shield"))
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert sorted(ran) == ["active", "shield"]
    assert active.closed
    assert shielded.closed
    with pytest.raises(JobCancelled, match="the task of its scheduler was cancelled"):
        await pending
