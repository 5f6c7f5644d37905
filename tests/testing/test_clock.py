"""Virtual time: what waits for an hour passes at once, on both backends."""

import time

import anyio
import pytest

from structweb.testing import virtual_backend

pytestmark = pytest.mark.anyio


async def test_an_hour_of_sleep_takes_no_time() -> None:
    began, began_really = anyio.current_time(), time.monotonic()
    await anyio.sleep(3600)
    assert anyio.current_time() - began == pytest.approx(3600)
    assert time.monotonic() - began_really < 1


async def test_a_timeout_comes_before_a_later_wake_up() -> None:
    with anyio.move_on_after(10) as scope:
        await anyio.sleep(20)
    assert scope.cancelled_caught


async def test_the_clock_stands_still_while_tasks_run() -> None:
    began = anyio.current_time()
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    assert anyio.current_time() == began


async def test_deadlines_come_in_their_order() -> None:
    order: list[float] = []

    async def wake_after(seconds: float) -> None:
        await anyio.sleep(seconds)
        order.append(seconds)

    async with anyio.create_task_group() as tasks:
        for seconds in (30, 0.001, 86400 * 30, 5):
            tasks.start_soon(wake_after, seconds)
    assert order == [0.001, 5, 30, 86400 * 30]


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="must be one of 'asyncio', 'trio', got 'curio'"):
        virtual_backend("curio")
