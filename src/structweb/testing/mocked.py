"""Requests without a server, for unit tests of handlers and middlewares."""

import ssl
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import anyio
import anyio.abc
from multidict import CIMultiDict
from yarl import URL

from structweb._server.config import ServerConfig
from structweb._server.connection import Connection, Owner
from structweb._server.crew import Crew
from structweb._server.exchange import Exchange
from structweb._server.notice import ShutdownNotice
from structweb._server.shields import Shields
from structweb._server.transport.base import Transport
from structweb._web.app import Application
from structweb._web.content import EMPTY_PAYLOAD, StreamReader
from structweb._web.headers import LooseHeaders, block_of
from structweb._web.matching import UrlMappingMatchInfo
from structweb._web.request import Request
from structweb._web.resources import PlainResource
from structweb._web.response import Response
from structweb._wire.events import Head, HttpVersion, HttpVersion11
from structweb._wire.limits import Phase


class SentBytes(Transport):
    """The transport of a request that came from nowhere: it keeps what is written, and nothing arrives."""

    __slots__ = ("sent",)

    congested = False

    def __init__(self, known: Mapping[str, Any]) -> None:  # Any: each name has its own type
        self.known = known
        #: Everything that was written.
        self.sent: bytearray = bytearray()

    @property
    def lost(self) -> bool:
        """Whether the peer is gone: never."""
        return False

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side: never."""
        return False

    async def receive(self) -> bytes:
        """Return the end."""
        await anyio.lowlevel.checkpoint()
        return b""

    def interrupt(self) -> None:
        """Do nothing: nobody waits."""

    def write(self, data: bytes) -> None:
        """Keep `data`."""
        self.sent += data

    async def drain(self) -> None:
        """Do nothing: everything has been taken."""
        await anyio.lowlevel.checkpoint()

    def unsent(self) -> int:
        """Return 0."""
        return 0

    def watch(self, gone: Callable[[], None]) -> None:
        """Do nothing: nobody leaves."""

    def unwatch(self) -> None:
        """Do nothing."""

    async def send_eof(self) -> None:
        """Do nothing."""
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Do nothing."""
        await anyio.lowlevel.checkpoint()

    def abort(self, *, truncated: bool = False) -> None:
        """Do nothing."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type, as in asyncio
        """Return what the request was given."""
        return self.known.get(name, default)


def make_mocked_request(
    method: str,
    path: str,
    headers: LooseHeaders | None = None,
    *,
    match_info: Mapping[str, str] | None = None,
    version: HttpVersion = HttpVersion11,
    closing: bool = False,
    app: Application | None = None,
    transport: Any = None,  # Any: whatever has a get_extra_info
    payload: StreamReader | bytes = EMPTY_PAYLOAD,
    sslcontext: ssl.SSLContext | None = None,
    client_max_size: int = 1024**2,
    client_max_fields: int = 1000,
) -> Request:
    """Return a request that no client has sent, for unit tests; no event loop is needed.

    `path` may be encoded, or as people write it.  `match_info` and `app` are those given, else empty ones.  `payload` is
    its body, as bytes or as a stream.  `transport` answers `request.get_extra_info`, with `sslcontext` the scheme is
    https.  A response may be prepared and written for it: what is sent goes nowhere.
    """
    fields = CIMultiDict(headers or ())
    body = payload if isinstance(payload, bytes) else b""
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    head = Head(method.upper(), path, version, block_of(fields, version))
    head.keep_alive = version >= HttpVersion11 and not closing
    known = {"sockname": ("127.0.0.1", 80), "sslcontext": sslcontext}
    owner = SimpleNamespace(
        config=ServerConfig(), closing=False, notice=ShutdownNotice(), shields=Shields(), connections=set(), tasks=None
    )
    # The real things, but for the server and the group that tasks would run in: nobody can spawn here.
    group = cast("anyio.abc.TaskGroup", None)  # see above
    connection = Connection(cast("Owner", owner), _scope(), Crew(group, lambda: None))  # see above
    connection.transport = SentBytes(known) if transport is None else _Asked(transport)
    connection.wire.feed(b"POST / HTTP/1.1\r\nHost: mocked\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    connection.wire.next_head()
    connection.exchange = exchange = Exchange(connection, head)
    connection.phase = Phase.HANDLER
    request = Request(exchange, client_max_size=client_max_size, client_max_fields=client_max_fields)
    if path.startswith("/") and not path.startswith("//"):  # where URL() would see a host
        request._rel_url = URL(path)  # noqa: SLF001 - worked out of what clients send, it would not be encoded
    if isinstance(payload, StreamReader):
        request._content = payload  # noqa: SLF001 - the stream that a server would have opened
    route = PlainResource("").add_route("*", _answer)
    matched = UrlMappingMatchInfo(match_info or {}, route)
    if app is None:
        app = Application()
        app.on_response_prepare.freeze()
    matched.add_app(app)
    request._match_info = matched  # noqa: SLF001 - what a router would have found
    return request


def _scope() -> anyio.CancelScope:
    try:
        return anyio.CancelScope()
    except anyio.NoEventLoopError:
        return cast("anyio.CancelScope", None)  # where there is no loop, nothing can be cancelled


class _Asked(SentBytes):
    """A transport whose extra info is somebody else's."""

    __slots__ = ("_other",)

    def __init__(self, other: Any) -> None:  # Any: whatever has a get_extra_info
        super().__init__({})
        self._other = other

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type, as in asyncio
        """Ask the other one."""
        found = self._other.get_extra_info(name)
        return default if found is None else found


async def _answer(request: Request) -> Response:
    return Response(text=f"{request!r} came from nowhere")


def make_mocked_coro(
    return_value: object = None, raise_exception: BaseException | type[BaseException] | None = None
) -> mock.Mock:
    """Return a mock whose calls are coroutines, which return `return_value` or raise `raise_exception`."""

    async def mock_coro(*args: object, **kwargs: object) -> object:
        if raise_exception is not None:
            raise raise_exception
        return return_value

    return mock.Mock(wraps=mock_coro)
