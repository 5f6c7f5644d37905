"""The plugin for pytest: ``pytest_plugins = ["structweb.testing.plugin"]`` in a conftest.py."""

from collections.abc import AsyncGenerator, Generator

import pytest

from structweb.testing.leaks import Census, TaskCensus


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that `no_leaks` obeys."""
    config.addinivalue_line("markers", "leaks(reason): the test leaves something behind on purpose")


def _fail(left: list[str]) -> None:
    if left:
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def _process_guard(request: pytest.FixtureRequest) -> Generator[bool]:
    """Look behind the loop of the test, for what is left of the process; False if the test may leave something."""
    if request.node.get_closest_marker("leaks") is not None:
        yield False
        return
    with Census() as census:
        yield True
        left = census.left()
    _fail(left)


@pytest.fixture
async def _loop_guard() -> AsyncGenerator[None]:
    """Look in the loop, behind all other fixtures."""
    census = TaskCensus()
    yield
    _fail(await census.left())


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest, _process_guard: bool) -> None:
    """Fail a test that leaves a task, an async generator, a socket, a thread or a temporary file.

    Those of one test with ``@pytest.mark.usefixtures("no_leaks")``, of all with an autouse fixture that takes it.
    The mark ``leaks(reason)`` excuses a test.  There is no loop around tests that have none.
    """
    if _process_guard and "anyio_backend" in request.fixturenames:
        request.getfixturevalue("_loop_guard")
