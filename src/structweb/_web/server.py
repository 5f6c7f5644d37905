"""The low-level server: one handler for every request, without an application."""

from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, Unpack

from anyio.abc import ByteStream

from structweb._server.config import ServerConfig
from structweb._server.connection import Connection
from structweb._server.exchange import Exchange, ExchangeHandler
from structweb._server.lifecycle import Engine
from structweb._server.log import server_logger
from structweb._server.report import ShutdownReport
from structweb._web.app import Application
from structweb._web.handling import BareHandler, BareRequestHandler, WebHandler
from structweb._web.request import BaseRequest
from structweb._web.settings import ServerOptions, Settings, settings_from

#: Makes the requests of a low-level server.
RequestFactory = Callable[[Exchange], BaseRequest]

_NO_FACTORY: Final = (
    "web.Server is no protocol factory for loop.create_server(): give it sites with web.ServerRunner(server), "
    "or streams with await listener.serve(server)"
)


class Server:
    """Answers every request, whatever its method and path, with what `handler` returns for its `BaseRequest`.

    There is no router, no middleware and no signal.  Errors of the handler are answered as in an application.
    `request_factory` makes the requests, from exchanges; `options` are `ServerOptions`.

    A `ServerRunner` gives it sites.  It is also a handler of streams: ``await listener.serve(server)`` serves what an
    anyio listener accepts.
    """

    def __init__(
        self,
        handler: BareRequestHandler,
        *,
        request_factory: RequestFactory | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if not callable(handler):
            raise TypeError(f"Server() needs a callable that takes a request, got {handler!r}")
        settings = settings_from(options, "Server()")
        self._attach(BareHandler(handler, request_factory or BaseRequest, settings), settings)

    def _attach(self, exchange_handler: ExchangeHandler, settings: Settings) -> None:
        self._exchange_handler = exchange_handler
        self._config: ServerConfig = settings.connections
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """What holds the connections; RuntimeError while the server is not open (in a runner)."""
        if self._engine is None:
            raise RuntimeError("the server is not open: a runner that is set up opens it")
        return self._engine

    @property
    def connections(self) -> list[Connection]:
        """The live connections."""
        return [] if self._engine is None else list(self._engine.connections)

    @property
    def requests_count(self) -> int:
        """The requests taken since the server was opened."""
        return 0 if self._engine is None else self._engine.requests_count

    @property
    def handler_cancellation(self) -> bool:
        """Whether a client's leaving cancels its handler."""
        return self._config.disconnect == "cancel"

    def pre_shutdown(self) -> None:
        """Let every connection end: an idle one at once, a busy one after the response under way.

        A runner's clean-up does that, and more.  For servers that are not in a runner's hands: stop listening first.
        """
        for connection in self.connections:
            connection.reusable = False
            if connection.exchange is not None:
                connection.exchange.keep_alive = False
            connection.shut()

    async def shutdown(
        self, timeout: float | None = None, *, on_shutdown: Callable[[], Awaitable[object]] | None = None
    ) -> ShutdownReport:
        """Let running requests finish for `timeout` seconds (None: 60), end the rest, and tell what was done.

        A runner's clean-up does it.  Takes no longer, whatever clients do.  An error of `on_shutdown`, which runs once
        no new connection is accepted, is raised at the end.
        """
        return await self.engine.shutdown(60.0 if timeout is None else timeout, on_shutdown=on_shutdown)

    def hurry(self) -> None:
        """End every connection at once, also while a shutdown waits.  Does nothing while the server is not open."""
        if self._engine is not None:
            self._engine.hurry()

    # Any: a coroutine's two other types are between it and its loop.
    def __call__(self, stream: ByteStream | None = None) -> Coroutine[Any, Any, None]:
        """Serve one connected byte stream to its end, and close it; cancelled, it breaks the connection off.

        In a runner the connection takes part in its shutdown; else it stands for itself.  To be awaited.
        Raises TypeError without a stream, as asyncio calls protocol factories, and logs it.
        """
        if stream is None:
            # asyncio drops what a factory raises, except in its debug mode: clients would see closed connections, and
            # nobody would see why.
            server_logger.error(_NO_FACTORY)
            raise TypeError(_NO_FACTORY)
        return self._serve(stream)

    async def _serve(self, stream: ByteStream) -> None:
        if self._engine is not None:
            await self._engine.serve_stream(stream)
        else:
            async with Engine(self._exchange_handler, self._config) as engine:
                await engine.serve_stream(stream)

    async def __aenter__(self) -> Self:
        if self._engine is not None:
            raise RuntimeError("the server is open already: it can be in one runner at a time")
        engine = Engine(self._exchange_handler, self._config)
        await engine.__aenter__()
        self._engine = engine
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        engine, self._engine = self.engine, None
        return await engine.__aexit__(exc_type, exc, traceback)


class AppServer(Server):
    """The server of an application, made by its runner: requests go through its router and middlewares."""

    def __init__(self, app: Application, settings: Settings) -> None:
        self._attach(WebHandler(app, settings), settings)
