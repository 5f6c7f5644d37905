"""CPU of background jobs and of atomic handlers, against aiojobs on asyncio: ``python benchmarks/jobs.py``.

Both run in one event loop, in short slices that take turns; what is printed is the median of the ratios of neighbours:
1.5 means that structweb takes one and a half times aiojobs' CPU.  `floor` is what anyio takes to start a task and to
wait for it, without any scheduler.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

import aiojobs
import aiojobs.aiohttp
import anyio
from aiohttp import web as aiohttp_web
from aiohttp.test_utils import make_mocked_request

from structweb import jobs, web
from structweb._server.lifecycle import Engine
from structweb._web.handling import WebHandler
from structweb._web.lifespan import Lifespan
from structweb._web.settings import settings_from
from structweb.testing import memory_pipe

BATCH = 50

Slice = Callable[[int], Awaitable[object]]


async def work() -> None:
    """Do nothing but let others have their turn."""
    await asyncio.sleep(0)


async def spawned(scheduler: jobs.Scheduler | aiojobs.Scheduler, count: int) -> None:
    """Start jobs that nobody waits for, and let them end."""
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            await scheduler.spawn(work())
        while scheduler.active_count:  # noqa: ASYNC110 - aiojobs has no event for it, and both are to do the same
            await asyncio.sleep(0)


async def awaited(scheduler: jobs.Scheduler | aiojobs.Scheduler, count: int) -> None:
    """Start a job, wait for it, start the next one."""
    for _ in range(count):
        await (await scheduler.spawn(work())).wait()


async def floor(group: anyio.abc.TaskGroup, count: int) -> None:
    """Start a task, wait for it, start the next one."""
    for _ in range(count):
        await group.create_task(work()).wait()


async def calls(handler: Callable[[object], Awaitable[object]], request: object, count: int) -> None:
    """Call a handler again and again."""
    for _ in range(count):
        await handler(request)


@jobs.atomic
async def ours_decorated(request: web.Request) -> web.Response:
    """Be atomic by decoration."""
    await work()
    return web.Response()


async def ours_in_a_block(request: web.Request) -> web.Response:
    """Be atomic by a block."""
    async with request.atomic():
        await work()
    return web.Response()


@aiojobs.aiohttp.atomic
async def theirs_decorated(request: aiohttp_web.Request) -> aiohttp_web.Response:
    """Be atomic as aiojobs has it."""
    await work()
    return aiohttp_web.Response()


async def compare(ours: Slice, theirs: Slice, rounds: int, count: int) -> tuple[float, float, float]:
    """Return microseconds of CPU of one operation, ours and theirs, and the ratio: medians."""
    mine: list[float] = []
    others: list[float] = []
    for _ in range(rounds):
        for run, into in ((ours, mine), (theirs, others)):
            began = time.process_time()
            await run(count)
            into.append((time.process_time() - began) / count * 1e6)
    ratio = statistics.median(a / b for a, b in zip(mine, others, strict=True))
    return statistics.median(mine), statistics.median(others), ratio


async def measure(request: web.Request, rounds: int, count: int) -> None:
    """Print the table; `request` is one of structweb that is being handled."""
    theirs = aiohttp_web.Application()
    scheduler = request.app[jobs.AIOJOBS_SCHEDULER]
    async with aiojobs.Scheduler(limit=None) as other, anyio.create_task_group() as group:
        theirs[aiojobs.aiohttp.AIOJOBS_SCHEDULER] = other
        mocked = make_mocked_request("GET", "/", app=theirs)
        mocked.match_info.add_app(theirs)
        atomic = partial(calls, theirs_decorated, mocked)
        pairs: dict[str, tuple[Slice, Slice]] = {
            "spawn": (partial(spawned, scheduler), partial(spawned, other)),
            "spawn and wait": (partial(awaited, scheduler), partial(awaited, other)),
            "@atomic": (partial(calls, ours_decorated, request), atomic),
            "request.atomic": (partial(calls, ours_in_a_block, request), atomic),
            "floor": (partial(floor, group), partial(awaited, other)),
        }
        for name, (mine, another) in pairs.items():
            us, them, ratio = await compare(mine, another, rounds, count)
            print(f"{name:16} structweb {us:6.2f} us   aiojobs {them:6.2f} us   ratio {ratio:.2f}")


async def main(rounds: int, count: int) -> None:
    """Serve one request, whose handler measures."""

    async def handler(request: web.Request) -> web.Response:
        await measure(request, rounds, count)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    jobs.setup(app, limit=None)
    settings = settings_from({}, "benchmark")
    client, server = memory_pipe()
    async with Lifespan(app), Engine(WebHandler(app, settings), settings.connections) as engine:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.serve_stream, server)
            await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await client.receive_all()
        if b" 200 " not in answer:
            raise RuntimeError(f"the measuring failed: {answer!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=2000)
    given = parser.parse_args()
    anyio.run(main, given.rounds, given.count)
