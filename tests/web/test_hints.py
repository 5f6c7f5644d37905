"""Errors that come from code written for asyncio and aiohttp say what to write instead."""

import asyncio

import anyio
import anyio.to_thread
import pytest

from structweb import web
from tests.web.served import serving

pytestmark = pytest.mark.anyio


async def sleep(request: web.Request) -> web.Response:
    await asyncio.sleep(0.01)
    return web.Response(text="ran")


async def yield_to_the_loop(request: web.Request) -> web.Response:
    await asyncio.sleep(0)
    return web.Response(text="ran")


async def wait_beside_another(request: web.Request) -> web.Response:
    """An Event of asyncio asks for no running loop: it fails inside, for it has got None as one."""
    event = asyncio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(event.wait)
        await anyio.wait_all_tasks_blocked()
        event.set()
    return web.Response(text="ran")


async def wait_for_the_event(request: web.Request) -> web.Response:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    return web.Response(text="ran")


def notes_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the notes on the one error that the server logged."""
    (record,) = (record for record in caplog.records if record.name == "structweb.server" and record.exc_info)
    assert record.exc_info is not None
    return getattr(record.exc_info[1], "__notes__", [])


@pytest.mark.parametrize("handler", [sleep, yield_to_the_loop, wait_beside_another, wait_for_the_event])
async def test_what_needs_asyncio_runs_there_and_names_the_way_out_on_trio(
    handler, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
):
    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as served:
        answer = await served.ask()
    if anyio_backend_name == "asyncio":
        assert (answer.status, answer.text) == (200, "ran")
        return
    assert answer.status == 500
    (note,) = notes_of(caplog)
    assert "anyio.sleep" in note
    assert "anyio.create_task_group" in note
    assert 'backend="asyncio"' in note


async def test_other_errors_have_no_such_note(anyio_backend_name: str, caplog: pytest.LogCaptureFixture):
    """A thread has no loop on either backend; on asyncio, that is no reason to leave asyncio."""

    async def stray(request: web.Request) -> web.Response:
        if request.query_string == "thread":
            await anyio.to_thread.run_sync(asyncio.get_running_loop)
        raise RuntimeError("no running database")

    app = web.Application()
    app.router.add_get("/", stray)
    async with serving(app) as served:
        assert (await served.ask("/?other")).status == 500
        assert notes_of(caplog) == []
        caplog.clear()
        if anyio_backend_name == "asyncio":
            assert (await served.ask("/?thread")).status == 500
            assert notes_of(caplog) == []


async def test_the_transport_of_a_request_says_how_to_write():
    """The documentation of aiohttp writes 100 Continue to it."""
    said: list[str] = []

    async def write(request: web.Request) -> web.Response:
        for name in ("write", "get_protocol", "nonsense"):
            with pytest.raises(AttributeError) as caught:
                getattr(request.transport, name)
            said.append(str(caught.value))
        assert not hasattr(request.transport, "write")
        return web.Response()

    app = web.Application()
    app.router.add_get("/", write)
    async with serving(app) as served:
        assert (await served.ask()).status == 200
    assert "request.send_continue()" in said[0]
    assert "request.get_extra_info()" in said[1]
    assert said[2] == "request.transport has no attribute 'nonsense'"
