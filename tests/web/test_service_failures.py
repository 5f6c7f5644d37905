"""A service that fails for good stops the application gracefully; stopping one may go wrong, too (B-08, X-03, X-06)."""

import subprocess
import sys
from collections.abc import AsyncIterator

import anyio
import pytest

from structweb import web
from structweb._web.failures import CleanupError
from structweb._web.lifespan import Lifespan
from structweb.testing import memory_pipe
from tests.web.faulty import Faulty, only
from tests.web.served import get

pytestmark = pytest.mark.anyio


# -- critical failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["service", "start_soon"])
async def test_a_critical_failure_stops_the_application_gracefully(way, caplog):
    """Requests finish, clean-ups run, and the error itself comes out, with the traceback that it was raised with."""
    app = web.Application()
    diary = []
    trouble = LookupError("connection lost")

    async def broken() -> None:
        await anyio.sleep(2)
        raise trouble

    async def slow(request: web.Request) -> web.Response:
        await anyio.sleep(30)
        return web.Response(text="finished")

    async def clean(app: web.Application) -> None:
        await anyio.sleep(1)
        diary.append("cleaned up")

    app.router.add_get("/", slow)
    app.on_cleanup.append(clean)
    if way == "service":
        app.service(broken)
    else:
        app.on_startup.append(lambda app: app.start_soon(broken))
    client, server = memory_pipe()
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        with pytest.raises(LookupError) as caught:
            async with web.AppRunner(app, shutdown_timeout=60) as runner:
                tasks.start_soon(runner.server, server)
                await client.send(get())
                await anyio.sleep_forever()
        assert caught.value is trouble
        assert caught.value.__context__ is None
        assert "broken" in [entry.name for entry in caught.traceback]
        assert diary == ["cleaned up"]
        assert anyio.current_time() - began == pytest.approx(30 + 1)
        assert runner.report is not None
        assert runner.report.clean
        answer = await client.receive_all()
    assert answer.endswith(b"finished")
    assert b"connection: close" in answer.lower()
    assert "The application stops: " in caplog.text


async def test_requests_have_no_longer_than_the_shutdown_timeout():
    app = web.Application()
    app.service(Faulty(LookupError("lost"), lasting=2), name="broken")

    async def endless(request: web.Request) -> web.Response:
        await anyio.sleep_forever()
        raise AssertionError("never here")

    app.router.add_get("/", endless)
    client, server = memory_pipe()
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        with pytest.raises(LookupError):
            async with web.AppRunner(app, shutdown_timeout=10) as runner:
                tasks.start_soon(runner.server, server)
                await client.send(get())
                await anyio.sleep_forever()
        assert anyio.current_time() - began == pytest.approx(2 + 10, abs=0.3)
        assert await client.receive_all() == b""


async def test_a_critical_one_is_restarted_until_its_attempts_are_used_up():
    app = web.Application()
    faulty = Faulty(*[LookupError(f"crash {number}") for number in range(9)])
    app.service(faulty, restart="on-failure", backoff=web.Backoff(jitter=0, attempts=3), name="faulty")
    with pytest.raises(LookupError, match="crash 2"):
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert faulty.pauses() == [1, 2]
    assert only(app).state == "failed"


async def test_the_failure_comes_out_of_the_loose_halves():
    app = web.Application()
    app.service(Faulty(LookupError("lost"), lasting=1), name="broken")

    async def run() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await anyio.sleep_forever()
        finally:
            await runner.cleanup()

    with pytest.raises(LookupError, match="lost"):
        await run()


async def test_a_group_of_one_comes_out_as_its_error():
    app = web.Application()

    @app.service
    async def nested() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Faulty(LookupError("in a child")))

    with pytest.raises(LookupError, match="in a child") as caught:
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert only(app).last_error is caught.value


async def test_the_first_of_two_failures_comes_out(caplog):
    app = web.Application()
    app.service(Faulty(LookupError("first"), lasting=1), name="one")
    app.service(Faulty(OSError("second"), lasting=2), name="two")

    async def slow(request: web.Request) -> web.Response:
        await anyio.sleep(10)
        return web.Response()

    app.router.add_get("/", slow)
    client, server = memory_pipe()
    async with anyio.create_task_group() as tasks:
        with pytest.raises(LookupError, match="first"):
            async with web.AppRunner(app) as runner:
                tasks.start_soon(runner.server, server)
                await client.send(get())
                await anyio.sleep_forever()
        client.close()
    assert "service two failed while the application stops" in caplog.text


async def test_errors_of_clean_up_do_not_hide_the_failure(caplog):
    app = web.Application()
    app.service(Faulty(LookupError("lost"), lasting=1), name="broken")

    async def fails(app: web.Application) -> None:
        raise OSError("cleanup")

    app.on_cleanup.append(fails)
    with pytest.raises(LookupError, match="lost"):
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert "Error in a clean-up after a background task had failed" in caplog.text


async def test_an_error_of_the_body_comes_first(caplog):
    app = web.Application()
    app.service(Faulty(LookupError("lost"), lasting=1), name="broken")
    with pytest.raises(OSError, match="body"):
        async with web.AppRunner(app):
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("body")
    assert "A background task failed as well" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("group", [False, True])
async def test_what_ends_the_program_is_no_crash(kind, group):
    app = web.Application()

    async def leave() -> None:
        await anyio.sleep(1)
        raise BaseExceptionGroup("several", [OSError("one"), kind(3)]) if group else kind(3)

    app.service(leave, restart="always", critical=False)
    with pytest.raises(kind):
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert only(app).restarts == 0


@pytest.mark.parametrize("way", ["service", "start_soon"])
@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_a_stray_cancellation_is_a_crash(way):
    """Libraries of asyncio let such things out; it must not pass for the application's own, and end it without a word."""
    app = web.Application()

    async def stray() -> None:
        raise anyio.get_cancelled_exc_class()

    if way == "service":
        app.service(stray)
    else:
        app.on_startup.append(lambda app: app.start_soon(stray))
    with pytest.raises(RuntimeError, match=r"stray ended with CancelledError\(\), but it was not told to end"):
        async with Lifespan(app):
            await anyio.sleep_forever()


# -- stopping ------------------------------------------------------------------------------------------------------


class Awkward:
    """A service that raises while it is being stopped."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __call__(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise self.error


async def test_a_crash_while_stopping_comes_out_when_everything_is_cleaned_up():
    app = web.Application()
    left = []
    trouble = LookupError("while stopping")

    async def context(app: web.Application) -> AsyncIterator[None]:
        yield
        left.append("context")

    app.cleanup_ctx.append(context)
    app.service(Faulty(), name="good")
    app.service(Awkward(trouble), restart="always", name="awkward")
    with pytest.raises(LookupError) as caught:
        async with Lifespan(app):
            await anyio.sleep(1)
    assert caught.value is trouble
    assert left == ["context"]
    assert [each.state for each in app.services] == ["stopped", "failed"]


async def test_several_crashes_while_stopping_are_a_cleanup_error():
    app = web.Application()
    troubles = [LookupError("one"), OSError("two")]
    app.service(Awkward(troubles[1]), name="first")
    app.service(Awkward(troubles[0]), name="second")
    with pytest.raises(CleanupError) as caught:
        async with Lifespan(app):
            await anyio.sleep(1)
    assert list(caught.value.exceptions) == troubles


async def test_one_that_is_not_critical_crashes_while_stopping_into_the_log(caplog):
    app = web.Application()
    app.service(Awkward(LookupError("while stopping")), critical=False, name="awkward")
    async with Lifespan(app):
        await anyio.sleep(1)
    assert "Service awkward failed" in caplog.text


async def test_a_child_that_crashes_while_stopping_is_seen(caplog):
    app = web.Application()

    async def nested() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            tasks.start_soon(Awkward(LookupError("a child")))

    app.service(nested, critical=False)
    async with Lifespan(app):
        await anyio.sleep(1)
    assert str(only(app).last_error) == "a child"


async def test_one_that_swallows_its_cancellation_is_not_started_again():
    app = web.Application()
    runs = []

    @app.service(restart="always")
    async def swallows() -> None:
        runs.append(anyio.current_time())
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return

    async with Lifespan(app):
        await anyio.sleep(1)
    assert len(runs) == 1
    assert only(app).state == "stopped"


async def test_one_that_shields_itself_is_named_and_does_not_hold_clean_up(caplog):
    """The application cannot end before it does, but everything else does its part meanwhile."""
    app = web.Application()
    diary = []
    released = anyio.Event()
    key = web.AppKey("tasks", anyio.abc.TaskGroup)

    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await released.wait()
        diary.append("stubborn ends")

    async def polite() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            diary.append("polite ends")

    async def clean(app: web.Application) -> None:
        diary.append("on_cleanup")
        app[key].start_soon(release)

    async def release() -> None:
        await anyio.sleep(25)
        released.set()

    app.service(polite)
    app.service(stubborn)
    app.on_cleanup.append(clean)
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        app[key] = tasks
        async with Lifespan(app, grace=10):
            await anyio.sleep(1)
    assert diary == ["polite ends", "on_cleanup", "stubborn ends"]
    assert anyio.current_time() - began == pytest.approx(1 + 10 + 25, abs=0.2)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 3
    assert "Waiting for 1 background tasks that do not stop: service stubborn (at " in warnings[0]
    assert "test_service_failures.py:" in warnings[0]


async def test_one_that_shields_itself_leaves_half_of_the_grace_to_the_others():
    """When the application itself was cancelled, everything behind the services shares what is left."""
    app = web.Application()
    diary = []

    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(8)

    async def clean(app: web.Application) -> None:
        await anyio.sleep(4)
        diary.append("cleaned up")

    app.service(stubborn)
    app.on_cleanup.append(clean)
    with anyio.move_on_after(1):
        async with Lifespan(app, grace=10):
            await anyio.sleep_forever()
    assert diary == ["cleaned up"]


# -- programs ------------------------------------------------------------------------------------------------------

PROGRAM = """
import anyio
from structweb import web

async def beat():
    await anyio.sleep(0.05)
    raise LookupError("the heart stopped")

async def clean(app):
    print("cleaned up", flush=True)

def make(argv=()):
    app = web.Application()
    app.service(beat)
    app.on_cleanup.append(clean)
    return app
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import sys, app; app.web.run_app(app.make(), host='127.0.0.1', port=0, backend=sys.argv[1])"],
        ["-m", "structweb", "serve", "app:make", "-P", "0", "--backend"],
    ],
    ids=["run_app", "structweb serve"],
)
def test_a_critical_failure_ends_the_program_with_its_traceback(tmp_path, command, backend):
    (tmp_path / "app.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "error", *command, backend],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith("cleaned up\n")
    assert done.stderr.rstrip().endswith("LookupError: the heart stopped")
    assert ", in beat\n" in done.stderr
    assert "ExceptionGroup" not in done.stderr
    assert "During handling" not in done.stderr
