"""A server that is cancelled from outside shuts down as after a signal: in order, and each step has its own time."""

import anyio
import pytest

from structweb import jobs, web

pytestmark = pytest.mark.anyio


class House:
    """An application whose parts take a while to end, and note it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.app = app = web.Application()
        app.cleanup_ctx.append(self.context("slow", 25))
        app.cleanup_ctx.append(self.context("quick", 1))
        jobs.setup(app, wait_timeout=30)
        for name in ("first", "second"):
            app.service(self.service(name), name=name)
        app.on_startup.append(self.start)

    async def start(self, app: web.Application) -> None:
        app.start_soon(self.ended_by_cancellation, "loose")
        await app[jobs.AIOJOBS_SCHEDULER].spawn(self.work)

    def context(self, name: str, seconds: float):
        async def context(app: web.Application):
            yield
            await anyio.sleep(seconds)
            self.events.append(name)

        return context

    def service(self, name: str):
        async def serve() -> None:
            await self.ended_by_cancellation(name)

        return serve

    async def ended_by_cancellation(self, name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            self.events.append(name)

    async def work(self) -> None:
        await anyio.sleep(20)
        self.events.append("job")


IN_ORDER = ["loose", "second", "first", "job", "quick", "slow"]


async def test_clean_up_has_its_order_and_its_time():
    house = House()
    with anyio.CancelScope() as scope:
        async with web.AppRunner(house.app, cleanup_timeout=30) as runner:
            scope.cancel()
            await anyio.sleep_forever()
    assert house.events == IN_ORDER
    assert runner.report.clean


@pytest.mark.parametrize("moment", [0.5, 1.5, 10, 21.5, 40])
async def test_it_may_come_when_clean_up_is_under_way(moment: float):
    house = House()
    with anyio.move_on_after(moment):
        async with web.AppRunner(house.app, cleanup_timeout=30) as runner:
            pass
    assert house.events == IN_ORDER
    assert runner.report.clean


@pytest.mark.parametrize("moment", [0.5, 1.5, 10])
async def test_it_may_come_when_a_failed_start_is_undone(moment: float):
    async def fail(app: web.Application) -> None:
        raise LookupError("at the start")

    house = House()
    house.app.on_startup.append(fail)
    with anyio.move_on_after(moment), pytest.raises(LookupError):
        async with web.AppRunner(house.app, cleanup_timeout=30):
            raise AssertionError
    assert house.events == ["loose", "job", "quick", "slow"]
