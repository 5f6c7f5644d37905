"""The plugin for pytest: ``pytest_plugins = ["structweb.testing.plugin"]`` in a conftest.py."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus

from structweb._web.app import Application
from structweb._web.handling import BareRequestHandler
from structweb.testing.client import TestClient
from structweb.testing.leaks import Census, TaskCensus
from structweb.testing.ports import unused_port
from structweb.testing.server import BaseTestServer, RawTestServer, TestServer


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


# -- servers and clients ---------------------------------------------------------------------------------------------


class _Begun(TaskStatus[object]):
    """Hands on that a server runs, and remembers it."""

    def __init__(self, outer: TaskStatus[object]) -> None:
        self._outer = outer
        self.told = False

    def started(self, value: object = None) -> None:
        self.told = True
        self._outer.started(value)


@pytest.fixture
async def _tended() -> AsyncGenerator[Callable[[BaseTestServer], Awaitable[object]]]:
    """Start servers in tasks of their own, which end with the test: whatever scopes a test opens, it may close them."""
    servers: list[BaseTestServer] = []
    errors: list[Exception] = []

    async def run(server: BaseTestServer, *, task_status: TaskStatus[object]) -> None:
        status = _Begun(task_status)
        try:
            await server.run(task_status=status)
        except Exception as exc:
            if not status.told:
                raise
            # In the group, it would cancel the task in which anyio's plugin runs all tests of the module.
            errors.append(exc)

    async with anyio.create_task_group() as group:

        async def tend(server: BaseTestServer) -> None:
            if not server.started:
                await group.start(run, server)
                servers.append(server)

        yield tend
        for server in reversed(servers):
            await server.close()
    if errors:
        raise errors[0] if len(errors) == 1 else ExceptionGroup("servers of the test failed", errors)


@pytest.fixture
def structweb_server(_tended: Callable[[BaseTestServer], Awaitable[object]]) -> Callable[..., Awaitable[TestServer]]:
    """Serve applications until the test ends: await it with one.

    The options are those of `TestServer`; `server_kwargs` go to the runner.
    """

    async def serve(
        app: Application,
        *,
        server_kwargs: Mapping[str, Any] | None = None,  # Any: the runner's
        **options: Any,  # Any: TestServer's
    ) -> TestServer:
        server = TestServer(app, **options, **(server_kwargs or {}))
        await _tended(server)
        return server

    return serve


@pytest.fixture
def structweb_raw_server(
    _tended: Callable[[BaseTestServer], Awaitable[object]],
) -> Callable[..., Awaitable[RawTestServer]]:
    """Serve handlers without an application until the test ends: await it with one."""

    async def serve(
        handler: BareRequestHandler,
        *,
        server_kwargs: Mapping[str, Any] | None = None,  # Any: the runner's
        **options: Any,  # Any: RawTestServer's
    ) -> RawTestServer:
        server = RawTestServer(handler, **options, **(server_kwargs or {}))
        await _tended(server)
        return server

    return serve


@pytest.fixture
def structweb_client_cls() -> type[TestClient]:
    """Return the class of what `structweb_client` makes; override it for a client of your own."""
    return TestClient


@pytest.fixture
async def structweb_client(
    _tended: Callable[[BaseTestServer], Awaitable[object]], structweb_client_cls: type[TestClient]
) -> AsyncGenerator[Callable[..., Awaitable[TestClient]]]:
    """Make clients: await it with an application or a server.  Both are closed after the test.

    `server_kwargs` go to `TestServer` (``{"memory": True}``), everything else to `TestClient`.  Raises ValueError for
    what is neither an application nor a server.
    """
    clients: list[TestClient] = []

    async def connect(
        served: Application | BaseTestServer,
        *,
        server_kwargs: Mapping[str, Any] | None = None,  # Any: TestServer's
        **options: Any,  # Any: TestClient's
    ) -> TestClient:
        if isinstance(served, Application):
            served = TestServer(served, **(server_kwargs or {}))
        elif not isinstance(served, BaseTestServer):
            raise ValueError(f"structweb_client() needs a Application or a server of tests, got {served!r}")
        client = structweb_client_cls(served, **options)
        await _tended(served)
        clients.append(client)
        return client

    yield connect
    for client in reversed(clients):
        await client.close()


@pytest.fixture
def structweb_unused_port() -> Callable[[], int]:
    """Find free ports, as `unused_port` does."""
    return unused_port
