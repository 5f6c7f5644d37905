"""Errors of jobs: who is told, once, and what ends the program."""

import logging
import subprocess
import sys

import anyio
import pytest

from structweb.jobs import JobCancelled, Scheduler
from tests.jobs.heard import Heard

pytestmark = pytest.mark.anyio


async def fail(message: str = "the job's own", seconds: float = 1) -> None:
    await anyio.sleep(seconds)
    raise LookupError(message)


async def test_an_error_that_nobody_waits_for_is_reported_once():
    """J-10: and the scheduler goes on."""
    heard = Heard()
    async with Scheduler(exception_handler=heard) as scheduler:
        assert scheduler.exception_handler is heard
        job = await scheduler.spawn(fail())
        await anyio.sleep(2)
        assert heard == [{"message": "Job processing failed", "job": job, "exception": heard[0]["exception"]}]
        assert heard.errors == ['LookupError("the job\'s own")']
        with pytest.raises(LookupError):
            await job
        assert await (await scheduler.spawn(anyio.sleep, 1)) is None
    assert len(heard) == 1


async def test_without_a_handler_errors_are_logged(caplog):
    """J-10, X-13: to structweb.jobs, with the traceback."""
    async with Scheduler() as scheduler:
        await scheduler.spawn(fail())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("structweb.jobs", logging.ERROR)
    assert record.getMessage().startswith("Job processing failed: <Job closed coro=<<coroutine object fail")
    assert record.exc_info
    assert record.exc_info[0] is LookupError


async def test_whoever_waits_is_told_and_nobody_else():
    """J-11: also whoever waits for a job that is pending."""
    heard = Heard()
    async with Scheduler(exception_handler=heard, limit=1) as scheduler:
        await scheduler.spawn(anyio.sleep, 1)
        job = await scheduler.spawn(fail())
        with pytest.raises(LookupError):
            await job.wait()
    assert heard == []


async def test_an_error_does_not_vanish_with_the_one_who_waited():
    """J-11, S-31: in aiojobs it does."""
    heard = Heard()
    async with Scheduler(exception_handler=heard) as scheduler:
        job = await scheduler.spawn(fail("late", 2))
        with anyio.move_on_after(1):
            await job.wait()
    assert heard.errors == ["LookupError('late')"]


async def test_an_error_and_the_cancellation_of_the_wait_at_once():
    """J-11: told to the caller or to the handler, never to nobody."""
    heard = Heard()
    told = []
    async with Scheduler(exception_handler=heard) as scheduler:
        job = await scheduler.spawn(fail("at two", 2))
        with anyio.move_on_after(2):
            try:
                await job.wait()
            except LookupError as error:
                told.append(repr(error))
    assert told + heard.errors == ["LookupError('at two')"]


async def test_a_cancelled_job_is_no_error():
    """J-10."""
    heard = Heard()
    async with Scheduler(exception_handler=heard) as scheduler:
        job = await scheduler.spawn(anyio.sleep_forever)
        await anyio.sleep(1)
        await job.close()
        job = await scheduler.spawn(anyio.sleep_forever)
        await anyio.sleep(1)
        await scheduler.close()
        with pytest.raises(JobCancelled):
            await job
    assert heard == []


async def test_an_error_of_the_exception_handler(caplog):
    """J-10, J-13: it is logged, with what it was told; the scheduler goes on."""

    def bad(scheduler: Scheduler, context: dict[str, object]) -> None:
        raise ZeroDivisionError("the handler's own")

    async with Scheduler(exception_handler=bad, close_timeout=1) as scheduler:
        await scheduler.spawn(fail())
        await anyio.sleep(2)
        assert await (await scheduler.spawn(anyio.sleep, 1)) is None
        scheduler.call_exception_handler({"message": "asked directly", "exception": LookupError("mine")})
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ZeroDivisionError,
        LookupError,
        ZeroDivisionError,
        LookupError,
    ]
    assert caplog.records[3].getMessage() == "asked directly: None"


async def test_a_subclass_may_listen():
    """J-13: whatever it does."""
    told = []

    class Listening(Scheduler):
        def call_exception_handler(self, context):
            told.append(context["message"])
            raise ZeroDivisionError

    async with Listening() as scheduler:
        await scheduler.spawn(fail())
    assert told == ["Job processing failed"]


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program(fatal: type[BaseException]):
    """X-03: it ends the block, cancels the other jobs, and comes out as it is."""
    heard = Heard()
    cut = []

    async def end() -> None:
        await anyio.sleep(1)
        raise fatal("the job's own")

    async def other() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cut.append("other")

    with pytest.raises(fatal, match="the job's own"):
        async with Scheduler(exception_handler=heard) as scheduler:
            await scheduler.spawn(other)
            await scheduler.spawn(end)
            await anyio.sleep_forever()
    assert cut == ["other"]
    assert heard == []


async def test_what_ends_the_program_inside_of_a_group():
    """X-03, X-06."""

    async def end() -> None:
        raise BaseExceptionGroup("two", [LookupError(), BaseExceptionGroup("one", [SystemExit("now")])])

    with pytest.raises(SystemExit, match="now"):
        async with Scheduler() as scheduler:
            await scheduler.spawn(end)
            await anyio.sleep_forever()


async def test_an_exception_handler_that_ends_the_program():
    """X-03."""

    def leave(scheduler: Scheduler, context: dict[str, object]) -> None:
        raise SystemExit("no further")

    with pytest.raises(SystemExit, match="no further"):
        async with Scheduler(exception_handler=leave) as scheduler:
            await scheduler.spawn(fail)
            await anyio.sleep_forever()


async def test_other_base_exceptions_are_the_jobs_own():
    """What is neither an error nor the program's end is told like an error, and hurts nobody else."""

    class Strange(BaseException):
        pass

    async def be_strange() -> None:
        raise Strange("odd")

    heard = Heard()
    async with Scheduler(exception_handler=heard) as scheduler:
        await scheduler.spawn(be_strange)
        await anyio.sleep(1)
        with pytest.raises(Strange, match="odd"):
            await (await scheduler.spawn(be_strange))
    assert heard.errors == ["Strange('odd')"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_cancellation_that_is_not_ours():
    """A job that awaits a cancelled asyncio task is cancelled itself, and the scheduler goes on."""
    import asyncio

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async with Scheduler() as scheduler:
        job = await scheduler.spawn(cancelled)
        with pytest.raises(JobCancelled, match="its task was cancelled"):
            await job
        assert not scheduler.closed
        assert await (await scheduler.spawn(anyio.sleep, 1)) is None


def test_in_development_mode_a_report_tells_who_spawned():
    """J-10: with `python -X dev`, as with aiojobs in a loop's debug mode."""
    program = """
import anyio
from structweb.jobs import Scheduler

async def fail():
    raise LookupError

async def here(scheduler):
    await scheduler.spawn(fail)

def tell(scheduler, context):
    print(context["source_traceback"][-1].name)

async def main():
    async with Scheduler(exception_handler=tell) as scheduler:
        await here(scheduler)

anyio.run(main)
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "here\n"
