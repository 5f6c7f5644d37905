"""Applications made at random, with limits and policies at every level, middlewares that mend and retry, services that fall.

Clients leave at random, and a shutdown comes in the midst of it.  Whoever waits for an answer has it when the time of the
handler is up, nobody is cancelled for a reason that his policy does not know, and everything that has begun ends.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import anyio
import anyio.abc
import pytest

from structweb import web
from structweb.testing import ClientEnd, memory_pipe

pytestmark = pytest.mark.anyio

#: Seconds that blocks behind shields take, at most, and that shields hold; steps of a handler.
HELD, SHIELD, STEPS = 2.0, 1000.0, 3
#: Seconds for requests at the end, for the delay before that, and for each clean-up.
TIMEOUT, DRAIN, CLEANUP = 3.0, 1.0, 2.0
MOMENT = 0.3
KINDS = ("mend", "again", "hurry", "audit", "save")


class Boom(Exception):
    """What handlers, tasks and services raise."""


@dataclass
class Ledger:
    """What has begun and ended, and what was amiss."""

    begun: int = 0
    ended: int = 0
    shields: int = 0
    whole: int = 0
    amiss: list[str] = field(default_factory=list)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class House:
    """An application of nested applications, each with a say of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.ledger = Ledger()
        self.paths: list[str] = []
        #: What holds at a path: its policy, its time, and the kinds of the middlewares around it.
        self.limits: dict[str, tuple[str, float | None, list[str]]] = {}
        self.app = self.make_app("", 0, "cancel", None, [])
        for number in range(2):
            restart = self.rng.choice(("on-failure", "always"))
            backoff = web.Backoff(initial=self.rng.choice((0, 0.1, 1)), maximum=5, random=self.rng.random)
            self.app.service(self.serve, restart=restart, backoff=backoff, critical=False, name=f"service {number}")

    def make_app(
        self, prefix: str, depth: int, policy: str, seconds: float | None, around: list[str]
    ) -> web.Application:
        rng = self.rng
        said, policy, seconds = self.say(policy, seconds)
        kinds = [rng.choice(KINDS) for _ in range(rng.randint(0, 2))]
        around = [*around, *kinds]
        app = web.Application(middlewares=map(self.make_middleware, kinds), deadline_header="X-Patience", **said)
        for number in range(2):
            said, *limits = self.say(policy, seconds)
            inner = [rng.choice(KINDS)] if rng.random() < 0.3 else []
            said["middlewares"] = list(map(self.make_middleware, inner))
            path = f"/{number}"
            app.router.add_route("*", path, self.handle, **said)
            self.limits[prefix + path] = limits[0], limits[1], around
        for number in range(rng.randint(0, 2) if depth < 2 else 0):
            below = f"/app{number}"
            app.add_subapp(below, self.make_app(prefix + below, depth + 1, policy, seconds, around))
        return app

    def say(self, policy: str, seconds: float | None) -> tuple[dict[str, object], str, float | None]:
        """Return what one level says, and what holds then."""
        said: dict[str, object] = {}
        if self.rng.random() < 0.5:
            said["disconnect"] = policy = self.rng.choice(("cancel", "finish"))
        if self.rng.random() < 0.5:
            said["handler_timeout"] = seconds = self.rng.choice((None, 0.5, 2, 5))
        return said, policy, seconds

    def make_middleware(self, kind: str) -> object:
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            match kind:
                case "mend":
                    try:
                        return await handler(request)
                    except (Boom, TimeoutError):
                        return web.Response(status=503)
                case "again":
                    try:
                        return await handler(request)
                    except Boom:
                        return await handler(request)
                case "hurry":
                    with anyio.move_on_after(3):
                        return await handler(request)
                    return web.Response(status=503)
                case "audit":
                    request.spawn(self.note, request, 0.5)
                case "save":
                    response = await handler(request)
                    await self.hold(request)
                    return response
            return await handler(request)

        return around

    async def serve(self) -> None:
        self.ledger.begun += 1
        try:
            await anyio.sleep(self.rng.choice((0, 0.5, 3)))
            if self.rng.random() < 0.5:
                raise Boom
        finally:
            self.ledger.ended += 1

    async def note(self, request: web.Request, seconds: float, fails: bool = False) -> None:
        """Be a task of a request."""
        self.ledger.begun += 1
        try:
            await anyio.sleep(seconds)
            if fails:
                raise Boom
        except anyio.get_cancelled_exc_class():
            self.check(request)
            raise
        finally:
            self.ledger.ended += 1

    async def hold(self, request: web.Request) -> None:
        """Do what must not be cut."""
        async with request.atomic(deadline=SHIELD):
            self.ledger.shields += 1
            await anyio.sleep(self.rng.choice((0, HELD / 2, HELD)))
            self.ledger.whole += 1

    async def handle(self, request: web.Request) -> web.StreamResponse:
        rng = self.rng
        self.ledger.begun += 1
        try:
            for _ in range(rng.randint(0, STEPS)):
                match rng.choice(("wait", "wait", "hold", "spawn", "fail", "raise", "read")):
                    case "wait":
                        await anyio.sleep(rng.choice((0, 0.2, 1, 4, 30)))
                    case "hold":
                        await self.hold(request)
                    case "spawn":
                        request.spawn(self.note, request, rng.choice((0.1, 1, 20)))
                    case "fail" if rng.random() < 0.4:
                        request.spawn(self.note, request, 0.1, True)
                    case "raise" if rng.random() < 0.4:
                        raise rng.choice((Boom, web.HTTPConflict, TimeoutError))
                    case "read":
                        await request.read()
        except anyio.get_cancelled_exc_class():
            self.check(request)
            raise
        finally:
            self.ledger.ended += 1
        return web.Response(text="done")

    def check(self, request: web.Request) -> None:
        """Look whether a cancellation has a reason that there can be."""
        policy, seconds, _ = self.limits[request.path]
        match request.cancel_reason:
            case web.CancelReason.CLIENT_GONE if policy != "cancel":
                self.ledger.amiss.append(f"{request.path} is {policy}, and was cancelled with its client")
            case web.CancelReason.DEADLINE if anyio.current_time() < request.deadline:
                self.ledger.amiss.append(f"{request.path} was cancelled before its deadline")
            case web.CancelReason.DEADLINE if seconds is None and "X-Patience" not in request.headers:
                self.ledger.amiss.append(f"{request.path} has no deadline")
            case web.CancelReason.LIMIT:
                self.ledger.amiss.append(f"{request.path} has no limit of the server")


async def visit(house: House, client: ClientEnd, path: str) -> None:
    """Ask once, and wait for the answer or leave."""
    rng = house.rng
    _, seconds, around = house.limits[path]
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Connection: close", "Content-Length: 3"]
    if rng.random() < 0.3:
        asked = rng.choice((0, 0.1, 1, 100))
        seconds = asked if seconds is None else min(asked, seconds)
        lines.append(f"X-Patience: {asked}")
    start = anyio.current_time()
    try:
        await client.send("\r\n".join([*lines, "", "abc"]).encode())
        if rng.random() < 0.4:
            await anyio.sleep(rng.choice((0, 0.1, 1, 3)))
            rng.choice((client.close, client.reset))()
            return
        data = await client.receive_all()
    except anyio.BrokenResourceError:
        return
    took = anyio.current_time() - start
    if data and not data.startswith(b"HTTP/1.1 "):
        house.ledger.amiss.append(f"{path} was answered {data!r}")
    # Each go takes its time and what is held back then; what middlewares do comes behind it.
    goes = 2 ** around.count("again")
    if seconds is not None and took > goes * (seconds + HELD + around.count("save") * HELD + 0.5) + MOMENT:
        house.ledger.amiss.append(f"{path} has {seconds} s, and was answered after {took} s")


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_limits_there_are(seed: int, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    house = House(seed)
    rng, ledger = house.rng, house.ledger
    options = {"shutdown_timeout": TIMEOUT, "drain_delay": rng.choice((0, DRAIN)), "cleanup_timeout": CLEANUP}
    async with anyio.create_task_group() as group:
        runner = web.AppRunner(house.app, access_log=None, shield_timeout=100, **options)
        async with runner:
            for _ in range(rng.randint(1, 8)):
                client, server = memory_pipe()
                group.start_soon(runner.server, server)
                group.start_soon(visit, house, client, rng.choice(list(house.limits)))
            await anyio.sleep(rng.choice((0, 0.5, 2, 6, 50)))
            start = anyio.current_time()
        took = anyio.current_time() - start
    assert ledger.amiss == []
    assert (ledger.begun, ledger.shields) == (ledger.ended, ledger.whole)
    assert took <= DRAIN + TIMEOUT + 8 * HELD + CLEANUP + MOMENT
    assert runner.report is not None
    assert (runner.report.lifted, runner.report.abandoned) == ((), ())
    assert all(step.outcome in ("done", "failed") for step in runner.report.steps), runner.report.steps
    for record in caplog.records:
        if record.levelno >= logging.ERROR:
            assert record.exc_info is not None, record
            assert only_booms(record.exc_info[1]), record.exc_info[1]


def only_booms(exc: BaseException | None) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return all(map(only_booms, exc.exceptions))
    return isinstance(exc, Boom | web.HTTPConflict | TimeoutError)
