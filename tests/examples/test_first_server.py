"""The first server, the way it ends, and the command line."""

import errno
import os
import re

import anyio
import pytest

from examples import graceful_shutdown
from structweb import web
from tests.examples.client import Client, ask_program, example, serving
from tests.examples.program import BACKEND_OPTIONS, Program

SERVE = ["-m", "structweb", "serve"]
#: Arguments of web.run_app, and of anyio.run.
RUN_OPTIONS = {
    "asyncio": "",
    "uvloop": ", backend_options={'use_uvloop': True}",
    "trio": ", backend='trio'",
}
FIRST_SNIPPET = """
from structweb import web

async def hello(request):
    return web.Response(text="Hello, world")

app = web.Application()
app.router.add_get('/', hello)
web.run_app(app)
"""


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Name what a program runs on."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


# -- a simple server -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_hello():
    """S-01, S-02: a coroutine that takes a request and returns a response, registered on an application's router."""
    async with example("server_simple") as client:
        answer = await client.ask("GET", "/")
        missing = await client.ask("GET", "/nothing")
    assert (answer.status, answer.reason, answer.text) == (200, "OK", "Hello, world")
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert answer.get("Content-Length") == "12"
    assert answer.get("Connection") is None
    assert (missing.status, missing.text) == (404, "404: Not Found")


@pytest.mark.anyio
@pytest.mark.real_backends
@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_handler_gets_one_request_and_returns_a_response(kind):
    """S-01: of a StreamResponse, or a class that is derived from it."""
    got = []

    class Mine(web.Response):
        pass

    def plain(*args, **kwargs):
        got.append((args, kwargs))
        return Mine(text="mine", status=201)

    async def coroutine(*args, **kwargs):
        return plain(*args, **kwargs)

    app = web.Application()
    app.router.add_get("/", plain if kind == "def" else coroutine)
    async with serving(app) as client:
        answer = await client.ask("GET", "/?a=b")
    assert (answer.status, answer.text) == (201, "mine")
    (((request,), kwargs),) = got
    assert isinstance(request, web.Request)
    assert kwargs == {}


def program_on_8080(*arguments: str) -> Program:
    """Start a program that serves port 8080; skip the test where somebody else has it."""
    program = Program(*arguments)
    try:
        program.wait_for("Running on ")
    except AssertionError:
        with program:
            if os.strerror(errno.EADDRINUSE).lower() in program.said.lower():
                pytest.skip("port 8080 is taken")
            raise
    return program


def check_8080(program: Program) -> None:
    banner = program.said.splitlines()[-1]
    assert banner == "======== Running on http://0.0.0.0:8080 ========"
    assert program.wait_for("Press") == "(Press CTRL+C to quit)"
    answer = ask_program(8080, "GET", "/")
    assert (answer.status, answer.text) == (200, "Hello, world")
    program.interrupt()
    assert program.ended() == 0, program.said
    assert "Traceback" not in program.said


def test_the_first_snippet_runs_with_its_import_changed(backend: str):
    """S-02, S-03: on port 8080 of all interfaces, with a banner, until Ctrl+C; trio is one more argument."""
    snippet = FIRST_SNIPPET.replace("run_app(app)", f"run_app(app{RUN_OPTIONS[backend]})")
    with program_on_8080("-c", snippet) as program:
        check_8080(program)


def test_the_example_is_a_program():
    """S-03: web.run_app(app)."""
    with program_on_8080("examples/server_simple.py") as program:
        check_8080(program)


# -- graceful shutdown ---------------------------------------------------------------------------------------------


def test_shutdown_by_hand(backend: str):
    """S-04: a runner and two sites; after Ctrl+C nobody can connect, what runs finishes, then clean-up runs."""
    options = RUN_OPTIONS[backend]
    code = f"import anyio; from examples.graceful_shutdown import main; anyio.run(main, 0, 0{options})"

    async def talk(program: Program, ports: list[int]) -> None:
        async with Client("127.0.0.1", ports[0]) as client, Client("127.0.0.1", ports[1]):
            await client.begin("POST", "/upload", [("Expect", "100-continue")], length=4)
            await client.continued()  # the handler is at work
            program.interrupt()
            program.wait_for("on_shutdown: ")
            for port in ports:
                with pytest.raises(OSError):
                    await anyio.connect_tcp("127.0.0.1", port)
            answer = await client.finish(b"data")
        assert (answer.status, answer.text) == (200, "Took 4 bytes")
        assert answer.get("Connection") == "close"

    with Program("-c", code) as program:
        ports = [program.port(), program.port()]
        anyio.run(talk, program, ports)
        assert program.ended() == 0, program.said
    lines = [re.sub(r":\d+$", "", line) for line in program.said.splitlines()]
    assert lines == [
        "database: open",
        "Running on http://localhost",
        "Running on http://localhost",
        "on_shutdown: no new connections; running requests may finish",
        "database: closed",
        "on_cleanup: the last request is over",
        "Stopped",
    ]


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_shutdown_hooks_run_in_order(capsys: pytest.CaptureFixture[str]):
    """S-04: the same application, run by a block of code instead of a signal."""
    async with serving(graceful_shutdown.init_func([])) as client:
        assert (await client.ask("POST", "/upload", body=b"12345")).text == "Took 5 bytes"
        assert capsys.readouterr().out == "database: open\n"
    order = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert order == ["on_shutdown", "database", "on_cleanup"]


# -- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["server_simple", "hello"])
def test_serve(module: str, backend: str):
    """S-05: structweb serve -H HOST -P PORT package.module:init_func; Ctrl+C ends it with exit code 0."""
    command = [*SERVE, *BACKEND_OPTIONS[backend], "-H", "localhost", "-P", "0", f"examples.{module}:init_func"]
    with Program(*command) as program:
        port = program.port()
        banner = program.said.splitlines()[-1]
        assert banner == f"======== Running on http://localhost:{port} ========"
        answer = ask_program(port, "GET", "/")
        program.interrupt()
        assert program.ended() == 0, program.said
    assert (answer.status, answer.text) == (200, "Hello, world")
    assert "Traceback" not in program.said


def test_serve_in_aiohttps_words():
    """S-05: python -m structweb.web, as in python -m aiohttp.web."""
    with Program("-m", "structweb.web", "-H", "localhost", "-P", "0", "examples.cli_init:init_func") as program:
        assert ask_program(program.port(), "GET", "/").text == "Hello, world"
        program.interrupt()
        assert program.ended() == 0, program.said


def test_init_func_gets_the_arguments_that_are_left(backend: str):
    """S-06: what the command line does not know is handed on, also when something that it knows stands behind it."""
    arguments = ["examples.cli_init:init_func", "--name", "you", "-H", "localhost", "-P", "0"]
    with Program(*SERVE, *BACKEND_OPTIONS[backend], *arguments) as program:
        answer = ask_program(program.port(), "GET", "/")
        program.interrupt()
        assert program.ended() == 0, program.said
    assert (answer.status, answer.text) == (200, "Hello, you")


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_init_func_is_a_function():
    """S-06: it takes a list of strings and returns an application, for whoever calls it."""
    async with example("cli_init", "--name", "tester") as client:
        assert (await client.ask("GET", "/")).text == "Hello, tester"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("examples.server_simple", "expected an entry of the form module:init_func, got 'examples.server_simple'"),
        ("examples.nowhere:init_func", "cannot import examples.nowhere: No module named 'examples.nowhere'"),
        ("examples.server_simple:nothing", "module examples.server_simple has no attribute nothing"),
        ("examples.server_simple:__name__", "must be a callable that takes a list of arguments, got 'examples."),
        ("examples.handlers:handler", "must return a web.Application or an awaitable of one, got <Response"),
        ("examples.hello:hello", "must return a web.Application or an awaitable of one, got an awaitable of <Response"),
    ],
)
def test_wrong_entry_points(entry: str, message: str):
    """S-05: one clear line and exit code 2."""
    for command in (SERVE, ["-m", "structweb.web"]):
        with Program(*command, "-P", "0", entry) as program:
            assert program.ended() == 2, program.said
        assert message in program.said.splitlines()[-1]
        assert "Traceback" not in program.said
