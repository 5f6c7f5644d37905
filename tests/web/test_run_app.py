"""`web.run_app`: in this process, with real signals, and in processes of its own."""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import pytest

from structweb import web
from structweb._web import run as run_module
from tests.system.process import AT_ONCE, best_of
from tests.web.loopback import PATIENCE, ask_from_thread

BACKENDS = [
    pytest.param({"backend": "asyncio"}, id="asyncio"),
    pytest.param({"backend": "asyncio", "backend_options": {"use_uvloop": True}}, id="uvloop"),
    pytest.param({"backend": "trio"}, id="trio"),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest):
    """Arguments that pick a backend."""
    if "backend_options" in request.param:
        pytest.importorskip("uvloop")
    return request.param


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/", hello)
    return app


def run_and(visit: Callable[[], object], app, **arguments) -> list[str]:
    """Run `app`; when it listens, call `visit` in a thread, then send a SIGTERM.  Return what was printed."""
    printed: list[str] = []
    failures: list[BaseException] = []

    def visitor() -> None:
        try:
            visit()
        except BaseException as exc:  # noqa: BLE001  (raised below, in the test's own thread)
            failures.append(exc)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=visitor)

    def announce(text: str) -> None:
        printed.append(text)
        thread.start()

    web.run_app(app, print=announce, **arguments)
    thread.join()
    if failures:
        raise failures[0]
    return printed


def bound_socket() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


# -- serving and stopping ------------------------------------------------------------------------------------------


def test_it_serves_until_a_signal_and_returns(backend):
    with bound_socket() as sock:
        address = sock.getsockname()

        def visit() -> None:
            assert ask_from_thread(address).body == b"hello"

        printed = run_and(visit, make_app(), sock=sock, **backend)
    assert printed == [f"======== Running on http://127.0.0.1:{address[1]} ========\n(Press CTRL+C to quit)"]


def test_several_runs_in_one_process(backend):
    for _ in range(3):
        with bound_socket() as sock:
            run_and(partial(ask_from_thread, sock.getsockname()), make_app(), sock=sock, **backend)


async def make_app_later() -> web.Application:
    await anyio.lowlevel.checkpoint()
    return make_app()


@pytest.mark.parametrize("source", [make_app, make_app_later, make_app_later()], ids=["function", "async", "coroutine"])
def test_the_application_may_be_made(source):
    with bound_socket() as sock:
        run_and(partial(ask_from_thread, sock.getsockname()), source, sock=sock)


def test_banner_sorts_the_names(tmp_path: Path):
    printed = run_and(lambda: None, make_app(), path=[tmp_path / "b", str(tmp_path / "a")], host=["127.0.0.1"], port=0)
    names = printed[0].splitlines()[0].removeprefix("======== Running on ").removesuffix(" ========").split(", ")
    assert names == sorted(names)
    assert [name.partition(":")[2].partition("1:")[0] for name in names] == [
        "//127.0.0.", f"//unix:{tmp_path}/a:", f"//unix:{tmp_path}/b:",
    ]  # fmt: skip


def test_silent_without_print(capsys: pytest.CaptureFixture[str]):
    async def stop(app: web.Application) -> None:
        app.start_soon(leave)

    async def leave() -> None:
        raise web.GracefulExit

    app = make_app()
    app.on_startup.append(stop)
    web.run_app(app, print=None, port=0)
    assert capsys.readouterr() == ("", "")


def test_graceful_exit_of_a_handler_ends_it(backend):
    events: list[str] = []

    async def leave(request: web.Request) -> web.Response:
        raise web.GracefulExit

    async def on_cleanup(app: web.Application) -> None:
        events.append("cleaned up")

    app = make_app()
    app.router.add_get("/leave", leave)
    app.on_cleanup.append(on_cleanup)
    with bound_socket() as sock:
        address = sock.getsockname()

        def visit() -> None:
            with socket.create_connection(address) as client:
                client.settimeout(PATIENCE)
                client.sendall(b"GET /leave HTTP/1.1\r\nHost: test\r\n\r\n")
                assert client.recv(100) == b""

        thread = threading.Thread(target=visit)
        web.run_app(app, sock=sock, print=lambda text: thread.start(), **backend)
        thread.join()
    assert events == ["cleaned up"]
    assert web.GracefulExit.code == 1
    assert issubclass(web.GracefulExit, SystemExit)


@pytest.mark.parametrize("exit", [KeyboardInterrupt(), web.GracefulExit(), SystemExit(3)], ids=repr)
def test_an_exit_from_a_task_group_is_an_exit(backend, exit: BaseException, caplog: pytest.LogCaptureFixture):
    """Trio wraps it into a group; asyncio ends its loop on the spot.  Either way it cleans up, and nobody complains."""
    events: list[str] = []
    listens = anyio.Event()

    async def leave() -> None:
        await listens.wait()
        raise exit

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(leave)
            try:
                yield
            finally:
                events.append("cleaned up")

    app = make_app()
    app.cleanup_ctx.append(ctx)
    if type(exit) is SystemExit:
        with pytest.raises(SystemExit) as caught:
            web.run_app(app, print=lambda text: listens.set(), port=0, **backend)
        assert caught.value is exit
    else:
        web.run_app(app, print=lambda text: listens.set(), port=0, **backend)
    gc.collect()  # what asyncio has to say, it says when the task is freed
    assert events == ["cleaned up"]
    assert caplog.records == []


# -- what goes wrong -----------------------------------------------------------------------------------------------


def test_start_up_that_needs_asyncio_is_told_what_to_do_on_trio(backend):
    """`asyncio.create_task` in a clean-up context, as programs for aiohttp have it."""

    async def forever() -> None:
        await asyncio.sleep(3600)

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        coroutine = forever()
        try:
            task = asyncio.create_task(coroutine)
        except RuntimeError:
            coroutine.close()
            raise
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = make_app()
    app.cleanup_ctx.append(ctx)
    if backend["backend"] == "asyncio":
        assert len(run_and(lambda: None, app, port=0, **backend)) == 1
        return
    with pytest.raises(RuntimeError, match="no running event loop") as caught:
        web.run_app(app, port=0, print=None, **backend)
    (note,) = caught.value.__notes__
    assert "anyio.create_task_group" in note
    assert 'backend="asyncio"' in note


def test_start_up_errors_come_out_as_they_are(backend):
    """The same object, not in a group, with the frames of the code that raised it; nothing stays open."""
    error = LookupError("no database")
    events: list[str] = []

    async def ctx(app: web.Application) -> AsyncIterator[None]:
        yield
        events.append("left")

    async def deep(app: web.Application) -> None:
        raise error

    app = make_app()
    app.cleanup_ctx.append(ctx)
    app.on_startup.append(deep)
    with pytest.raises(LookupError) as caught:
        web.run_app(app, port=0, print=None, **backend)
    assert caught.value is error
    assert caught.traceback[-1].name == "deep"
    assert events == ["left"]


def test_a_taken_port_is_an_oserror_and_cleans_up(backend):
    events: list[str] = []

    async def on_cleanup(app: web.Application) -> None:
        events.append("cleaned up")

    app = make_app()
    app.on_cleanup.append(on_cleanup)
    with bound_socket() as sock, pytest.raises(OSError, match="in use"):
        web.run_app(app, host="127.0.0.1", port=sock.getsockname()[1], print=None, **backend)
    assert events == ["cleaned up"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loop": object()}, TypeError, r"takes no loop.*backend='asyncio' or 'trio'"),
        ({"keepalive": 5}, TypeError, r"run_app\(\) got unexpected keyword argument keepalive"),
        ({"max_headers": "9"}, TypeError, r"max_headers must be an int"),
        ({"access_log_class": dict}, TypeError, r"access_log_class must be a subclass"),
        ({"backend": "curio"}, LookupError, r"curio"),
    ],
)
def test_arguments_are_checked_and_no_coroutine_is_left_behind(arguments, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            web.run_app(make_app_later(), print=None, **arguments)
        gc.collect()


def test_inside_a_running_loop_it_says_so():
    async def main() -> None:
        with pytest.raises(RuntimeError, match="Already running asyncio"):
            web.run_app(make_app_later(), print=None)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


# -- options -------------------------------------------------------------------------------------------------------


def test_backend_options_reach_the_backend():
    pytest.importorskip("uvloop")
    seen: list[str] = []

    async def look(app: web.Application) -> None:
        seen.append(type(asyncio.get_running_loop()).__module__)

    app = make_app()
    app.on_startup.append(look)
    run_and(lambda: None, app, port=0, backend_options={"use_uvloop": True})
    assert seen == ["uvloop"]


def test_debug_mode_of_asyncio_shows_the_access_log(monkeypatch: pytest.MonkeyPatch):
    """W-151: an unconfigured default access log writes to stderr."""
    logger = logging.getLogger("structweb.access")
    monkeypatch.setattr(logger, "propagate", False)
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])
    try:
        run_and(lambda: None, make_app(), port=0, backend_options={"debug": True})
        assert logger.level == logging.DEBUG
        assert [type(handler) for handler in logger.handlers] == [logging.StreamHandler]
    finally:
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()


@pytest.mark.parametrize("configured", ["another logger", "a handler", "a level"])
def test_debug_mode_leaves_a_configured_access_log_alone(monkeypatch: pytest.MonkeyPatch, configured: str):
    logger = logging.getLogger("structweb.access" if configured != "another logger" else "tests.access")
    monkeypatch.setattr(logger, "propagate", False)
    mine = logging.NullHandler()
    level, handlers = (logging.ERROR, []) if configured == "a level" else (logging.NOTSET, [mine])
    monkeypatch.setattr(logger, "handlers", handlers[:])
    logger.setLevel(level)
    try:
        run_and(lambda: None, make_app(), port=0, debug=True, access_log=logger)
        if configured == "a level":
            assert logger.level == logging.ERROR
        else:
            assert logger.handlers == [mine]
    finally:
        logger.setLevel(logging.NOTSET)


# -- processes of their own ----------------------------------------------------------------------------------------

PROGRAM = """
import sys, json, anyio
from structweb import web

arguments = json.loads(sys.argv[1])

async def slow(request):
    if "notice" in request.query:
        await request.shutting_down.wait()
    print("handler entered", flush=True)
    try:
        await anyio.sleep(float(request.query["seconds"]))
    except BaseException as exc:
        print("handler cancelled", flush=True)
        raise
    return web.Response(text="finished")

async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)

async def ctx(app):
    yield
    print("cleaning up", flush=True)
    await anyio.sleep(arguments.pop("cleanup", 0))
    print("cleaned up", flush=True)

async def starting(app):
    if "startup" in arguments:
        print("starting", flush=True)
        await anyio.sleep(arguments["startup"])

async def on_shutdown(app):
    print("shutting down", flush=True)

app = web.Application()
app.add_routes([web.get("/slow", slow), web.get("/endless", endless)])
app.cleanup_ctx.append(ctx)
app.on_startup.append(starting)
app.on_shutdown.append(on_shutdown)
web.run_app(
    app, host="127.0.0.1", port=0, shutdown_timeout=arguments["timeout"],
    drain_delay=arguments.get("drain_delay", 0), handle_signals=arguments.get("handle_signals", True), backend=arguments["backend"], backend_options=arguments.get("backend_options"),
)
print("returned", flush=True)
"""


class Program(subprocess.Popen[str]):
    """A process that runs the application above."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(
            [sys.executable, "-c", PROGRAM, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.stdout is not None
        return self.stdout.readline().strip()

    def address(self) -> tuple[str, int]:
        """Wait for the banner, and return where the server listens."""
        banner = self.line()
        assert banner.startswith("======== Running on http://127.0.0.1:"), banner + self.communicate()[1]
        assert self.line() == "(Press CTRL+C to quit)"
        return "127.0.0.1", int(banner.split(":")[-1].split()[0])

    def rest(self) -> list[str]:
        """Wait for the end; the program must end with 0 and without a traceback."""
        assert self.stdout is not None
        assert self.stderr is not None
        # Not communicate(): it would not see what line() has read ahead.
        overdue = threading.Timer(PATIENCE, self.kill)
        overdue.start()
        out, err = self.stdout.read(), self.stderr.read()
        returncode = self.wait()
        overdue.cancel()
        overdue.join()
        assert (returncode, "Traceback" in err) == (0, False), err
        return out.splitlines()

    def __exit__(self, *exc_info: object) -> None:
        self.kill()  # if it is still there, a test has failed, and is not to hang on top of that
        super().__exit__(*exc_info)


def visitor(address: tuple[str, int], path: str) -> socket.socket:
    client = socket.create_connection(address, timeout=PATIENCE)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_requests_finish(backend, number: signal.Signals):
    with Program(timeout=10, **backend) as program:
        with visitor(program.address(), "/slow?seconds=0.3") as client:
            assert program.line() == "handler entered"
            program.send_signal(number)
            received = b""
            while data := client.recv(65536):
                received += data
        assert received.endswith(b"finished")
        assert b"\r\nconnection: close\r\n" in received.lower()
        assert program.rest() == ["shutting down", "cleaning up", "cleaned up", "returned"]


def test_ctrl_c_is_graceful_without_handle_signals(backend):
    """As KeyboardInterrupt, which the backend makes of it."""
    with Program(timeout=10, handle_signals=False, **backend) as program:
        program.address()
        program.send_signal(signal.SIGINT)
        assert program.rest() == ["shutting down", "cleaning up", "cleaned up", "returned"]


def test_a_second_signal_ends_at_once(backend):
    with Program(timeout=60, **backend) as program:
        with visitor(program.address(), "/slow?seconds=60") as client:
            assert program.line() == "handler entered"
            program.send_signal(signal.SIGTERM)
            assert program.line() == "shutting down"
            program.send_signal(signal.SIGTERM)
            assert program.line() == "handler cancelled"
            assert client.recv(100) == b""
        assert program.rest()[-1] == "returned"


def test_a_drain_delay_goes_on_serving_until_a_second_signal(backend):
    with Program(timeout=60, drain_delay=60, **backend) as program:
        with visitor(program.address(), "/slow?seconds=0") as client:
            assert program.line() == "handler entered"
            received = b""
            while not received.endswith(b"finished"):
                received += client.recv(65536)
            program.send_signal(signal.SIGTERM)
            client.sendall(b"GET /slow?seconds=60&notice HTTP/1.1\r\nHost: test\r\n\r\n")
            assert program.line() == "handler entered"
            program.send_signal(signal.SIGTERM)
            rest = program.rest()
        assert sorted(rest[:-2]) == ["handler cancelled", "shutting down"]  # at the same time
        assert rest[-2:] == ["cleaning up", "returned"]


def test_a_second_signal_cuts_a_clean_up_short(backend):
    with Program(timeout=60, cleanup=60, **backend) as program:
        program.address()
        program.send_signal(signal.SIGINT)
        assert [program.line(), program.line()] == ["shutting down", "cleaning up"]
        program.send_signal(signal.SIGINT)
        assert program.rest() == ["returned"]


def test_a_signal_during_start_up_ends_it(backend):
    with Program(timeout=60, startup=60, **backend) as program:
        assert program.line() == "starting"
        program.send_signal(signal.SIGTERM)
        assert program.rest() == ["cleaning up", "cleaned up", "returned"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, web.GracefulExit])
def test_an_interrupt_in_any_task_ends_it_without_a_word(backend, raised, caplog):
    """Ctrl+C once more, when the signals have been given back: Python raises it in whatever task is running."""

    async def interrupted() -> None:
        raise raised

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(interrupted)
            await anyio.sleep_forever()

    run_module._run(main, backend["backend"], backend.get("backend_options"))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_hostile_clients_cannot_hold_a_shutdown(backend):
    """A stalled reader of an endless stream, an idle keep-alive and a silent connection."""

    def attempt() -> float:
        with Program(timeout=0.2, **backend) as program:
            address = program.address()
            with (
                visitor(address, "/endless") as stalled,
                visitor(address, "/none") as idle,
                socket.create_connection(address, timeout=PATIENCE) as silent,
            ):
                assert stalled.recv(10)
                assert idle.recv(10)
                program.send_signal(signal.SIGTERM)
                began = time.monotonic()
                assert program.rest() == ["shutting down", "cleaning up", "cleaned up", "returned"]
                took = time.monotonic() - began
                assert silent.recv(10) == b""
        return took

    # Includes the end of the interpreter; the server's own part is measured in test_runner.
    best_of(attempt, 0.2 + 0.3 + AT_ONCE)


@pytest.mark.parametrize("name", ["curio", None])
def test_a_backend_that_there_is_none(name):
    with pytest.raises(LookupError, match=f"backend must be 'asyncio' or 'trio', got {name!r}"):
        web.run_app(web.Application(), backend=name)


def test_uvloop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ImportError, match=r"use_uvloop needs uvloop: pip install 'structweb\[uvloop\]'"):
        web.run_app(web.Application(), backend_options={"use_uvloop": True})
