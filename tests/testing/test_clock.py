"""Virtual time: what waits for an hour passes at once, on both backends (B-07)."""

import asyncio
import threading
import time

import anyio
import pytest

from structweb import web
from structweb.testing import memory_pipe, virtual_backend

pytestmark = pytest.mark.anyio


async def test_an_hour_of_sleep_takes_no_time() -> None:
    began, began_really = anyio.current_time(), time.monotonic()
    await anyio.sleep(3600)
    assert anyio.current_time() - began == pytest.approx(3600)
    assert time.monotonic() - began_really < 60


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


async def test_an_hour_of_keep_alive_takes_no_time() -> None:
    """Two requests on one connection, an hour apart; half an hour later the server's patience is at its end."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    client, server = memory_pipe()
    began, began_really = anyio.current_time(), time.monotonic()
    async with anyio.create_task_group() as tasks, web.AppRunner(app, keepalive_timeout=5400) as runner:
        tasks.start_soon(runner.server, server)
        for _ in range(2):
            await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await client.receive_until(b"hello")
            await anyio.sleep(3600)
        assert await client.receive_all() == b""
    assert anyio.current_time() - began == pytest.approx(3600 + 5400, abs=2)
    assert time.monotonic() - began_really < 60


def test_threads_of_the_default_executor_are_waited_for_without_a_limit() -> None:
    """Since Python 3.12 asyncio waits 300 seconds for them, which pass at once where time is virtual."""
    gate = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, gate.wait)
        loop.call_later(400, gate.set)

    backend, options = virtual_backend("asyncio")
    anyio.run(main, backend=backend, backend_options=options)
    assert gate.is_set()


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="must be one of 'asyncio', 'trio', got 'curio'"):
        virtual_backend("curio")
