"""Servers of tests: an application or a handler, on a free port or in memory, for as long as a block lasts."""

import ipaddress
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

import anyio
from anyio.abc import ByteStream, TaskGroup, TaskStatus
from anyio.streams.tls import TLSStream
from yarl import URL

from structweb._web.app import Application
from structweb._web.handling import BareRequestHandler
from structweb._web.runner import AppRunner, BaseRunner, ServerRunner
from structweb._web.server import Server
from structweb._web.sites import SockSite
from structweb.testing.pipes import memory_pipe
from structweb.testing.ports import get_port_socket
from structweb.testing.sockets import connect_socket

#: Makes the socket that a server listens on, of host, port and family.
SocketFactory = Callable[[str, int, socket.AddressFamily], socket.socket]


class BaseTestServer(ABC):
    """A server for a test: `TestServer` for an application, `RawTestServer` for a handler.

    ``async with server:`` starts and closes it.  `start_server` and `close` are its two halves: call both from one
    task, as with a runner; ``await tg.start(server.run)`` gives it a task of its own, and anybody may close it then.

    It listens on `port` of `host` (None: a free one).  With ``memory=True`` it has no socket: clients of
    structweb.testing reach it through pipes, also in virtual time.  `runner_kwargs` go to the runner.
    """

    __test__: ClassVar[bool] = False  # no test of its own, pytest

    def __init__(
        self,
        *,
        scheme: str = "",
        host: str = "127.0.0.1",
        port: int | None = None,
        skip_url_asserts: bool = False,
        socket_factory: SocketFactory = get_port_socket,
        memory: bool = False,
        **runner_kwargs: Any,  # Any: as the runner takes them
    ) -> None:
        self.runner: BaseRunner | None = None
        self.host: str = host
        self.port: int | None = port
        self.scheme: str = scheme
        self.skip_url_asserts = skip_url_asserts
        self.socket_factory = socket_factory
        #: Whether it is reached through memory.
        self.memory = memory
        self._options = runner_kwargs
        self._root: URL | None = None
        self._closed = False
        self._pipes: TaskGroup | None = None
        # Of a server in a task of its own.
        self._stop: anyio.Event | None = None
        self._stopped = anyio.Event()

    @abstractmethod
    def _make_runner(self, **options: Any) -> BaseRunner:  # Any: as the runner takes them
        """Return the runner, not set up yet."""

    async def start_server(self, *, ssl: ssl.SSLContext | None = None, **kwargs: Any) -> None:  # Any: for the runner
        """Start; does nothing if it has been started.  `ssl` makes it a server of TLS; `kwargs` go to the runner.

        Raises what start-up raised, OSError when the port cannot be had, RuntimeError when it has been closed.  You owe
        it a `close`.
        """
        if self._closed:
            raise RuntimeError(f"{self!r} cannot be started again: make another one")
        if self.runner is not None:
            return
        if ssl is not None and self.memory:
            raise ValueError("a server in memory has no TLS: use a TestServer on a port (memory=False)")
        self.runner = runner = self._make_runner(**{"access_log": None, **self._options, **kwargs})
        pipes = anyio.create_task_group()
        await pipes.__aenter__()
        try:
            await runner.setup()
        except BaseException as exc:
            await _leave(pipes, exc)
            raise
        self._pipes = pipes
        try:
            await self._listen(runner, ssl)
        except BaseException:
            await self.close()
            raise
        self.scheme = self.scheme or ("http" if ssl is None else "https")
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.memory and self.port == 80 else f":{self.port}"
        self._root = URL(f"{self.scheme}://{host}{port}")

    async def _listen(self, runner: BaseRunner, context: ssl.SSLContext | None) -> None:
        if self.memory:
            self.port = self.port or 80
            return
        sock = self.socket_factory(self.host, self.port or 0, _family(self.host))
        try:
            address: tuple[str, int] = sock.getsockname()[:2]
            self.host, self.port = address
            await SockSite(runner, sock, ssl_context=context).start()
        except BaseException:
            sock.close()
            raise

    async def close(self) -> None:
        """Close, as a runner's clean-up does: requests under way may finish.  Does nothing the second time."""
        if self._stop is not None and not self._closed:
            self._stop.set()
            await self._stopped.wait()
            return
        await self._close()

    async def _close(self) -> None:
        if self.runner is None or self._closed:
            return
        self._closed = True
        self._root = None
        self.port = None
        pipes, self._pipes = self._pipes, None
        try:
            await self.runner.cleanup()
        except BaseException as exc:
            if pipes is not None:
                await _leave(pipes, exc)
            raise
        if pipes is not None:
            pipes.cancel_scope.cancel()
            await pipes.__aexit__(None, None, None)

    async def run(self, *, task_status: TaskStatus[Self] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `close` is called, or this is cancelled: ``await tg.start(server.run)``."""
        self._stop = anyio.Event()
        try:
            await self.start_server()
            try:
                task_status.started(self)
                await self._stop.wait()
            finally:
                await self._close()
        finally:
            self._stopped.set()

    async def connect(self, *, ssl: ssl.SSLContext | None = None, buffer: int | None = None) -> ByteStream:
        """Return a new connection to the server, as a client has it; close it.

        `ssl` is what a client of TLS trusts.  `buffer` bounds what the kernel keeps for each direction, in bytes.
        Raises OSError when the server does not listen.
        """
        if self._root is None or self.port is None or self.runner is None or self.runner.server is None:
            raise ConnectionRefusedError(f"{self!r} is not running")
        if self._pipes is not None and self.memory:
            near, far = memory_pipe(buffer or 65536)
            self._pipes.start_soon(self.runner.server, far, name="structweb connection in memory")
            return near
        stream = await connect_socket(self.host, self.port, buffer=buffer)
        if self._root.scheme != "https":
            return stream
        try:
            return await TLSStream.wrap(stream, hostname=self.host, ssl_context=ssl, standard_compatible=False)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise

    def make_url(self, path: str | URL) -> URL:
        """Return the URL of a path on this server.  Raises AssertionError for a URL with a host, or before the start."""
        assert self._root is not None, f"{self!r} is not running"  # noqa: S101 - aiohttp's error
        url = URL(path)
        if self.skip_url_asserts:
            return URL(str(self._root) + str(path))
        assert not url.absolute, f"expected a path, got {str(path)!r}"  # noqa: S101 - aiohttp's error
        return self._root.join(url)

    @property
    def started(self) -> bool:
        """Whether it has been started."""
        return self.runner is not None

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._closed

    @property
    def handler(self) -> Server:
        """The low-level server.  Raises AssertionError when it is not running."""
        assert self.runner is not None, f"{self!r} was not started"  # noqa: S101 - aiohttp's error
        assert self.runner.server is not None, f"{self!r} is closed"  # noqa: S101 - aiohttp's error
        return self.runner.server

    def __enter__(self) -> None:
        """Raise TypeError."""
        raise TypeError("use 'async with' instead of 'with'")

    def __exit__(self, *exc_info: object) -> None:
        """Never get here: `__enter__` raises."""
        raise AssertionError

    async def __aenter__(self) -> Self:
        await self.start_server()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self.started else "not started"
        return f"<{type(self).__name__} {self._root or state}>"


class TestServer(BaseTestServer):
    """Serves an application: ``async with TestServer(app) as server``."""

    def __init__(self, app: Application, **options: Any) -> None:  # Any: those of BaseTestServer
        super().__init__(**options)
        self.app = app

    def _make_runner(self, **options: Any) -> BaseRunner:  # Any: as the runner takes them
        return AppRunner(self.app, **options)


class RawTestServer(BaseTestServer):
    """Serves one handler, as `web.Server` does: no router, no middlewares, no signals."""

    def __init__(self, handler: BareRequestHandler, **options: Any) -> None:  # Any: those of BaseTestServer
        super().__init__(**options)
        self._handler = handler

    def _make_runner(self, **options: Any) -> BaseRunner:  # Any: as the server and its runner take them
        own = {name: options.pop(name) for name in ("shutdown_timeout", "drain_delay") if name in options}
        return ServerRunner(Server(self._handler, **options), **own)


def _family(host: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        version = 4
    return socket.AF_INET6 if version == 6 else socket.AF_INET


async def _leave(group: TaskGroup, exc: BaseException) -> None:
    """Leave an empty task group while `exc` passes, without its wrapping."""
    group.cancel_scope.cancel()
    try:
        await group.__aexit__(type(exc), exc, exc.__traceback__)
    except BaseExceptionGroup as wrapped:
        if exc not in wrapped.exceptions:
            raise
