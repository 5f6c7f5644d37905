"""A second signal in the midst of clean-up: nothing is waited for any more, whatever has begun."""

import os
import signal

import anyio
import pytest

from structweb import web

pytestmark = pytest.mark.anyio


class House:
    """An application of contexts that take a minute to be left; the first one to be left sends a signal."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.app = web.Application()
        for name in ("first", "second", "third"):
            self.app.cleanup_ctx.append(self.context(name))
        self.app.on_cleanup.append(self.receiver)

    def context(self, name: str):
        async def context(app: web.Application):
            yield
            if not self.events:
                os.kill(os.getpid(), signal.SIGTERM)
            await self.leave(name)

        return context

    async def receiver(self, app: web.Application) -> None:
        await self.leave("receiver")

    async def leave(self, name: str) -> None:
        self.events.append(name)
        try:
            await anyio.sleep(60)
            self.events.append(f"{name} has had its time")
        finally:
            self.events.append(f"{name} has ended")


def ended(*names: str) -> list[str]:
    return [event for name in names for event in (name, f"{name} has ended")]


async def test_it_ends_a_clean_up_that_a_first_one_has_begun():
    house = House()
    start = anyio.current_time()
    runner = web.AppRunner(house.app, handle_signals=True, cleanup_timeout=1000)
    async with runner:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()
    assert house.events == ended("third", "second", "first", "receiver")
    assert anyio.current_time() - start == pytest.approx(0, abs=0.1)
    assert [(step.kind, step.outcome) for step in runner.report.steps] == [
        *[("context", "cut short")] * 3,
        ("on_cleanup", "cut short"),
    ]
    assert f"{__file__}:" in runner.report.steps[0].waits_at


async def test_it_ends_the_clean_up_of_a_start_that_a_first_one_has_ended():
    async def start_up(app: web.Application) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()

    house = House()
    house.app.on_startup.append(start_up)
    start = anyio.current_time()
    with pytest.raises(web.GracefulExit):
        async with web.AppRunner(house.app, handle_signals=True):
            raise AssertionError
    assert house.events == ended("third", "second", "first")
    assert anyio.current_time() - start == pytest.approx(0, abs=0.1)
