"""Applications made at random, whose parts fail or hang at any stage: what was entered is left, in order, and in time."""

import logging
from collections.abc import AsyncIterator
from random import Random

import anyio
import pytest

from structweb import jobs, web

pytestmark = pytest.mark.anyio

#: Seconds that each step of a clean-up has, and those it may take longer: for what is cut, and for who is told of it.
CLEANUP, LEEWAY = 3.0, 0.5


class Boom(Exception):
    """What parts raise; its argument says which."""


class House:
    """An application of a few parts, and what they did."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.events: list[tuple[str, str]] = []
        self.raised: list[str] = []
        self.steps = 0
        self.parts = 0
        self.app = self.make_app(0)
        self.steps += 1  # background tasks and services together

    def name(self, kind: str) -> str:
        self.parts += 1
        return f"{kind} {self.parts}"

    async def work(self, name: str, failing: float, *, hangs: float = 0.0) -> None:
        """Take some time; raise or hang, if it has to be."""
        rng = self.rng
        await anyio.sleep(rng.choice((0, 0, 0.1, 1)))
        if rng.random() < failing:
            self.raised.append(name)
            raise Boom(name)
        if rng.random() < hangs:
            await anyio.sleep_forever()

    def make_app(self, depth: int) -> web.Application:
        rng, app = self.rng, web.Application()
        for _ in range(rng.randint(0, 3)):
            app.cleanup_ctx.append(self.make_context())
        if rng.random() < 0.2:
            jobs.setup(app, wait_timeout=1, close_timeout=0.5)
            self.steps += 1
        for _ in range(rng.randint(0, 2)):
            app.on_startup.append(self.make_receiver("startup"))
        for _ in range(rng.randint(0, 2)):
            app.on_shutdown.append(self.make_receiver("shutdown"))
        for _ in range(rng.randint(0, 2)):
            app.on_cleanup.append(self.make_receiver("cleanup", hangs=0.1))
            self.steps += 1
        for _ in range(rng.choice((0, 0, 1, 2))):
            app.service(
                self.make_service(), name=self.name("service"), critical=rng.random() < 0.5,
                restart=rng.choice(("never", "on-failure", "always")),
            )  # fmt: skip
        for _ in range(rng.choice((0, 0, 1)) if depth < 2 else 0):
            app.add_subapp(f"/{self.name('sub').replace(' ', '')}/", self.make_app(depth + 1))
        return app

    def make_context(self):
        name = self.name("context")
        self.steps += 1

        async def context(app: web.Application) -> AsyncIterator[None]:
            await self.work(name, 0.05)
            if self.rng.random() < 0.3:
                app.start_soon(self.background, self.name("task"))
            self.events.append(("entered", name))
            try:
                yield
            finally:
                self.events.append(("left", name))
            await self.work(name, 0.1, hangs=0.1)

        return context

    def make_receiver(self, kind: str, hangs: float = 0.0):
        name = self.name(kind)

        async def receiver(app: web.Application) -> None:
            self.events.append((kind, name))
            await self.work(name, 0.05, hangs=hangs)

        return receiver

    async def background(self, name: str) -> None:
        self.events.append(("entered", name))
        try:
            for _ in range(self.rng.randint(1, 4)):
                await self.work(name, 0.03)
        finally:
            self.events.append(("left", name))

    def make_service(self):
        name = self.name("service")

        async def service() -> None:
            await self.background(name)

        return service


async def run(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    house = House(seed)
    rng = Random(seed + 1)
    runner = web.AppRunner(house.app, access_log=None, shutdown_timeout=2, cleanup_timeout=CLEANUP)
    end, error = None, None
    with anyio.CancelScope() as scope:
        try:
            async with anyio.create_task_group() as group:

                async def strike(seconds: float) -> None:
                    nonlocal end
                    await anyio.sleep(seconds)
                    end = anyio.current_time()
                    scope.cancel()

                if rng.random() < 0.3:
                    group.start_soon(strike, rng.choice((0, 0.1, 1, 3)))
                async with runner:
                    await anyio.sleep(rng.choice((0, 0.5, 2, 5)))
                    if end is None:
                        end = anyio.current_time()
                group.cancel_scope.cancel()
        except* Boom as exc:
            error = exc
    took = 0 if end is None else anyio.current_time() - end
    entered = [name for event, name in house.events if event == "entered"]
    left = [name for event, name in house.events if event == "left"]
    assert sorted(entered) == sorted(left), house.events
    contexts = [name for name in entered if name.startswith("context")]
    assert [name for name in left if name.startswith("context")] == contexts[::-1], house.events
    for kind in ("startup", "shutdown", "cleanup"):
        told = [name for event, name in house.events if event == kind]
        assert len(told) == len(set(told)), house.events
    assert took <= 2 + 0.2 + house.steps * (CLEANUP + LEEWAY), (took, house.steps)
    if error is not None:
        assert {str(each) for each in flat(error)} <= set(house.raised)
    for entry in caplog.records:
        if entry.levelno >= logging.ERROR and entry.exc_info:
            assert all(isinstance(each, Boom | TimeoutError) for each in flat(entry.exc_info[1])), entry.exc_info


def flat(exc):
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for each in exc.exceptions for leaf in flat(each)]
    return [exc]


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_its_parts_do(seed: int, caplog: pytest.LogCaptureFixture):
    await run(seed, caplog)
