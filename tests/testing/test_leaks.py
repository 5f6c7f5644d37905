"""The guard in conftest notices each kind of leak, and lets clean tests pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = "from tests.conftest import *  # noqa: F403"

HEADER = """
import asyncio, socket, threading, warnings
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
        ["*a task: <Task pending name='left alone'*"],
    ),
    "a system task of trio": (
        """
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_it():
    trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left alone")
""",
        ["*a task: <Task 'left alone'*"],
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
        ["*a task: <Task 'left alone'*"],
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
    with socket.socket():
        pass
    await anyio.to_thread.run_sync(int)

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
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
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
