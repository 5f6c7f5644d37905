"""Requests: what a client asks for."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Never, Self

from yarl import URL

from structweb._web.content import EMPTY_PAYLOAD, StreamReader
from structweb._web.decoding import DecodedBody, body_coding
from structweb._web.errors import HTTPRequestEntityTooLarge
from structweb._web.forms import RequestForms
from structweb._web.headers import LooseHeaders, block_of
from structweb._web.keys import ChainMapProxy, RequestKey
from structweb._web.lifetime import RequestLifetime
from structweb._web.peer import PeerTransport
from structweb._web.state import State
from structweb._web.target import RequestTarget
from structweb._wire.events import Head, HttpVersion

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.app import Application
    from structweb._web.matching import UrlMappingMatchInfo
    from structweb._web.streaming import StreamResponse

JSONDecoder = Callable[[str], Any]  # Any: JSON has values of many types

_HINTS = {
    "task": "request.cancel_scope cancels what handles the request",
    "loop": "there is no loop; time comes from anyio.current_time()",
    "protocol": "request.get_extra_info() and request.transport know the connection",
    "writer": "write through a response",
    "GET": "request.query has the variables of the query string",
    "POST": "await request.post() returns the fields of the form",
    "has_body": "body_exists tells whether there is one, can_read_body whether some of it is left",
    "message": "its parts are attributes of the request: method, version, raw_path, raw_headers",
}


class BaseRequest(State, RequestForms, RequestTarget, RequestLifetime):
    """A request: its head, its body, and a mapping for what middlewares and handlers find out about it.

    Made by the server.  Everything that takes work is worked out when it is asked for.
    """

    _key_class = RequestKey
    _warned_keys: ClassVar[set[object]] = set()

    _content: StreamReader | None = None
    _over = False
    # Whether a compressed body is decompressed while it is read.
    _auto_decompress = True
    # Whether `_prepare_hook` may have something to do.
    _has_prepare_hook = False

    def __init__(self, exchange: "Exchange", *, client_max_size: int = 1024**2, client_max_fields: int = 1000) -> None:
        self._exchange = exchange
        self._head: Head = exchange.head
        self._client_max_size = client_max_size
        self._client_max_fields = client_max_fields

    def __repr__(self) -> str:
        path = self.path.encode("ascii", "backslashreplace").decode("ascii")
        return f"<{type(self).__name__} {self.method} {path} >"

    if not TYPE_CHECKING:  # type checkers shall not take every name for an attribute

        def __getattr__(self, name: str) -> Never:
            hint = f": {_HINTS[name]}" if name in _HINTS else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    # -- the connection --------------------------------------------------------------------------------------------

    @property
    def version(self) -> HttpVersion:
        """The HTTP version of the request."""
        return self._head.version

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live on after the response."""
        return self._head.keep_alive

    @property
    def pre_handler_error(self) -> Exception | None:
        """What was wrong with the bytes of a malformed request; None for every other one."""
        return self._exchange.refusal

    @property
    def transport(self) -> PeerTransport:
        """What asyncio code asks a transport for: extra info, and closing the connection.  It does not write."""
        return PeerTransport(self._exchange)

    @property
    def client_max_size(self) -> int:
        """The largest body in bytes that `read` returns; 0 for no limit."""
        return self._client_max_size

    @property
    def client_max_fields(self) -> int:
        """The most form fields that `post` returns; 0 for no limit."""
        return self._client_max_fields

    async def send_continue(self) -> None:
        """Tell a client that waits for it to send the body (100 Continue).  For handlers of Expect."""
        await self._exchange.send_continue()

    # -- the body --------------------------------------------------------------------------------------------------

    @property
    def content(self) -> StreamReader:
        """The body as a stream.  Without a body it is `EMPTY_PAYLOAD`, which is at its end."""
        content = self._content
        if content is None:
            content = self._content = self._open_content()
            if self._over:
                content.close(cut=not self._exchange.finished)
        return content

    def _open_content(self) -> StreamReader:
        exchange = self._exchange
        if not exchange.has_body:
            return EMPTY_PAYLOAD
        if self._auto_decompress:
            coding = body_coding(exchange.head.block)
            if coding is not None:
                return StreamReader(exchange, DecodedBody(exchange.body, coding))
        return StreamReader(exchange)

    @property
    def body_exists(self) -> bool:
        """Whether the request has a body of more than zero bytes, as its head says."""
        return self._exchange.has_body

    @property
    def can_read_body(self) -> bool:
        """Whether some of the body has not been read yet."""
        return not self.content.at_eof()

    async def release(self) -> None:
        """Read what is left of the body, and forget it."""
        await self.content.drop()

    async def read(self) -> bytes:
        """Return the whole body; again and again, for it is kept.

        Raises `HTTPRequestEntityTooLarge` for more than `client_max_size` bytes, before more than that was read.
        """
        if self._read_bytes is None:
            limit, length = self._client_max_size, self._exchange.head.block.content_length
            if length is not None and 0 < limit < length:
                raise HTTPRequestEntityTooLarge(limit, length)
            content = self.content
            body = await content.read_all(limit)
            if body is None:
                raise HTTPRequestEntityTooLarge(limit, content.total_bytes)
            self._read_bytes = body
        return self._read_bytes

    async def text(self) -> str:
        """Return the body decoded by the charset that Content-Type names, else UTF-8.

        Raises LookupError for a charset that is not known, UnicodeDecodeError for bytes that are not text in it,
        and what `read` raises.
        """
        body = await self.read()
        return body.decode(self.charset or "utf-8")

    async def json(self, *, loads: JSONDecoder = json.loads) -> Any:  # Any: JSON has values of many types
        """Return what `loads` makes of the body's text.  Raises what it raises (ValueError), and what `text` raises."""
        return loads(await self.text())

    # -- copies ----------------------------------------------------------------------------------------------------

    def clone(
        self,
        *,
        method: str | None = None,
        rel_url: str | URL | None = None,
        headers: LooseHeaders | None = None,
        scheme: str | None = None,
        host: str | None = None,
        remote: str | None = None,
        client_max_size: int | None = None,
        client_max_fields: int | None = None,
    ) -> Self:
        """Return a copy with some things replaced: for what a proxy tells, or another path.

        Both share the body; the mapping is copied.  Raises RuntimeError once the body was read.
        """
        if self._read_bytes:
            raise RuntimeError("a request cannot be cloned after its body was read")
        copy = type(self)(
            self._exchange,
            client_max_size=self._client_max_size if client_max_size is None else client_max_size,
            client_max_fields=self._client_max_fields if client_max_fields is None else client_max_fields,
        )
        head = self._head
        replaced = Head(
            head.method if method is None else method,
            head.target if rel_url is None else str(rel_url),
            head.version,
            head.block if headers is None else block_of(headers, head.version),
        )
        replaced.keep_alive = head.keep_alive
        own_host = self._own_host if host is None else host
        vars(copy).update(
            _head=replaced,
            _content=self.content,
            **self._form_state(),
            _state=None if self._state is None else self._state.copy(),
            _scheme=self._scheme if scheme is None else scheme,
            _host=own_host,
            _own_host=own_host,
            _remote=self._remote if remote is None else remote,
            _deadline=self._deadline,
        )
        return copy

    # -- for whoever handles the request ---------------------------------------------------------------------------

    async def _prepare_hook(self, response: "StreamResponse") -> None:
        """Run what wants to see a response before its head is sent."""

    def _finish(self) -> None:
        """Let go of the connection, which takes the next request."""
        self._over = True
        if self._content is not None:
            self._content.close(cut=not self._exchange.finished)
        if self._uploads is not None:
            self._uploads.close()


class Request(BaseRequest):
    """A request to an application: also knows the route that it took."""

    _match_info: "UrlMappingMatchInfo | None" = None
    _app: "Application | None" = None
    # False once the handler of requests knows that no application on the way has a receiver.
    _has_prepare_hook = True
    # What sees the response last before its head is sent.
    _finishing: "Callable[[StreamResponse], None] | None" = None
    _original: "Request | None" = None

    def __init__(
        self,
        exchange: "Exchange",
        *,
        app: "Application | None" = None,
        client_max_size: int = 1024**2,
        client_max_fields: int = 1000,
    ) -> None:
        # Not super().__init__: a fifth of the cost of a request object.
        self._exchange = exchange
        self._head = exchange.head
        self._client_max_size = client_max_size
        self._client_max_fields = client_max_fields
        if app is not None:
            self._app = app

    @property
    def match_info(self) -> "UrlMappingMatchInfo":
        """The variable parts of the path, and the route.  Raises RuntimeError before the request was routed."""
        match_info = self._match_info
        if match_info is None:
            raise RuntimeError(f"{self!r} was not routed yet")
        return match_info

    @property
    def app(self) -> "Application":
        """The application (of nested ones: the one whose middleware or handler runs).  RuntimeError before it was routed."""
        match_info = self._match_info
        if match_info is not None:
            return match_info.current_app
        if self._app is None:
            raise RuntimeError(f"{self!r} was not routed yet")
        return self._app

    @property
    def config_dict(self) -> ChainMapProxy:
        """The states of `app` and of the applications around it as one, read-only; the innermost counts first."""
        apps = self.match_info.apps
        return ChainMapProxy(reversed(apps[: apps.index(self.app) + 1]))

    def clone(
        self,
        *,
        method: str | None = None,
        rel_url: str | URL | None = None,
        headers: LooseHeaders | None = None,
        scheme: str | None = None,
        host: str | None = None,
        remote: str | None = None,
        client_max_size: int | None = None,
        client_max_fields: int | None = None,
    ) -> Self:
        """Return a copy with some things replaced, on the same route; see `BaseRequest.clone`."""
        copy = super().clone(
            method=method,
            rel_url=rel_url,
            headers=headers,
            scheme=scheme,
            host=host,
            remote=remote,
            client_max_size=client_max_size,
            client_max_fields=client_max_fields,
        )
        vars(copy).update(_match_info=self._match_info, _app=self._app, _finishing=self._finishing, _original=self)
        return copy

    def _finish_with(self, touch: "Callable[[StreamResponse], None]") -> None:
        """Have `touch` see the response before its head is sent, behind on_response_prepare; the last call counts.

        Whatever it is: a handler's own, an error's, one that is prepared with the request this is a copy of.
        """
        request: Request | None = self
        while request is not None:
            request._finishing = touch
            request._has_prepare_hook = True
            request = request._original

    async def _prepare_hook(self, response: "StreamResponse") -> None:
        if self._match_info is not None:
            for app in self._match_info.apps:
                await app.on_response_prepare.send(self, response)
        if self._finishing is not None:
            self._finishing(response)
