"""The guard against leaks notices each kind of them, and lets clean tests pass (B-05)."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from structweb.testing import LeakError, no_leaks

pytest_plugins = ["pytester"]

CONFTEST = "from tests.conftest import *  # noqa: F403"
ROOT = Path(__file__).parents[2]

HEADER = """
import asyncio, socket, tempfile, threading, warnings
import anyio, pytest, trio
pytestmark = pytest.mark.anyio
kept = []
"""

LEAKS = {
    "a socket": (
        "def test_it():\n    kept.append(socket.socket())",
        ["*an open socket: <socket.socket fd=*"],
    ),
    "a socket in a reference cycle": (
        """
def test_it():
    holder = [socket.socket()]
    holder.append(holder)
""",
        ["*unclosed <socket.socket*"],
    ),
    "a thread": (
        """
def test_it():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, args=(10,), name="left alone", daemon=True).start()
""",
        ["*a thread: <Thread(left alone,*"],
    ),
    "an async generator": (
        """
async def numbers():
    yield 1
    yield 2

async def test_it():
    kept.append(numbers())
    await anext(kept[-1])
""",
        ["*an async generator: <async_generator object numbers*"] * 2,
    ),
    "a socket of a loop": (
        "async def test_it():\n    kept.append(socket.socketpair())",
        ["*an open socket: <socket.socket fd=*"] * 4,
    ),
    "a task of asyncio": (
        """
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it():
    kept.append(asyncio.create_task(asyncio.sleep(10), name="left alone"))
""",
        ["*a task: 'left alone', waiting at *"],
    ),
    "a system task of trio": (
        """
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_it():
    trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left alone")
""",
        ["*a task: 'left alone', waiting at *"],
    ),
    "a task of a nursery that was never closed": (
        """
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_it():
    manager = trio.open_nursery()
    kept.append(manager)
    nursery = await manager.__aenter__()
    nursery.start_soon(trio.sleep_forever, name="left alone")
""",
        ["*a task: 'left alone', waiting at *"],
    ),
    "a temporary file": (
        """
def test_it(tmp_path):
    with tempfile.NamedTemporaryFile(dir=tmp_path, suffix="left", delete=False):
        pass
""",
        ["*a temporary file: *left"],
    ),
    "a temporary folder": (
        "def test_it(tmp_path):\n    tempfile.mkdtemp(dir=tmp_path, suffix='left')",
        ["*a temporary folder: *left"],
    ),
    "an open temporary file": (
        "def test_it():\n    kept.append(tempfile.TemporaryFile())\n    kept[-1].write(b'12345')\n    kept[-1].flush()",
        ["*an open temporary file: descriptor *, 5 bytes"],
    ),
    "a warning": (
        "def test_it():\n    warnings.warn('mind the gap', ResourceWarning)",
        ["*ResourceWarning: mind the gap*"],
    ),
}

CLEAN = """
async def numbers():
    yield 1

async def test_everything_that_is_tidied_up():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 5)
    assert [each async for each in numbers()] == [1]
    with socket.socket(), tempfile.TemporaryFile(), tempfile.NamedTemporaryFile(), tempfile.TemporaryDirectory():
        pass
    await anyio.to_thread.run_sync(int)

@pytest.mark.leaks("to see that it may")
def test_that_may():
    kept.append(socket.socket())

def test_without_a_loop():
    with socket.socket():
        pass

@pytest.mark.real_backends
async def test_on_real_clocks():
    await anyio.sleep(0)
"""


@pytest.fixture(name="run_inner")
def _run_inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Run test modules in a session of their own, under this suite's conftest."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider -rfE\n")

    def run(**modules: str) -> pytest.RunResult:
        pytester.makepyfile(**{f"test_{name}": HEADER + source for name, source in modules.items()})
        return pytester.runpytest_subprocess()

    return run


def test_each_kind_of_leak_is_noticed(run_inner: Callable[..., pytest.RunResult]) -> None:
    modules = {kind.replace(" ", "_"): kind for kind in LEAKS}
    result = run_inner(**{module: LEAKS[kind][0] for module, kind in modules.items()})
    result.stdout.fnmatch_lines_random([line for _, lines in LEAKS.values() for line in lines])
    for module in modules:
        result.stdout.re_match_lines_random([rf"(ERROR|FAILED) test_{module}\.py::test_it.*"])


def test_clean_tests_pass(run_inner: Callable[..., pytest.RunResult]) -> None:
    assert run_inner(clean=CLEAN).ret == pytest.ExitCode.OK


# -- the plugin, where structweb's own conftest is not -----------------------------------------------------------------


def test_the_fixture_of_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["structweb.testing.plugin"]')
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider --strict-markers\n")
    pytester.makepyfile(
        HEADER
        + """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

async def test_task(no_leaks):
    if kept:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left alone")
    else:
        kept.append(asyncio.create_task(asyncio.sleep(10), name="left alone"))

async def test_tidy(no_leaks):
    await anyio.sleep(0)

def test_socket(no_leaks):
    kept.append(socket.socket())

def test_unwatched():
    kept.append(socket.socket())
"""
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=6, errors=3)
    result.stdout.fnmatch_lines(
        ["*a task: 'left alone', waiting at *", "*a task: 'left alone', waiting at *", "*an open socket: *"]
    )


# -- the guard as a context manager ------------------------------------------------------------------------------------


@pytest.mark.leaks("on purpose")
def test_no_leaks_around_a_loop(tmp_path: Path) -> None:
    kept: list[socket.socket] = []

    async def main() -> None:
        kept.append(socket.socket())
        tempfile.mkdtemp(dir=tmp_path)

    with pytest.raises(LeakError, match="left behind:") as caught, no_leaks():
        anyio.run(main)
    assert [what.split(":")[0].strip() for what in caught.value.left] == ["an open socket", "a temporary folder"]
    kept.pop().close()
    with no_leaks():
        anyio.run(anyio.sleep, 0)


@pytest.mark.anyio
async def test_no_leaks_inside_of_a_loop() -> None:
    """Tasks and generators of the block count, those around it do not."""

    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    before, inside = numbers(), numbers()
    await anext(before)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        with pytest.raises(LeakError) as caught:
            async with no_leaks():
                tasks.start_soon(anyio.sleep_forever, name="left alone")
                await anext(inside)
        tasks.cancel_scope.cancel()
    task, generator = caught.value.left
    assert task.startswith("  a task: 'left alone', waiting at ")
    assert "numbers" in generator
    assert f"{__file__}:" in generator
    await before.aclose()
    await inside.aclose()


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_no_leaks_lets_be_what_ends_with_the_loop() -> None:
    async with no_leaks():
        await anyio.to_thread.run_sync(int)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0.001)


@pytest.mark.anyio
async def test_guards_nest() -> None:
    async with no_leaks():
        with no_leaks():
            pass
        async with no_leaks():
            await anyio.sleep(1)


def test_an_error_of_the_block_comes_first() -> None:
    kept = []
    with pytest.raises(LookupError), no_leaks():
        kept.append(socket.socket())
        raise LookupError
    kept.pop().close()


def test_a_guard_watches_one_block_at_a_time() -> None:
    guard = no_leaks()
    with pytest.raises(RuntimeError, match="does not watch"):
        guard.__exit__(None, None, None)
    with guard, pytest.raises(RuntimeError, match="watches already"):
        guard.__enter__()
    with guard:
        pass


# -- what the package needs --------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_optional() -> None:
    """Neither pytest, nor httpx, nor a backend: a program may use virtual time with none of them at hand."""
    code = "import sys, structweb.testing; print(sorted({'pytest', 'httpx', 'hypothesis', 'trio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
