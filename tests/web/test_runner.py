"""Runners: one task enters and leaves, errors come out as they are, shutdown has its order."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structweb import web
from tests.web.loopback import ask, best_of, connect, parsed, read_all, request

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


def make_app(**routes) -> web.Application:
    app = web.Application()
    app.router.add_get("/", hello)
    for name, handler in routes.items():
        app.router.add_get(f"/{name}", handler)
    return app


async def started(runner: web.BaseRunner) -> tuple[str, int]:
    """Start a site of `runner` on a free port, and return its address."""
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[-1]
    return host, port


# -- entering and leaving ------------------------------------------------------------------------------------------


async def test_a_runner_is_a_context_manager():
    app = make_app()
    async with web.AppRunner(app) as runner:
        assert runner.app is app
        assert isinstance(runner.server, web.Server)
        assert (runner.sites, runner.addresses) == (set(), [])
        address = await started(runner)
        assert len(runner.sites) == 1
        assert (await ask(address)).body == b"hello"
        assert runner.server.requests_count == 1
    assert runner.server is None
    assert (runner.sites, runner.addresses) == (set(), [])
    with pytest.raises(OSError, match=r"attempts failed|refused"):
        await connect(address)


async def test_setup_and_cleanup_are_its_halves():
    runner = web.AppRunner(make_app())
    await runner.cleanup()  # nothing to do yet
    await runner.setup()
    try:
        assert (await ask(await started(runner))).status == 200
    finally:
        await runner.cleanup()
    assert runner.server is None
    await runner.cleanup()  # nothing to do any more


async def test_a_runner_in_a_task_of_its_own():
    async with anyio.create_task_group() as tg:
        runner = await tg.start(web.AppRunner(make_app()).run)
        assert (await ask(await started(runner))).status == 200
        tg.cancel_scope.cancel()
    assert runner.server is None


async def test_cleanup_inside_the_block_is_early_and_enough():
    async with web.AppRunner(make_app()) as runner:
        await runner.cleanup()
        assert runner.server is None


async def test_cleanup_inside_of_cleanup_is_refused():
    refused: list[str] = []

    async def on_shutdown(app: web.Application) -> None:
        with pytest.raises(RuntimeError, match="cannot be cleaned up: it is being cleaned up"):
            await runner.cleanup()
        with pytest.raises(RuntimeError, match="cannot start .*: its runner is being cleaned up"):
            await site.start()
        refused.append("both")

    app = make_app()
    app.on_shutdown.append(on_shutdown)
    async with web.AppRunner(app) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0)
    assert refused == ["both"]


async def test_a_site_whose_name_is_resolved_too_late_leaves_no_socket(monkeypatch: pytest.MonkeyPatch):
    """The leak guard would see it."""
    resolving, resolve = anyio.Event(), anyio.Event()
    real = anyio.getaddrinfo

    async def slowly(host: str, *args, **kwargs):
        resolving.set()
        await resolve.wait()
        return await real("127.0.0.1", *args, **kwargs)

    async def start(site: web.TCPSite) -> None:
        with pytest.raises(RuntimeError, match="cannot listen on .*: the runner is cleaned up"):
            await site.start()

    monkeypatch.setattr(anyio, "getaddrinfo", slowly)
    async with anyio.create_task_group() as tg:
        async with web.AppRunner(make_app()) as runner:
            tg.start_soon(start, web.TCPSite(runner, "slow.test", 0))
            await resolving.wait()
        resolve.set()


async def test_runners_nest():
    async with web.AppRunner(make_app()) as outer, web.AppRunner(make_app()) as inner:
        for runner in (outer, inner):
            assert (await ask(await started(runner))).status == 200


async def test_a_runner_is_set_up_once():
    runner = web.AppRunner(make_app())
    async with runner:
        with pytest.raises(RuntimeError, match=r"cannot be set up: it is running; make another runner"):
            await runner.setup()
    with pytest.raises(RuntimeError, match=r"cannot be set up: it is cleaned up"):
        await runner.setup()


async def test_cleanup_from_another_task_is_refused_and_undoes_nothing():
    async with web.AppRunner(make_app()) as runner:
        address = await started(runner)
        async with anyio.create_task_group() as tg:

            async def clean_up() -> None:
                with pytest.raises(RuntimeError, match=r"must be cleaned up by the task that set it up.*runner\.run"):
                    await runner.cleanup()

            tg.start_soon(clean_up)
        assert (await ask(address)).status == 200


async def test_cleanup_before_what_was_opened_later_has_ended_says_so():
    """X-01: the order is that of nested blocks, and the mistake can be put right."""
    runner = web.AppRunner(make_app())
    await runner.setup()
    scope = anyio.CancelScope()
    scope.__enter__()
    with pytest.raises(RuntimeError, match=r"<AppRunner running> cannot be cleaned up yet: .* is still open; end it"):
        await runner.cleanup()
    with contextlib.suppress(RuntimeError):  # trio has ended it
        scope.__exit__(None, None, None)
    await runner.cleanup()
    assert runner.server is None


async def test_a_cancelled_block_is_not_taken_for_one_that_was_left():
    """What follows the block may need what the block did not get to."""
    reached = []
    with anyio.CancelScope() as scope:
        async with web.AppRunner(make_app()):
            scope.cancel()
            await anyio.sleep_forever()
        reached.append("what follows")
    assert scope.cancelled_caught
    assert reached == []


async def test_a_deadline_around_the_block_ends_it():
    with anyio.move_on_after(0.01) as scope:
        async with web.AppRunner(make_app()):
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancellation_during_start_up_unwinds_it():
    events: list[str] = []
    entered = anyio.Event()

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        yield
        await anyio.sleep(0.01)
        events.append("left")

    async def start(app: web.Application) -> None:
        entered.set()
        await anyio.sleep_forever()

    app = make_app()
    app.cleanup_ctx.append(ctx)
    app.on_startup.append(start)
    async with anyio.create_task_group() as tg:
        tg.start_soon(web.AppRunner(app).run)
        await entered.wait()
        tg.cancel_scope.cancel()
    assert events == ["left"]


async def test_services_of_the_application_outlive_the_requests_of_a_cancelled_server():
    """A clean-up context's task group runs until the last handler has ended, not until the cancellation."""
    entered, asked = anyio.Event(), anyio.Event()
    requests = web.AppKey("requests", anyio.abc.ObjectSendStream)

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        send, receive = anyio.create_memory_object_stream[anyio.Event]()

        async def service() -> None:
            async for event in receive:
                event.set()

        async with send, receive, anyio.create_task_group() as tg:
            tg.start_soon(service)
            app[requests] = send
            yield
            tg.cancel_scope.cancel()

    async def slow(request: web.Request) -> web.Response:
        entered.set()
        await asked.wait()
        served = anyio.Event()
        await request.app[requests].send(served)
        await served.wait()
        return web.Response(text="served")

    async def on_shutdown(app: web.Application) -> None:
        asked.set()

    app = make_app(slow=slow)
    app.cleanup_ctx.append(ctx)
    app.on_shutdown.append(on_shutdown)
    async with anyio.create_task_group() as tg:
        runner = await tg.start(web.AppRunner(app).run)
        stream = await connect(await started(runner))
        await stream.send(request("/slow"))
        await entered.wait()
        tg.cancel_scope.cancel()
    async with stream:
        assert parsed(await read_all(stream)).body == b"served"


# -- signals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_leaves_the_block(number: signal.Signals):
    async with web.AppRunner(make_app(), handle_signals=True) as runner:
        address = await started(runner)
        os.kill(os.getpid(), number)
        await anyio.sleep_forever()
    assert runner.server is None
    with pytest.raises(OSError, match=r"refused|attempts failed"):
        await connect(address)


async def test_a_signal_between_the_halves_is_a_graceful_exit():
    runner = web.AppRunner(make_app(), handle_signals=True)
    await runner.setup()
    with pytest.raises(web.GracefulExit):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()
        finally:
            await runner.cleanup()
    assert runner.server is None
    await anyio.lowlevel.checkpoint()  # and nothing of the cancellation is left


async def test_a_signal_during_start_up_is_a_graceful_exit():
    async def start(app: web.Application) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()

    app = make_app()
    app.on_startup.append(start)
    runner = web.AppRunner(app, handle_signals=True)
    with pytest.raises(web.GracefulExit):
        await runner.setup()
    await runner.cleanup()
    await anyio.lowlevel.checkpoint()


async def test_cleanup_works_while_its_task_is_being_cancelled():
    """What was in flight is answered, and the application's clean-up may wait."""
    events: list[str] = []
    entered = anyio.Event()

    async def slow(request: web.Request) -> web.Response:
        entered.set()
        await anyio.sleep(0.05)
        return web.Response(text="slow but here")

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        yield
        await anyio.sleep(0.01)
        events.append("cleaned up")

    app = make_app(slow=slow)
    app.cleanup_ctx.append(ctx)
    async with anyio.create_task_group() as tg:

        async def serve(*, task_status: anyio.abc.TaskStatus[tuple[str, int]]) -> None:
            runner = web.AppRunner(app)
            await runner.setup()
            try:
                task_status.started(await started(runner))
                await anyio.sleep_forever()
            finally:
                await runner.cleanup()

        async with anyio.create_task_group() as servers:
            address = await servers.start(serve)
            stream = await connect(address)
            await stream.send(request("/slow", close=False))
            await entered.wait()
            servers.cancel_scope.cancel()
        async with stream:
            answer = parsed(await read_all(stream))
        tg.cancel_scope.cancel()
    assert answer.body == b"slow but here"
    assert answer.headers["connection"] == "close"
    assert events == ["cleaned up"]


@pytest.mark.parametrize("how", ["block", "halves"])
async def test_an_error_of_clean_up_comes_out_of_a_task_that_is_cancelled(how):
    """The cancellation goes on at the next await: of the two, it is the one that is not lost."""

    async def fail(app: web.Application) -> None:
        raise LookupError("its own")

    app = make_app()
    app.on_cleanup.append(fail)
    with pytest.raises(LookupError, match="its own"), anyio.CancelScope() as scope:
        runner = web.AppRunner(app)
        if how == "block":
            async with runner:
                scope.cancel()
                await anyio.sleep_forever()
        await runner.setup()
        try:
            scope.cancel()
            await anyio.sleep_forever()
        finally:
            await runner.cleanup()


async def test_the_body_keeps_its_own_error():
    """Neither wrapped into a group nor replaced; clean-up runs."""
    cleaned: list[web.Application] = []
    app = make_app()

    async def clean_up(app: web.Application) -> None:
        cleaned.append(app)

    app.on_cleanup.append(clean_up)
    mine = ExceptionGroup("mine", [ValueError("inside")])
    for error in (LookupError("mine"), mine):
        with pytest.raises(type(error)) as caught:
            async with web.AppRunner(app):
                raise error
        assert caught.value is error
        assert not isinstance(error.__context__, ExceptionGroup)
        app = make_app()
    assert len(cleaned) == 1


# -- start-up ------------------------------------------------------------------------------------------------------


async def test_a_failed_start_raises_the_original_and_undoes_the_rest():
    events: list[str] = []
    error = LookupError("no database")

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        events.append("entered")
        yield
        events.append("left")

    async def fail(app: web.Application) -> None:
        raise error

    app = make_app()
    app.cleanup_ctx.append(ctx)
    app.on_startup.append(fail)
    runner = web.AppRunner(app, handle_signals=True)
    with pytest.raises(LookupError) as caught:
        await runner.setup()
    assert caught.value is error
    assert events == ["entered", "left"]
    assert runner.server is None
    await runner.cleanup()  # as a `finally` would
    with pytest.raises(RuntimeError, match="needs a runner that is set up"):
        web.TCPSite(runner)


async def test_a_crash_in_the_background_ends_the_block_with_its_own_error():
    crash = anyio.Event()

    async def background() -> None:
        await crash.wait()
        raise LookupError("the background task's own")

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(background)
            yield
            tg.cancel_scope.cancel()

    app = make_app()
    app.cleanup_ctx.append(ctx)
    with pytest.raises(LookupError, match="the background task's own"):
        async with web.AppRunner(app):
            crash.set()
            await anyio.sleep_forever()


async def test_arguments_are_checked():
    with pytest.raises(TypeError, match=r"AppRunner\(\) needs a web\.Application, got 'app'"):
        web.AppRunner("app")  # type: ignore[arg-type]  # is what it tests
    with pytest.raises(TypeError, match=r"unexpected keyword argument keep_alive"):
        web.AppRunner(make_app(), keep_alive=3)  # type: ignore[call-arg]  # is what it tests
    with pytest.raises(TypeError, match=r"access_log_class must be a subclass of AbstractAccessLogger"):
        web.AppRunner(make_app(), access_log_class=dict)  # type: ignore[arg-type]  # is what it tests
    with pytest.raises(TypeError, match=r"unexpected keyword argument keep_alive"):
        web.AppRunner(web.Application(handler_args={"keep_alive": 3}))
    with pytest.raises(TypeError, match=r"ServerRunner\(\) needs a web\.Server"):
        web.ServerRunner(make_app())  # type: ignore[arg-type]  # is what it tests


@pytest.mark.parametrize(
    ("arguments", "handler_args", "answers"),
    [({}, None, 2), ({"keepalive_timeout": 0}, None, 1), ({"keepalive_timeout": 3}, {"keepalive_timeout": 0}, 1)],
)
async def test_handler_args_win_over_the_runners(arguments, handler_args, answers: int):
    app = web.Application(handler_args=handler_args)
    app.router.add_get("/", hello)
    async with web.AppRunner(app, **arguments) as runner, await connect(await started(runner)) as stream:
        await stream.send(request(close=False) + request(close=True))
        assert (await read_all(stream)).count(b"HTTP/1.1 200 OK") == answers


# -- shutdown ------------------------------------------------------------------------------------------------------


async def test_shutdown_has_its_order():
    """W-152 to W-157: no new connections, idle ones closed, on_shutdown, running handlers, contexts, on_cleanup."""
    events: list[str] = []
    entered, release = anyio.Event(), anyio.Event()

    async def slow(request: web.Request) -> web.Response:
        entered.set()
        await release.wait()
        events.append("handler ends")
        return web.Response(text="finished")

    def context(name: str):
        async def ctx(app: web.Application) -> AsyncIterator[None]:
            yield
            events.append(f"context {name} left")

        return ctx

    async def on_shutdown(app: web.Application) -> None:
        try:
            await connect(address)
        except OSError:
            events.append("refuses connections")
        assert await read_all(idle) == b""
        events.append("idle connection closed")
        events.append("on_shutdown")
        release.set()

    async def on_cleanup(app: web.Application) -> None:
        events.append("on_cleanup")

    app = make_app(slow=slow)
    app.cleanup_ctx.extend([context("one"), context("two")])
    app.on_shutdown.append(on_shutdown)
    app.on_cleanup.append(on_cleanup)
    async with contextlib.AsyncExitStack() as clients:
        async with web.AppRunner(app) as runner:
            address = await started(runner)
            idle = await clients.enter_async_context(await connect(address))
            busy = await clients.enter_async_context(await connect(address))
            await busy.send(request("/slow", close=False) + request("/", close=False))
            await entered.wait()
        events.append("block left")
        answer = parsed(await read_all(busy))
    assert events == [
        "refuses connections",
        "idle connection closed",
        "on_shutdown",
        "handler ends",
        "context two left",
        "context one left",
        "on_cleanup",
        "block left",
    ]
    assert answer.body == b"finished"  # and the pipelined second request got none
    assert answer.headers["connection"] == "close"
    assert runner.report is not None
    assert len(runner.report.finished) == 1
    assert not runner.report.cancelled


async def test_handlers_past_the_shutdown_timeout_are_cancelled():
    async def attempt() -> float:
        entered = anyio.Event()
        ended: list[str] = []

        async def endless(request: web.Request) -> web.Response:
            entered.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("cancelled")
            raise AssertionError("never here")

        async with contextlib.AsyncExitStack() as clients:
            async with web.AppRunner(make_app(endless=endless), shutdown_timeout=0.05) as runner:
                busy = await clients.enter_async_context(await connect(await started(runner)))
                await busy.send(request("/endless"))
                await entered.wait()
                began = anyio.current_time()
            took = anyio.current_time() - began
            assert ended == ["cancelled"]
            assert await read_all(busy) == b""
        assert runner.report is not None
        assert len(runner.report.cancelled) == 1
        return took

    await best_of(attempt, 0.05 + 0.3)


async def test_nothing_in_flight_takes_no_time():
    async def attempt() -> float:
        began = anyio.current_time()
        async with web.AppRunner(make_app(), shutdown_timeout=60) as runner:
            idle = await connect(await started(runner))
        took = anyio.current_time() - began
        await idle.aclose()
        return took

    await best_of(attempt, 1)


async def test_an_error_of_on_shutdown_comes_out_after_everything_ended():
    events: list[str] = []

    async def on_shutdown(app: web.Application) -> None:
        raise LookupError("no goodbye")

    async def on_cleanup(app: web.Application) -> None:
        events.append("on_cleanup")

    app = make_app()
    app.on_shutdown.append(on_shutdown)
    app.on_cleanup.append(on_cleanup)
    with pytest.raises(LookupError, match="no goodbye"):
        async with web.AppRunner(app) as runner:
            await started(runner)
    assert events == ["on_cleanup"]


async def test_graceful_exit_of_a_handler_ends_the_server():
    async def leave(request: web.Request) -> web.Response:
        raise web.GracefulExit

    with pytest.raises(web.GracefulExit):
        async with web.AppRunner(make_app(leave=leave)) as runner, await connect(await started(runner)) as stream:
            await stream.send(request("/leave"))
            await anyio.sleep_forever()


NEVER_CLEANED_UP = """
import asyncio
from structweb import web

async def main():
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

asyncio.run(main())
"""


def test_a_runner_that_is_never_cleaned_up_makes_no_noise():
    done = subprocess.run(
        [sys.executable, "-c", NEVER_CLEANED_UP], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_access_log_goes_where_the_runner_says(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("my.access")
    async with web.AppRunner(make_app(), access_log=logger, access_log_format="%r %s") as runner:
        await ask(await started(runner))
    lines = [record.getMessage() for record in caplog.records if record.name == "my.access"]
    assert lines == ["GET / HTTP/1.1 200"]


async def test_a_runner_is_made_before_there_is_a_loop():
    """As everything else that an application is built of: a thread has no loop."""
    for make in (lambda: web.AppRunner(make_app()), lambda: web.ServerRunner(web.Server(hello))):
        async with await anyio.to_thread.run_sync(make) as runner:
            assert (await ask(await started(runner))).body == b"hello"
