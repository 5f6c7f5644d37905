"""Schedulers where they do not belong: in another thread, in another event loop."""

import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from structweb.jobs import Job, Scheduler


async def work() -> str:
    return "done"


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_another_thread_without_a_loop():
    """J-01: a clear error, and the coroutine is closed; `anyio.from_thread.run` is the way."""
    async with Scheduler() as scheduler:

        def in_thread() -> str:
            with pytest.raises(RuntimeError, match="other threads have anyio.from_thread.run"):
                scheduler.shield(work())
            job: Job[str] = anyio.from_thread.run(scheduler.spawn, work)
            return anyio.from_thread.run(job.wait)

        assert await anyio.to_thread.run_sync(in_thread) == "done"


@pytest.mark.anyio
@pytest.mark.real_backends
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_another_loop_in_another_thread(backend: str):
    """J-01: whatever is called there."""
    async with Scheduler() as scheduler:
        job = await scheduler.spawn(anyio.sleep_forever)
        said: list[str] = []

        async def elsewhere() -> None:
            for call in (
                lambda: scheduler.spawn(work()),
                lambda: scheduler.spawn(work),
                scheduler.close,
                scheduler.wait_and_close,
                job.wait,
                job.close,
            ):
                with pytest.raises(RuntimeError) as raised:
                    await call()
                said.append(str(raised.value))
            with pytest.raises(RuntimeError) as raised:
                scheduler.shield(work())
            said.append(str(raised.value))

        thread = threading.Thread(target=anyio.run, args=(elsewhere,), kwargs={"backend": backend})
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert said == ["<Scheduler jobs=1> is bound to a different event loop"] * 7
        assert not scheduler.closed
        await job.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_next_loop(backend: str):
    """J-01: of the same thread; a job that has ended still tells its result."""
    jobs: list[Job[str]] = []
    schedulers: list[Scheduler] = []

    async def first() -> None:
        async with Scheduler() as scheduler:
            jobs.append(await scheduler.spawn(work))
            schedulers.append(scheduler)

    async def second() -> None:
        assert await jobs[0] == "done"
        with pytest.raises(RuntimeError, match="bound to a different event loop"):
            await schedulers[0].spawn(work())

    anyio.run(first, backend=backend)
    anyio.run(second, backend=backend)
