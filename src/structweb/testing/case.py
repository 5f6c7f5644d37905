"""Test cases of unittest, on either backend: `StructWebTestCase`."""

import functools
import unittest
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, ClassVar, ParamSpec, TypeVar

import anyio
from anyio.abc import TaskGroup

from structweb._web.app import Application
from structweb.testing.client import TestClient
from structweb.testing.server import TestServer

T = TypeVar("T")
P = ParamSpec("P")


class StructWebTestCase(unittest.TestCase):
    """A test case with an application, its server, and a client: define `get_application`.

    `asyncSetUp`, the test and `asyncTearDown` run in one task, in one event loop of the `backend`: "asyncio" or
    "trio", with `backend_options` as `anyio.run` takes them.  ``class TestOnTrio(TestShop): backend = "trio"`` runs the
    same tests on the other one.  Tests are coroutine functions, or plain ones that run in the loop, too.
    """

    #: Where the tests run: "asyncio" or "trio".
    backend: ClassVar[str] = "asyncio"
    #: What `anyio.run` is told about the backend.
    backend_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})  # Any: depends on the backend

    app: Application
    server: TestServer
    client: TestClient
    _stack: AsyncExitStack
    _tasks: TaskGroup

    def __init__(self, methodName: str = "runTest") -> None:  # noqa: N803 - unittest's name
        super().__init__(methodName)
        method = getattr(self, methodName, None)
        if method is not None:  # unittest makes cases without a test, to ask them things

            @functools.wraps(method)
            def in_a_loop() -> None:
                anyio.run(self._in_loop, method, backend=self.backend, backend_options=dict(self.backend_options))

            del in_a_loop.__wrapped__  # runners must not take it for the coroutine function that it calls
            setattr(self, methodName, in_a_loop)

    async def _in_loop(self, method: Callable[[], Any]) -> None:  # Any: an awaitable or nothing
        # The server lives in a task of its own: what tests open and leave open behind their end may lie across.
        failure: BaseException | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                async with AsyncExitStack() as self._stack:
                    await self.asyncSetUp()
                    try:
                        outcome = method()
                        if isawaitable(outcome):
                            await outcome
                    finally:
                        await self.asyncTearDown()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as exc:  # noqa: BLE001 - raised below, where the group does not wrap it: pytest.xfail, too
                failure = exc
            self._tasks.cancel_scope.cancel()  # a server that set-up could not hand over
        if failure is not None:
            raise failure

    async def asyncSetUp(self) -> None:
        """Start the application.  When you override it, call it."""
        await self.setUpAsync()

    async def asyncTearDown(self) -> None:
        """Close everything.  When you override it, call it."""
        await self.tearDownAsync()

    async def setUpAsync(self) -> None:  # noqa: N802 - aiohttp's name
        """Do what `asyncSetUp` does."""
        self.app = await self.get_application()
        self.server = await self.get_server(self.app)
        self.client = await self.get_client(self.server)
        if not self.server.started:
            await self._tasks.start(self.server.run)

    async def tearDownAsync(self) -> None:  # noqa: N802 - aiohttp's name
        """Do what `asyncTearDown` does."""
        await self.client.close()

    async def get_application(self) -> Application:
        """Return the application to test.  Raises RuntimeError unless you define it."""
        return self.get_app()

    def get_app(self) -> Application:
        """Return the application to test: the older way to define it."""
        raise RuntimeError(f"{type(self).__name__} needs a get_application() that returns the application to test")

    async def get_server(self, app: Application) -> TestServer:
        """Return the server, not started yet."""
        return TestServer(app)

    async def get_client(self, server: TestServer) -> TestClient:
        """Return the client of the server."""
        return TestClient(server)

    def addAsyncCleanup(self, func: Callable[P, Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs) -> None:  # noqa: N802 - unittest's name
        """Call a coroutine function behind `asyncTearDown`, in the loop; the last one that was added comes first."""

        async def clean_up() -> None:
            await func(*args, **kwargs)

        self._stack.push_async_callback(clean_up)

    async def enterAsyncContext(self, context: AbstractAsyncContextManager[T]) -> T:  # noqa: N802 - unittest's name
        """Enter a context that is left behind `asyncTearDown`."""
        return await self._stack.enter_async_context(context)


AioHTTPTestCase = StructWebTestCase


def unittest_run_loop(func: Callable[P, T]) -> Callable[P, T]:
    """Return `func`: a decorator that has had nothing to do for years, and says so."""
    warnings.warn(
        "unittest_run_loop is not needed: StructWebTestCase runs coroutines", DeprecationWarning, stacklevel=2
    )
    return func
