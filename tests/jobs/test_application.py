"""The scheduler of an application: found by handlers, alive as long as they are, waited for at the end."""

import anyio
import anyio.lowlevel
import pytest

from structweb import web
from structweb._server.lifecycle import Engine
from structweb._web.handling import WebHandler
from structweb._web.lifespan import Lifespan
from structweb._web.settings import settings_from
from structweb.jobs import (
    AIOJOBS_SCHEDULER,
    JobCancelled,
    Scheduler,
    get_scheduler,
    get_scheduler_from_app,
    get_scheduler_from_request,
    setup,
    shield,
    spawn,
)
from structweb.testing import memory_pipe
from tests.jobs.heard import Heard
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio


class Notes(list[str]):
    """What was done, in order; each piece of work takes a second."""

    async def work(self, name: str) -> str:
        """Do a piece of work."""
        await anyio.sleep(1)
        self.append(name)
        return name


def app_of(handler, *, with_scheduler: bool = True, **options) -> web.Application:
    app = web.Application()
    app.router.add_get("/", handler)
    if with_scheduler:
        setup(app, **options)
    return app


async def left_after(app: web.Application, seconds: float) -> None:
    """Ask `app`, leave after so many seconds, and end the application at once: it waits for its jobs."""
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await anyio.sleep(seconds)
        connection.stream.close()
        await anyio.sleep(0.1)


async def test_a_job_goes_on_behind_the_response():
    """S-33, J-19: which does not wait for it."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await spawn(request, notes.work("by coroutine"))
        job = await spawn(request, notes.work, "by function", name="mail")
        assert job.get_name() == "mail"
        return web.Response(text="sent")

    async with serving(app_of(handler)) as served:
        start = anyio.current_time()
        assert (await served.ask()).text == "sent"
        assert (notes, anyio.current_time() - start < 1) == ([], True)
    assert sorted(notes) == ["by coroutine", "by function"]


async def test_a_job_goes_on_when_the_client_has_left():
    """S-31, J-19."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await spawn(request, notes.work("mail sent"))
        await anyio.sleep_forever()
        raise AssertionError("never here")

    await left_after(app_of(handler), 0.5)
    assert notes == ["mail sent"]


async def test_a_job_has_the_context_of_its_request():
    """X-14: a copy of it."""
    from contextvars import ContextVar

    who: ContextVar[str] = ContextVar("who")
    seen: list[str] = []

    async def note() -> None:
        await anyio.sleep(1)
        seen.append(who.get())

    async def handler(request: web.Request) -> web.Response:
        who.set(request.query["who"])
        await spawn(request, note)
        return web.Response()

    async with serving(app_of(handler, limit=1)) as served:
        connection = served.connect()
        for name in ("ann", "bob"):
            await connection.ask(f"/?who={name}")
    assert seen == ["ann", "bob"]


async def test_where_handlers_and_applications_find_it():
    """J-22, S-34: under its key, from start-up on."""
    found = []

    async def handler(request: web.Request) -> web.Response:
        found.extend(
            (
                get_scheduler(request),
                get_scheduler_from_request(request),
                get_scheduler_from_app(request.app),
                request.app[AIOJOBS_SCHEDULER],
            )
        )
        return web.Response()

    app = app_of(handler, limit=7)
    assert get_scheduler_from_app(app) is None
    async with serving(app) as served:
        await served.ask()
        (scheduler,) = set(found)
        assert scheduler.limit == 7
        assert not scheduler.closed
    assert scheduler.closed


async def test_without_a_scheduler():
    """J-19, J-20, J-22: the coroutines are closed (a warning would be an error here)."""
    notes = Notes()
    said = []

    async def handler(request: web.Request) -> web.Response:
        assert get_scheduler_from_request(request) is None
        assert get_scheduler_from_app(request.app) is None
        with pytest.raises(RuntimeError) as raised:
            get_scheduler(request)
        said.append(str(raised.value))
        with pytest.raises(RuntimeError) as raised:
            await spawn(request, notes.work("never"))
        said.append(str(raised.value))
        with pytest.raises(RuntimeError) as raised:
            shield(request, notes.work("never"))
        said.append(str(raised.value))
        return web.Response()

    async with serving(app_of(handler, with_scheduler=False)) as served:
        assert (await served.ask()).status == 200
    assert said == ["Call structweb.jobs.setup() on application initialization"] * 3


def test_setup_checks_what_it_is_given():
    """J-18: at once, not when the application starts."""
    with pytest.raises(TypeError, match="A callable object or None is expected"):
        setup(web.Application(), exception_handler=1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        setup(web.Application(), limits=1)
    app = web.Application()
    setup(app)
    with pytest.raises(RuntimeError, match=r"has a scheduler already: call structweb.jobs.setup\(\) once"):
        setup(app)


async def test_nested_applications():
    """J-19: a sub-application uses its own, else that of the nearest one around it."""
    found: dict[str, Scheduler] = {}

    async def handler(request: web.Request) -> web.Response:
        found[request.path] = get_scheduler(request)
        return web.Response()

    def sub(**options) -> web.Application:
        app = web.Application()
        app.router.add_get("/", handler)
        if options:
            setup(app, **options)
        return app

    root, middle = sub(limit=1), sub(limit=2)
    middle.add_subapp("/inner/", sub())
    root.add_subapp("/own/", middle)
    root.add_subapp("/none/", sub())
    async with serving(root) as served:
        for path in ("/", "/own/", "/own/inner/", "/none/"):
            assert (await served.ask(path)).status == 200
        limits = {path: scheduler.limit for path, scheduler in found.items()}
    assert limits == {"/": 1, "/own/": 2, "/own/inner/": 2, "/none/": 1}


async def test_handlers_may_spawn_until_the_last_of_them_has_ended():
    """J-18, S-32, S-35: then the jobs have their time, before contexts that came earlier are left."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(2)
        await spawn(request, notes.work, "job")
        notes.append("handler")
        return web.Response()

    async def database(app: web.Application):
        yield
        notes.append("database closed")

    app = web.Application()
    app.router.add_get("/", handler)
    app.cleanup_ctx.append(database)
    setup(app)
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
    assert notes == ["handler", "job", "database closed"]


async def test_jobs_that_do_not_end_are_cancelled_at_clean_up():
    """S-35: after `wait_timeout`."""
    cut = []

    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cut.append(anyio.current_time() - start)

    async def handler(request: web.Request) -> web.Response:
        await spawn(request, forever)
        return web.Response()

    async with serving(app_of(handler, wait_timeout=5)) as served:
        await served.ask()
        start = anyio.current_time()
    assert cut == pytest.approx([5], abs=0.3)


async def test_an_error_of_a_job_does_not_end_the_application():
    """S-31, J-10."""
    heard = Heard()

    async def fail() -> None:
        await anyio.sleep(1)
        raise LookupError("the job's own")

    async def handler(request: web.Request) -> web.Response:
        await spawn(request, fail)
        return web.Response()

    async with serving(app_of(handler, exception_handler=heard)) as served:
        await served.ask()
        await anyio.sleep(2)
        assert (await served.ask()).status == 200
    assert heard.messages == ["Job processing failed"] * 2


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
async def test_a_job_may_end_the_program(fatal: type[BaseException]):
    """X-03: everything is cleaned up, and it comes out as it is."""
    notes = Notes()

    async def end() -> None:
        await anyio.sleep(1)
        raise fatal("the job's own")

    async def handler(request: web.Request) -> web.Response:
        await spawn(request, end)
        return web.Response()

    async def clean_up(app: web.Application) -> None:
        await anyio.lowlevel.checkpoint()
        notes.append("cleaned up")

    app = app_of(handler)
    app.on_cleanup.append(clean_up)
    with pytest.raises(fatal, match="the job's own"):
        async with serving(app) as served:
            await served.ask()
            await anyio.sleep_forever()
    assert notes == ["cleaned up"]


async def test_a_cancelled_application_gives_its_jobs_the_grace_of_clean_up():
    """S-35: what cancels the application does not strike its jobs; clean-up has ten seconds for them."""
    notes = Notes()
    cut = []

    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cut.append(anyio.current_time() - start)

    async def handler(request: web.Request) -> web.Response:
        await spawn(request, notes.work("job"))
        await spawn(request, endless)
        return web.Response()

    start = anyio.current_time()
    with anyio.move_on_after(0.5):
        async with serving(app_of(handler)) as served:
            await served.ask()
            await anyio.sleep_forever()
    assert notes == ["job"]
    assert cut == pytest.approx([10.5], abs=0.2)


# -- shield --------------------------------------------------------------------------------------------------------------


async def test_shielded_work_goes_on_when_the_client_leaves():
    """S-29, X-09, J-20: the handler ends at once, the work when it is done."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        try:
            await shield(request, notes.work("saved"))
        except BaseException:
            notes.append("handler ends")
            raise
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["handler ends", "saved"]


async def test_shielded_work_has_a_result():
    """J-20."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=await shield(request, notes.work("one")) + await shield(request, notes.work, "two"))

    async with serving(app_of(handler)) as served:
        assert (await served.ask()).text == "onetwo"


async def test_two_shields_in_a_row_keep_their_trap():
    """S-30: the second piece of work never begins, as with asyncio.shield."""
    notes = Notes()

    async def handler(request: web.Request) -> web.Response:
        await shield(request, notes.work("redis"))
        await shield(request, notes.work("postgres"))
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["redis"]


async def test_one_shield_around_both():
    """S-30: the way to do it."""
    notes = Notes()

    async def save() -> None:
        await notes.work("redis")
        await notes.work("postgres")

    async def handler(request: web.Request) -> web.Response:
        await shield(request, save)
        return web.Response()

    await left_after(app_of(handler), 0.5)
    assert notes == ["redis", "postgres"]


async def test_a_closed_job_that_a_handler_waits_for_is_a_500():
    """X-13: `JobCancelled` is an error as others are, and no cancellation of the handler."""

    async def handler(request: web.Request) -> web.Response:
        job = await spawn(request, anyio.sleep_forever)
        await job.close()
        with pytest.raises(JobCancelled):
            await job
        await job
        raise AssertionError("never here")

    async with serving(app_of(handler)) as served:
        assert (await served.ask()).status == 500


@pytest.mark.parametrize("turns", range(12))
async def test_start_up_may_be_cancelled_at_any_moment(turns: int):
    """Also in the one between the scheduler's word that it runs and the application's hearing it."""
    app = web.Application()
    setup(app)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def strike() -> None:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            group.start_soon(strike)
            async with web.AppRunner(app):
                await anyio.sleep_forever()
    assert scope.cancelled_caught
