"""What a client's leaving does to a handler, and how work is kept from it (docs/how-to/when-the-client-leaves.md)."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from structweb import web
from structweb._server.lifecycle import Engine
from structweb._web.handling import WebHandler
from structweb._web.lifespan import Lifespan
from structweb._web.settings import settings_from
from structweb.testing import memory_pipe
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Notes(list[str]):
    """What was done, in order; each piece of work takes a second."""

    async def work(self, name: str) -> None:
        """Do a piece of work."""
        await anyio.sleep(1)
        self.append(name)


def app_of(handler: Handler, method: str = "GET", **options) -> web.Application:
    app = web.Application()
    app.router.add_route(method, "/", handler, **options)
    return app


async def left_after(app: web.Application, seconds: float, method: str = "GET") -> None:
    """Ask `app`, leave after so many seconds, and give what is left of the handler time to end."""
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get(method=method))
        await anyio.sleep(seconds)
        connection.stream.close()
        await anyio.sleep(10)


async def test_every_await_can_be_cut():
    """S-27: whichever the handler is in, and those that follow it too."""
    for seconds, done in ((0.5, []), (1.5, ["one"]), (2.5, ["one", "two"])):
        notes = Notes()

        async def handler(request: web.Request, notes: Notes = notes) -> web.Response:
            for name in ("one", "two", "three"):
                await notes.work(name)
            return web.Response()

        await left_after(app_of(handler), seconds)
        assert notes == done


async def test_reading_stops_and_writing_finishes():
    """S-28: one handler, a GET that is stopped and a POST that is not."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await notes.work(request.method)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    app.router.add_post("/", handler, disconnect="finish")
    await left_after(app, 0.5, "GET")
    await left_after(app, 0.5, "POST")
    assert notes == ["POST"]


async def test_a_shielded_scope_finishes_and_what_follows_it_does_not():
    """S-29, X-09, X-21: the shield is around what must be done; behind it the handler learns that its client left."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        with anyio.move_on_after(5, shield=True):
            await notes.work("saved")
        await notes.work("told everybody")
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["saved"]


async def test_a_shield_has_a_deadline():
    """X-09: what never ends cannot hold the connection for ever."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        with anyio.move_on_after(5, shield=True) as scope:
            await anyio.sleep_forever()
        notes.append(f"given up: {scope.cancelled_caught}")
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["given up: True"]


async def test_something_between_two_shields_is_not_shielded():
    """S-30: the second piece of work is skipped, for the handler does not get as far as its shield."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        with anyio.move_on_after(5, shield=True):
            await notes.work("redis")
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(5, shield=True):
            await notes.work("postgres")
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["redis"]


async def test_one_shield_around_both_protects_both():
    """S-30: the way to do it."""
    notes = Notes()

    async def save() -> None:
        await notes.work("redis")
        await anyio.lowlevel.checkpoint()
        await notes.work("postgres")

    async def handler(request: web.Request) -> web.Response:
        with anyio.move_on_after(5, shield=True):
            await save()
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["redis", "postgres"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_shields_of_asyncio_keep_their_trap():
    """S-30: two in a row protect the first only, as in aiohttp, and let go of the work."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await asyncio.shield(notes.work("redis"))
        await asyncio.shield(notes.work("postgres"))
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["redis"]


async def test_work_of_the_application_outlives_the_request():
    """S-31, X-08: what a handler starts with `app.start_soon` goes on when the client has left."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        request.app.start_soon(notes.work, "mail sent")
        await anyio.sleep_forever()
        raise AssertionError("never here")

    await left_after(app_of(handler), 0.5)
    assert notes == ["mail sent"]


async def test_an_error_of_the_work_does_not_vanish():
    """S-31: it ends the application, as itself."""

    async def work() -> None:
        await anyio.sleep(1)
        raise LookupError("the work's own")

    async def handler(request: web.Request) -> web.Response:
        request.app.start_soon(work)
        return web.Response()

    with pytest.raises(LookupError, match="the work's own"):
        async with serving(app_of(handler)) as served:
            assert (await served.ask()).status == 200
            await anyio.sleep_forever()


async def test_the_work_ends_before_clean_up():
    """S-32, X-08: it is cancelled and waited for, once the last handler has ended and before anything is closed."""
    notes = Notes()

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(5, shield=True):
                await notes.work("work put away")

    async def handler(request: web.Request) -> web.Response:
        request.app.start_soon(work)
        await anyio.sleep(2)
        notes.append("handler ends")
        return web.Response()

    async def close(app: web.Application) -> None:
        notes.append("database closed")

    app = app_of(handler)
    app.on_cleanup.append(close)
    client, server = memory_pipe()
    settings = settings_from({}, "test")
    async with (
        anyio.create_task_group() as group,
        Lifespan(app),
        Engine(WebHandler(app, settings), settings.connections) as engine,
    ):
        group.start_soon(engine.serve_stream, server)
        await client.send(get())
        await anyio.sleep(1)
        await engine.shutdown(60)
    client.close()
    assert notes == ["handler ends", "work put away", "database closed"]


@pytest.mark.parametrize("half_close", ["gone", "serve"])
async def test_a_client_that_ends_its_side(half_close: str):
    """W-095, X-20: it counts as having left while a handler waits, unless the site says otherwise."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await notes.work("done")
        return web.Response(text="answer")

    async with serving(app_of(handler), half_close=half_close) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await connection.stream.half_close()
        answered = (await connection.rest()).endswith(b"answer")
    assert (answered, notes) == ((True, ["done"]) if half_close == "serve" else (False, []))


async def test_an_answer_that_is_ready_is_sent_to_a_client_that_ended_its_side():
    """W-095: nobody waits, so nobody is cancelled."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="answer")

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await connection.stream.half_close()
        assert (await connection.rest()).endswith(b"answer")
