"""The README and the pages: every example runs, every command does what is said, every file that is named exists."""

import ast
import http.client
import inspect
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
BACKENDS = ["asyncio", "trio"]


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a page in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# -- the README --------------------------------------------------------------------------------------------------


def test_readme_shows_the_example_verbatim():
    assert blocks(README, "python") == [(ROOT / "examples" / "hello.py").read_text()]


def test_readme_has_two_commands():
    """One runs the application, one passes the tests, and either makes its own environment."""
    commands = blocks(README, "sh")
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert "nox -s tests" in commands[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_readme_command_serves_the_example(backend: str):
    (serve,) = re.findall(r"structweb (serve .*)$", blocks(README, "sh")[0], re.MULTILINE)
    with served(shlex.split(serve), backend, ROOT) as port:
        assert asked(port, "GET", "/") == "Hello, world"
        assert asked(port, "GET", "/hello/you") == '{"hello": "you"}'


# -- commands on the pages ---------------------------------------------------------------------------------------


@contextmanager
def served(arguments: list[str], backend: str, folder: Path) -> Iterator[int]:
    """Run `structweb` with `arguments`, on a free port instead of 8080, until the block ends; then stop it gracefully."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    swapped = [{"8080": str(port), "localhost": "127.0.0.1"}.get(argument, argument) for argument in arguments]
    command = [sys.executable, "-W", "error", "-m", "structweb", swapped[0], "--backend", backend, *swapped[1:]]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    try:
        assert server.stdout
        while "Running on" not in said:
            line = server.stdout.readline()
            assert line, f"the server ended before it was up: {said}"
            said += line
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            said += server.communicate(timeout=20)[0]
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
    assert server.returncode == 0, said
    assert "Traceback" not in said, said


def asked(port: int, method: str, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_tutorial_answers_as_it_says(tmp_path: Path, backend: str):
    """The tutorial's blocks, one under the other, are a program, and its console shows what that program answers."""
    text = (DOCS / "tutorial" / "first-application.md").read_text()
    (tmp_path / "guests.py").write_text("\n".join(blocks(text, "python")))
    (serve,) = re.findall(r"structweb (serve .*)$", text, re.MULTILINE)
    (console,) = blocks(text, "console")
    dialogue = re.findall(
        r"^\$ curl(?: -X (\w+))? http://localhost:8080(\S*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE
    )
    assert len(dialogue) == console.count("$ curl")
    with served(shlex.split(serve), backend, tmp_path) as port:
        for method, path, answer in dialogue:
            assert asked(port, method or "GET", path) + "\n" == answer, path


# -- examples on the pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page.read_text(), "python")], ids=lambda page: page.stem
)
def test_page_examples_run(page: Path, backend: str):
    """The Python blocks of a page run in order, in one namespace; they may await."""
    names: dict[str, object] = {"__name__": f"docs.{page.stem}"}
    for number, block in enumerate(blocks(page.read_text(), "python"), 1):
        code = compile(block, f"{page.name}, block {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        outcome = eval(code, names)  # noqa: S307 - the pages are ours
        if inspect.iscoroutine(outcome):
            anyio.run(lambda awaited=outcome: awaited, backend=backend)


# -- names on the pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["life-of-a-request", "structure", "timeouts"])
def test_named_files_exist(name: str):
    """Every file below src/structweb that an explanation names is there."""
    text = (DOCS / "explanation" / f"{name}.md").read_text()
    named = set(re.findall(r"`((?:_\w+|testing)/[\w/]+\.py|cli\.py)`", text))
    assert named
    missing = sorted(file for file in named if not (ROOT / "src" / "structweb" / file).is_file())
    assert missing == []


def test_every_decision_has_its_parts():
    """An ADR says why, what, and what else was possible."""
    for page in sorted((DOCS / "adr").glob("0*.md")):
        text = page.read_text()
        assert re.match(rf"# {int(page.name[:4])}\. ", text), page.name
        for part in ("**Context.**", "**Decision.**", "**Rejected.**"):
            assert part in text, f"{page.name} has no {part}"
