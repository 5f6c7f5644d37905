"""Jobs made at random, that wait for each other, fail, shield themselves and are closed: none is left, none is mixed up."""

from random import Random

import anyio
import anyio.abc
import pytest

from structweb.jobs import Job, JobCancelled, Scheduler

pytestmark = pytest.mark.anyio

#: What may be raised while a job is waited for: it was closed, took too long, or failed.
ENDS = (JobCancelled, TimeoutError, LookupError)


class Program:
    """A scheduler, and those who give it jobs."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.told: list[object] = []
        self.jobs: list[tuple[Job[int], int]] = []
        self.begun = self.ended = 0
        self.scheduler = Scheduler(
            limit=rng.choice((None, 1, 3, 50)),
            pending_limit=rng.choice((0, 1, 5)),
            wait_timeout=rng.choice((0.5, 60)),
            exception_handler=lambda scheduler, context: self.told.append(context["exception"]),
        )

    async def job(self, number: int, depth: int = 0) -> int:
        """Do a few things, and return the number."""
        self.begun += 1
        try:
            for _ in range(self.rng.randrange(4)):
                await self.step(depth)
        finally:
            self.ended += 1
        return number

    async def step(self, depth: int) -> None:
        rng = self.rng
        match rng.choice(("wait", "wait", "turn", "turn", "hurry", "job", "tasks", "raise", "stubborn")):
            case "wait":
                await anyio.sleep(rng.random())
            case "turn":
                await anyio.lowlevel.checkpoint()
            case "hurry":
                with anyio.move_on_after(rng.random()):
                    await anyio.sleep(1)
            case "job" if depth < 3:
                await self.ask(depth + 1, timeout=rng.choice((None, rng.random())))
            case "tasks":
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep, rng.random())
                    group.start_soon(anyio.lowlevel.checkpoint)
            case "raise":
                raise LookupError
            case "stubborn":
                try:
                    await anyio.sleep(5)
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(rng.random())

    async def ask(self, depth: int = 0, *, timeout: float | None = None) -> None:
        """Spawn a job, and wait for it, close it, or leave it alone."""
        rng, scheduler, number = self.rng, self.scheduler, len(self.jobs)
        try:
            if rng.random() < 0.1:
                assert await scheduler.shield(self.job, number, depth) == number
                return
            given = (self.job, number, depth) if rng.random() < 0.5 else (self.job(number, depth),)
            job = await scheduler.spawn(*given)
            self.jobs.append((job, number))
            match rng.choice(("close", "wait", "wait", "leave")):
                case "close":
                    await job.close()
                case "wait":
                    assert await job.wait(timeout=timeout) == number
        except ENDS:
            pass
        except RuntimeError as exc:
            assert str(exc) == "Scheduling a new job after closing"  # noqa: PT017 - no other one is expected

    async def client(self) -> None:
        for _ in range(10):
            with anyio.move_on_after(self.rng.choice((0.1, 5))):
                await self.ask(timeout=self.rng.choice((None, self.rng.random())))
                await anyio.sleep(self.rng.random())

    async def run(self) -> None:
        rng = self.rng
        with anyio.move_on_after(rng.choice((2, 1000))):
            async with self.scheduler, anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(self.client)
                if rng.random() < 0.3:
                    await anyio.sleep(rng.random() * 3)
                    await self.scheduler.close()


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_jobs_do(seed: int):
    program = Program(seed)
    await program.run()
    assert program.begun == program.ended
    assert (program.scheduler.active_count, program.scheduler.pending_count) == (0, 0)
    for job, number in program.jobs:
        assert job.closed
        try:
            assert await job.wait() == number
        except ENDS:
            pass
    assert {type(error) for error in program.told} <= {LookupError, TimeoutError}
