"""The command line, as a user runs it: in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from structweb import cli
from tests.web.loopback import PATIENCE, ask_from_thread, request

MODULE = """
import asyncio
import anyio
import trio
from structweb import web

def make(argv):
    async def show(request):
        return web.json_response({"argv": argv})
    app = web.Application()
    app.router.add_get("/", show)
    return app

async def make_later(argv):
    await anyio.lowlevel.checkpoint()
    return make(argv)

def make_awaitable(argv):
    return make_later(argv)

class Factory:
    create = staticmethod(make)

async def show_backend(request):
    try:
        return web.Response(text=type(asyncio.get_running_loop()).__module__)
    except RuntimeError:
        return web.Response(text=type(trio.lowlevel.current_task()).__module__)

app = web.Application()
app.router.add_get("/", show_backend)
number = 5

def alone():
    return app

async def leave():
    raise web.GracefulExit

def make_brief(argv):
    async def start(app):
        app.start_soon(leave)
    brief = web.Application()
    brief.on_startup.append(start)
    return brief

brief = make_brief([])

def make_none(argv):
    return None

def fail(argv):
    raise LookupError("no configuration")
"""

SERVE = ["-m", "structweb", "serve"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    return tmp_path


class Command(subprocess.Popen[str]):
    """A command line at work."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(
            [sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def names(self) -> list[str]:
        """Wait for the banner, and return where the server listens."""
        assert self.stdout is not None
        banner = self.stdout.readline().strip()
        assert banner.startswith("======== Running on "), banner + self.communicate()[1]
        return banner.split(" ", 3)[3].removesuffix(" ========").split(", ")

    def address(self) -> tuple[str, int]:
        (name,) = self.names()
        return "127.0.0.1", int(name.rpartition(":")[2])

    def stopped(self) -> str:
        """End the program with a SIGINT, and return what it logged."""
        self.send_signal(signal.SIGINT)
        _, err = self.communicate(timeout=PATIENCE)
        assert self.returncode == 0, err
        assert err.endswith("Stopped\n")
        assert "Traceback" not in err
        return err


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )


# -- serving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["mine:make", "mine:make_later", "mine:make_awaitable", "mine:Factory.create"])
def test_what_the_command_does_not_know_goes_to_init_func(folder: Path, entry: str):
    arguments = ["-H", "127.0.0.1", entry, "-P", "0", "--config", "my.ini", "word", "-x"]
    with Command(folder, *SERVE, *arguments) as command:
        answer = ask_from_thread(command.address())
        command.stopped()
    assert answer.body == b'{"argv": ["--config", "my.ini", "word", "-x"]}'


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        ([], b"asyncio"),
        (["--backend", "asyncio", "--uvloop"], b"uvloop"),
        (["--backend", "trio"], b"trio"),
    ],
)
def test_backends(folder: Path, options: list[str], backend: bytes):
    if "--uvloop" in options:
        pytest.importorskip("uvloop")
    with Command(folder, *SERVE, *options, "-H", "127.0.0.1", "-P", "0", "mine:app") as command:
        answer = ask_from_thread(command.address())
        command.stopped()
    assert answer.body.startswith(backend)


def test_in_the_shape_of_aiohttp(folder: Path):
    """`python -m structweb.web` is `python -m aiohttp.web` with another name."""
    arguments = ["-m", "structweb.web", "-H", "127.0.0.1", "-P", "0", "mine:make", "--mine"]
    with Command(folder, *arguments) as command:
        answer = ask_from_thread(command.address())
        command.stopped()
    assert answer.body == b'{"argv": ["--mine"]}'


def test_the_script_finds_modules_of_the_current_folder(folder: Path):
    script = Path(sys.executable).with_name("structweb")
    if not script.exists():
        pytest.skip("structweb is not installed as a script")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        [script, "serve", "-H", "127.0.0.1", "-P", "0", "mine:make"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        assert command.stdout is not None
        assert command.stdout.readline().startswith("======== Running on http://127.0.0.1:")
        command.send_signal(signal.SIGTERM)
        assert command.wait(PATIENCE) == 0


@pytest.mark.parametrize("entry", ["mine:make_brief", "mine:brief"])
def test_in_a_process_that_is_there_already(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], entry: str
):
    """The module is found in the current folder, and an application may be named itself."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    cli.main(["serve", "-U", "s", "--shutdown-timeout", "0.5", entry])
    assert sys.path[0] == str(folder)
    assert capsys.readouterr().err == "Stopped\n"


def test_without_uvloop_to_ask_for_it_is_a_usage_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--uvloop", "mine:make"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("error: --uvloop needs uvloop: pip install 'structweb[uvloop]'\n")


def test_a_path_alone_means_no_tcp(folder: Path):
    with Command(folder, *SERVE, "-U", "s", "mine:make") as command:
        assert command.names() == ["http://unix:s:"]
        assert ask_from_thread(str(folder / "s")).status == 200
        command.stopped()
    assert not (folder / "s").exists()


def test_a_path_and_a_host_mean_both(folder: Path):
    with Command(folder, *SERVE, "-U", "s", "-H", "127.0.0.1", "-P", "0", "mine:make") as command:
        tcp, unix = command.names()
        assert tcp.startswith("http://127.0.0.1:")
        assert unix == "http://unix:s:"
        command.stopped()


def test_access_log_format(folder: Path):
    options = ["-H", "127.0.0.1", "-P", "0", "--access-log-format", "<%s %r>"]
    with Command(folder, *SERVE, *options, "mine:make") as command:
        ask_from_thread(command.address())
        assert "INFO:structweb.access:<200 GET / HTTP/1.1>" in command.stopped()


def test_no_access_log(folder: Path):
    with Command(folder, *SERVE, "-H", "127.0.0.1", "-P", "0", "--no-access-log", "mine:make") as command:
        ask_from_thread(command.address())
        assert "structweb.access" not in command.stopped()


@pytest.mark.parametrize("proxies", ["any", "unix,127.0.0.0/8"])
def test_clients_behind_a_proxy(folder: Path, proxies: str):
    options = ["-H", "127.0.0.1", "-P", "0", "--proxy-protocol", proxies, "--access-log-format", "<%a>"]
    with Command(folder, *SERVE, *options, "mine:make") as command:
        with socket.create_connection(command.address(), PATIENCE) as sock:
            sock.sendall(b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 80\r\n" + request())
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert "INFO:structweb.access:<203.0.113.7>" in command.stopped()


def test_processes_may_share_a_port(folder: Path):
    options = ["-H", "127.0.0.1", "--reuse-port", "mine:make"]
    with Command(folder, *SERVE, "-P", "0", *options) as first:
        address = first.address()
        with Command(folder, *SERVE, "-P", str(address[1]), *options) as second:
            assert second.address() == address
            ask_from_thread(address)
            first.stopped()
            ask_from_thread(address)  # the other one goes on
            second.stopped()


def test_a_timeout_of_the_shutdown(folder: Path):
    with Command(folder, *SERVE, "-H", "127.0.0.1", "-P", "0", "--shutdown-timeout", "0.5", "mine:make") as command:
        command.names()
        command.stopped()


# -- what is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: module:init_func"),
        (["mine"], "expected an entry of the form module:init_func, got 'mine'"),
        (["--repeat", "3", "mine:make"], "got '3' (arguments for init_func stand behind it)"),
        (["mine:"], "expected an entry of the form module:init_func, got 'mine:'"),
        ([":make"], "expected an entry of the form module:init_func, got ':make'"),
        ([".mine:make"], "the module must be named absolutely, got '.mine'"),
        (["nowhere:make"], "cannot import nowhere: No module named 'nowhere'"),
        (["broken:make"], "cannot import broken: No module named 'nothing_of_that_name'"),
        (["mine:nothing"], "module mine has no attribute nothing"),
        (["mine:number"], "mine:number must be a callable that takes a list of arguments, got 5"),
        (["mine:alone"], "got <function alone at 0x"),
        (["mine:alone", "x"], "too many positional arguments"),
        (["mine:app", "--shutdown-timout", "5"], "an application, which takes no arguments, got --shutdown-timout 5"),
        (["mine:make_none"], "mine:make_none must return a web.Application or an awaitable of one, got None"),
        (["-P", "http", "mine:make"], "argument -P/--port: expected a port from 0 to 65535, got 'http'"),
        (["-P", "65536", "mine:make"], "argument -P/--port: expected a port from 0 to 65535, got '65536'"),
        (["--shutdown-timeout", "soon", "mine:make"], "expected seconds, 0 or more, got 'soon'"),
        (["--drain-delay", "-1", "mine:make"], "expected seconds, 0 or more, got '-1'"),
        (["--drain-delay", "inf", "mine:make"], "expected a finite number of seconds, got 'inf'"),
        (
            ["--proxy-protocol", "10.0.0.1/8", "mine:make"],
            "expected networks and 'unix', or 'any': 10.0.0.1/8 has host",
        ),
        (["--proxy-protocol", "", "mine:make"], "expected networks and 'unix', or 'any'"),
        (["--backend", "curio", "mine:make"], "argument --backend: invalid choice: 'curio'"),
        (["--backend", "trio", "--uvloop", "mine:make"], "--uvloop is for asyncio, got --backend trio"),
    ],
)
@pytest.mark.parametrize("shape", ["structweb serve", "python -m structweb.web"])
def test_usage_errors(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shape: str,
    arguments: list[str],
    message: str,
):
    """One clear sentence, and exit code 2; the same in both shapes."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    with pytest.raises(SystemExit) as ended:
        if shape == "structweb serve":
            cli.main(["serve", *arguments])
        else:
            cli.serve_main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert message in last
    assert last.startswith(f"{shape}: error: ")


@pytest.mark.parametrize("shape", [SERVE, ["-m", "structweb.web"]], ids=lambda shape: shape[1])
def test_usage_errors_of_a_process(folder: Path, shape: list[str]):
    done = run(folder, *shape, "nowhere:make")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].endswith("error: cannot import nowhere: No module named 'nowhere'")
    assert "Traceback" not in done.stderr


def test_without_unix_sockets_a_path_is_a_usage_error(folder: Path):
    program = (
        "import socket; del socket.AF_UNIX; from structweb.cli import main; main(['serve', '-U', 's', 'mine:make'])"
    )
    done = run(folder, "-c", program)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("-U needs Unix sockets, which this platform does not have")


def test_errors_of_init_func_are_tracebacks(folder: Path):
    done = run(folder, *SERVE, "mine:fail")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "LookupError: no configuration"


def test_an_address_that_is_taken_is_one_line(folder: Path):
    """Exit code 1, since the words of the call were right."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(folder, *SERVE, "-H", "127.0.0.1", "-P", str(port), "mine:make")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "Traceback" not in done.stderr


def test_a_path_that_cannot_be_is_one_line(folder: Path):
    (folder / "file").touch()
    done = run(folder, *SERVE, "-U", "file/sock", "mine:make")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("error: cannot listen on unix socket 'file/sock': Not a directory")
    assert "Traceback" not in done.stderr


def test_version_and_help(folder: Path):
    from structweb import __version__

    assert run(folder, "-m", "structweb", "--version").stdout == f"structweb {__version__}\n"
    assert "serve" in run(folder, "-m", "structweb", "--help").stdout
    text = run(folder, *SERVE, "--help").stdout
    for option in ("-H", "-P", "-U", "--backend", "--uvloop", "--shutdown-timeout", "--no-access-log"):
        assert option in text


def test_version_is_the_packages():
    from importlib.metadata import version

    from structweb import __version__

    assert __version__ == version("structweb")
