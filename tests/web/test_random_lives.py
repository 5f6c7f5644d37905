"""Handlers made at random, that spawn, shield and give up; clients that leave at random; a shutdown in the midst of it.

Whatever they do, blocks that must not be cut run to their end, everything that has begun ends, in time, and only what
raises is logged as an error.
"""

import logging
from collections import Counter
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

import anyio
import anyio.abc
import pytest

from structweb import jobs, web
from structweb.testing import ClientEnd, memory_pipe

pytestmark = pytest.mark.anyio

#: Seconds for requests to finish at a shutdown, and for their shields: more than the longest block takes.
TIMEOUT, SHIELDS = 5.0, 200.0
#: Steps of one block, blocks in each other, and the longest step in seconds: a block takes 3 * 3 ** 3 of them at most.
STEPS, DEPTH, LONGEST = 3, 3, 2.0


class Boom(Exception):
    """What handlers raise."""


@dataclass
class Record:
    """What became of the blocks of all handlers, by their kinds."""

    begun: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)


class Life:
    """One handler's program, made up as it goes: the seed decides."""

    in_job: ContextVar[bool] = ContextVar("in_job", default=False)

    def __init__(self, request: web.Request, seed: int, record: Record) -> None:
        self.request = request
        self.rng = Random(seed)
        self.record = record
        self.response: web.StreamResponse | None = None

    async def block(self, kind: str, depth: int, ours: bool = True) -> None:
        """Run a block of a few steps, and note how it ends; `ours`: whether it is the handler itself that runs it."""
        self.record.begun[kind] += 1
        try:
            for _ in range(self.rng.randint(1, STEPS)):
                await self.step(depth, ours)
        except anyio.get_cancelled_exc_class():
            self.record.cancelled[kind] += 1
            raise
        except BaseException:
            self.record.raised[kind] += 1
            raise
        else:
            self.record.done[kind] += 1

    async def step(self, depth: int, ours: bool) -> None:  # noqa: C901 - one case for each thing that can be done
        """Do one thing."""
        rng, request, in_job = self.rng, self.request, self.in_job.get()
        what = rng.choice(
            ("wait", "wait", "wait", "turn", "atomic", "hurry", "shield", "job", "spawn", "body", "raise")
        )
        if depth >= DEPTH and what not in ("turn", "body", "raise"):
            what = "wait"
        match what:
            case "wait":
                await anyio.sleep(rng.choice((0.1, 0.5, 1.0, LONGEST)))
            case "turn":
                await anyio.lowlevel.checkpoint()
            case "atomic" if not in_job:  # a job may outlive the server, and with it the shields of its requests
                async with request.atomic(deadline=1000):
                    await self.block("atomic", depth + 1, ours)
            case "hurry":
                with anyio.move_on_after(rng.choice((0, 0.3, 1, 3))):
                    await self.block("hurried", depth + 1, ours)
            case "shield":
                await jobs.shield(request, self.job, depth + 1)
            case "job":
                job = await jobs.spawn(request, self.job, depth + 1)
                if rng.random() < 0.5 and not in_job:  # else all that may be active could wait for others
                    await job.wait()
            case "spawn":
                with suppress(RuntimeError):  # the request is ending, or over
                    request.spawn(self.block, "task", depth + 1, False)
            case "body":
                await self.talk(ours)
            case "raise" if rng.random() < 0.3:
                raise Boom

    async def job(self, depth: int) -> None:
        """Run a block as a job."""
        self.in_job.set(True)
        await self.block("job", depth, False)

    async def talk(self, ours: bool) -> None:
        """Read or write a little."""
        try:
            if self.rng.random() < 0.5 or not ours:
                await self.request.content.readany()
            elif self.response is None:
                self.response = response = web.StreamResponse()
                await response.prepare(self.request)
            else:
                await self.response.write(bytes(self.rng.choice((1, 1000, 100_000))))
        except (ConnectionError, RuntimeError, web.RequestPayloadError):
            pass  # the client has left, another task of this handler reads, or nothing has come for a minute


class House:
    """An application of such handlers, and clients in memory."""

    def __init__(self, seed: int, group: anyio.abc.TaskGroup) -> None:
        self.rng = Random(seed)
        self.record = Record()
        self.group = group
        self.app = web.Application()
        jobs.setup(self.app, limit=3, wait_timeout=1000, exception_handler=lambda scheduler, context: None)
        self.app.router.add_route("*", "/{seed}", self.handle)
        self.clients: list[ClientEnd] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        life = Life(request, int(request.match_info["seed"]), self.record)
        await life.block("handler", 0)
        return web.Response(text="done") if life.response is None else life.response

    def visit(self, runner: web.AppRunner) -> None:
        """Have a client come, ask a few things, and do something else later."""
        client, server = memory_pipe(self.rng.choice((1000, 65536)))
        self.clients.append(client)
        self.group.start_soon(runner.server, server)
        self.group.start_soon(self.behave, client, self.rng.randrange(1 << 30))

    async def behave(self, client: ClientEnd, seed: int) -> None:
        rng = Random(seed)
        await anyio.sleep(rng.choice((0, 0.5, 2)))
        try:
            for _ in range(rng.randint(1, 3)):
                head = b"POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n" % rng.randrange(1 << 30)
                await client.send(head + bytes(rng.choice((0, 5, 10, 10, 10))))
                if rng.random() < 0.3:
                    await anyio.sleep(rng.choice((0.1, 1, 3)))
            await anyio.sleep(rng.choice((0, 0.2, 1, 5)))
            match rng.choice(("read", "read", "close", "reset", "half_close", "stall")):
                case "read":
                    await client.receive_all()
                case "close":
                    client.close()
                case "reset":
                    client.reset()
                case "half_close":
                    await client.half_close()
                case "stall":
                    client.stall()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass


async def run(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with anyio.create_task_group() as group:
        house = House(seed, group)
        options = {"shutdown_timeout": house.rng.choice((0, 1, TIMEOUT)), "shield_timeout": SHIELDS}
        runner = web.AppRunner(house.app, access_log=None, **options)
        async with runner:
            for _ in range(house.rng.randint(1, 6)):
                house.visit(runner)
            await anyio.sleep(house.rng.choice((0, 0.5, 2, 5, 20)))
            start = anyio.current_time()
        took = anyio.current_time() - start
        for client in house.clients:
            client.close()
        group.cancel_scope.cancel()
    record, report = house.record, runner.report
    for kind, begun in record.begun.items():
        assert begun == record.done[kind] + record.raised[kind] + record.cancelled[kind], (kind, record)
    assert record.cancelled["atomic"] == 0, record
    assert record.cancelled["job"] == 0, record
    assert report is not None
    assert (report.lifted, report.abandoned) == ((), ()), report
    assert took <= TIMEOUT + 2 * LONGEST * STEPS ** (DEPTH + 1), took
    for entry in caplog.records:
        if entry.levelno >= logging.ERROR:
            assert entry.exc_info is not None, entry
            assert only_booms(entry.exc_info[1]), entry.exc_info[1]


def only_booms(exc: BaseException | None) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return all(map(only_booms, exc.exceptions))
    return isinstance(exc, Boom)


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_handlers_and_clients_do(seed: int, caplog: pytest.LogCaptureFixture):
    await run(seed, caplog)
