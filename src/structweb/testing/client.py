"""The client of tests: `TestClient`, with the calls of aiohttp's, over httpx and our WebSocket client."""

import ssl
from collections.abc import Coroutine, Generator, Mapping, Sequence
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

import anyio
from multidict import CIMultiDict
from yarl import URL

from structweb._web.app import Application
from structweb.testing.answer import ClientResponse
from structweb.testing.bodies import ended, pieces_of, request_body
from structweb.testing.cookies import cookie_field, in_utf8, quoted
from structweb.testing.server import BaseTestServer
from structweb.testing.websocket import ClientWebSocket
from structweb.testing.websocket_opening import WebSocketHandshakeError, open_websocket

if TYPE_CHECKING:
    import httpx

    from structweb.testing.wires import Faults

#: Seconds that a response may take to begin, as in aiohttp.
TIMEOUT: Final = 300.0


class _Closing(Protocol):
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> object: ...


T = TypeVar("T", bound=_Closing)


class Call(Coroutine[Any, Any, T], Generic[T]):  # Any: what a backend's traps yield and take is its own affair
    """A call that is not made yet: ``await`` it, or enter it with ``async with``, which releases what it gives."""

    def __init__(self, call: Coroutine[Any, Any, T]) -> None:
        self._call = call
        self._given: T | None = None

    def __await__(self) -> Generator[Any, Any, T]:  # Any: what a backend's traps yield and take is its own affair
        """Make the call."""
        return self._call.__await__()

    def send(self, value: Any, /) -> Any:  # Any: what a backend's traps yield and take is its own affair
        """Go on, as coroutines do."""
        return self._call.send(value)

    def throw(self, *exc_info: Any) -> Any:  # Any: as above
        """Raise an error where the call waits, as coroutines do."""
        return self._call.throw(*exc_info)

    def close(self) -> None:
        """End the call, as coroutines do."""
        self._call.close()

    async def __aenter__(self) -> T:
        self._given = given = await self._call
        return given

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._given is not None:
            await self._given.__aexit__(exc_type, exc, traceback)


class TestClient:
    """Sends requests to a server of structweb.testing, which it starts and closes: ``async with TestClient(server)``.

    ``await client.get("/")`` returns a `ClientResponse`, and so does ``async with client.get("/") as response``, which
    releases it; `post`, `put`, `patch`, `delete`, `head`, `options` and `request` take the same arguments, those of
    `request`.  Cookies are kept, also those of IP addresses.

    `cookie_jar` is a `http.cookiejar.CookieJar`, `ssl` what a client of TLS trusts, `buffer` bounds what the kernel keeps
    for each direction of a connection; `headers`, `cookies` and `auth` go with every request.  Raises TypeError for what
    is no server, ImportError where httpx is not installed.
    """

    __test__: ClassVar[bool] = False  # no test of its own, pytest

    def __init__(
        self,
        server: BaseTestServer,
        *,
        cookie_jar: Any = None,  # Any: what httpx takes for cookies
        headers: Any = None,  # Any: what a CIMultiDict takes
        cookies: Mapping[str, str] | None = None,
        auth: Any = None,  # Any: a pair, or what httpx takes
        timeout: float | None = TIMEOUT,
        ssl: ssl.SSLContext | None = None,
        buffer: int | None = None,
    ) -> None:
        if not isinstance(server, BaseTestServer):
            raise TypeError(f"TestClient() needs a TestServer or RawTestServer, got {server!r}")
        self._server = server
        self._ssl = ssl
        self._buffer = buffer
        self._timeout = timeout
        self._closed = False
        self._responses: list[ClientResponse] = []
        self._websockets: list[ClientWebSocket] = []
        self._session, self._faults = _open_session(server, ssl, buffer)
        self._session.headers.update(in_utf8(CIMultiDict(headers or ()).items()))
        self._session.cookies = cookie_jar
        for name, value in (cookies or {}).items():
            self._session.cookies.set(name, quoted(value))
        self._session.auth = auth

    # -- the server --------------------------------------------------------------------------------------------------

    @property
    def server(self) -> BaseTestServer:
        """The server."""
        return self._server

    @property
    def app(self) -> Application | None:
        """The application; None if the server has none."""
        return getattr(self._server, "app", None)

    @property
    def host(self) -> str:
        """The host of the server."""
        return self._server.host

    @property
    def port(self) -> int | None:
        """The port of the server; None when it does not run."""
        return self._server.port

    @property
    def session(self) -> "httpx.AsyncClient":
        """The client of httpx that it stands on, which wants whole URLs."""
        return self._session

    def make_url(self, path: str | URL) -> URL:
        """Return the URL of a path on the server."""
        return self._server.make_url(path)

    async def start_server(self) -> None:
        """Start the server, if it has not been started."""
        await self._server.start_server()

    # -- requests ----------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those below
        """Ask the server for `path`.

        The arguments are `params` (for the query), `data` (text, bytes, a file, an async iterable, a payload, or a
        mapping or pairs for a form, which is a multipart one if it has files), `json`, `headers`, `cookies`,
        `allow_redirects` (True), `auth` (a pair), `timeout` (seconds until the response begins; None for no limit),
        `chunked`, `compress` ("gzip" or "deflate", or True for the latter), `expect100` (the body waits for 100
        Continue, which a handler without an application sends itself, and is not sent if another answer comes) and
        `raise_for_status`.

        Raises TimeoutError, and httpx's errors where the server cannot be reached or breaks the connection.
        """
        return Call(self._request(method, path, **kwargs))

    def get(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """GET, with the arguments of `request`."""
        return self.request("GET", path, **kwargs)

    def post(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """POST, with the arguments of `request`."""
        return self.request("POST", path, **kwargs)

    def put(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """PUT, with the arguments of `request`."""
        return self.request("PUT", path, **kwargs)

    def patch(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """PATCH, with the arguments of `request`."""
        return self.request("PATCH", path, **kwargs)

    def delete(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """DELETE, with the arguments of `request`."""
        return self.request("DELETE", path, **kwargs)

    def head(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """HEAD, with the arguments of `request`."""
        return self.request("HEAD", path, **kwargs)

    def options(self, path: str | URL, **kwargs: Any) -> Call[ClientResponse]:  # Any: those of request
        """OPTIONS, with the arguments of `request`."""
        return self.request("OPTIONS", path, **kwargs)

    async def _request(
        self,
        method: str,
        path: str | URL,
        *,
        params: Any = None,  # Any: what a yarl query takes
        data: Any = None,  # Any: what has a payload
        json: Any = None,  # Any: JSON has values of many types
        headers: Any = None,  # Any: what a CIMultiDict takes
        cookies: Mapping[str, str] | None = None,
        allow_redirects: bool = True,
        auth: Any = None,  # Any: a pair, or what httpx takes
        timeout: float | EllipsisType | None = ...,
        chunked: bool | None = None,
        compress: str | bool | None = None,
        expect100: bool = False,
        raise_for_status: bool = False,
    ) -> ClientResponse:
        if data is not None and json is not None:
            raise ValueError("data and json cannot be given both")
        url = self.make_url(path)
        if params:
            url = url.extend_query(params)
        fields = CIMultiDict(headers or ())
        if expect100:
            fields["Expect"] = "100-continue"
        body = pieces = await request_body(data, json, fields, compress=compress)
        extensions: dict[str, object] = {}
        if expect100 and body is not None:
            from structweb.testing.wires import EXPECTING, ExpectingBody

            if isinstance(body, bytes) and not chunked:
                fields["Content-Length"] = str(len(body))
            body = extensions[EXPECTING] = ExpectingBody(body)
        elif chunked and isinstance(body, bytes):
            body = pieces = pieces_of(body)
        session = self._session
        if "Cookie" not in fields and (kept := cookie_field(session, str(url), cookies or {})):
            fields["Cookie"] = kept
        request = session.build_request(
            method.upper(),
            str(url),
            headers=in_utf8(fields.items()),
            content=body,
            extensions=extensions,
        )
        more = {} if auth is None else {"auth": auth}
        async with ended(pieces):
            with anyio.fail_after(self._timeout if isinstance(timeout, EllipsisType) else timeout):
                answered = await session.send(request, stream=True, follow_redirects=allow_redirects, **more)
        response = ClientResponse(answered)
        self._responses.append(response)
        if raise_for_status and not response.ok:
            await response.release()
            response.raise_for_status()
        return response

    # -- WebSockets --------------------------------------------------------------------------------------------------

    def ws_connect(self, path: str | URL, **kwargs: Any) -> Call[ClientWebSocket]:  # Any: those below
        """Open a WebSocket at `path`; ``async with`` closes it.

        The arguments are `params`, `headers`, `origin`, and those of `open_websocket`: `protocols`, `compress`,
        `autoping`, `max_msg_size`, `close_timeout`.  What goes with every request does so here.  Raises
        WebSocketHandshakeError when the server answers anything else.
        """
        return Call(self._ws_connect(path, **kwargs))

    async def _ws_connect(
        self,
        path: str | URL,
        *,
        params: Any = None,  # Any: what a yarl query takes
        headers: Any = None,  # Any: what a CIMultiDict takes
        origin: str | None = None,
        protocols: Sequence[str] = (),
        **options: Any,  # Any: those of open_websocket
    ) -> ClientWebSocket:
        from structweb.testing.wires import handshake_request, keep_cookies

        url = self.make_url(path)
        if params:
            url = url.extend_query(params)
        fields = CIMultiDict(headers or ())
        if origin is not None:
            fields["Origin"] = origin
        request = handshake_request(self._session, str(url), fields)
        stream = await self._server.connect(ssl=self._ssl, buffer=self._buffer)
        try:
            websocket = await open_websocket(
                stream,
                url.raw_path_qs,
                host=request.headers["host"],
                protocols=protocols,
                headers=list(fields.items()),
                **options,
            )
        except WebSocketHandshakeError as exc:
            keep_cookies(self._session, request, exc.headers)
            raise
        keep_cookies(self._session, request, websocket.headers)
        self._websockets.append(websocket)
        return websocket

    # -- being a bad peer --------------------------------------------------------------------------------------------

    def disconnect(self, *, reset: bool = False) -> None:
        """Leave without a word: close every connection at once, or break it, with `reset`.  WebSockets, too.

        Who waits for a response gets httpx.ReadError.  The next request opens a new connection.
        """
        self._faults.disconnect(reset=reset)
        for websocket in self._websockets:
            if not websocket.closed:
                (websocket.reset if reset else websocket.vanish)()

    async def half_close(self) -> None:
        """End our side of every connection and go on reading, as a FIN does.  WebSockets, too."""
        await self._faults.half_close()
        for websocket in self._websockets:
            if not websocket.closed:
                await websocket.half_close()

    def stall(self) -> None:
        """Read nothing more, so that the server's writes wait once what is between is full, until `resume`.

        In memory they wait from the first byte; over loopback the kernel takes megabytes, unless the client has a
        `buffer`.  WebSockets, too.
        """
        self._faults.stall()
        for websocket in self._websockets:
            websocket.stall()

    def resume(self) -> None:
        """Read again after `stall`."""
        self._faults.resume()
        for websocket in self._websockets:
            websocket.resume()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close all responses and WebSockets, then the server.  Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        self.resume()
        try:
            for response in self._responses:
                await response.release()
            for websocket in self._websockets:
                await websocket.close()
                await anyio.aclose_forcefully(websocket.stream)
            await self._session.aclose()
        finally:
            await self._server.close()

    def __enter__(self) -> None:
        """Raise TypeError."""
        raise TypeError("use 'async with' instead of 'with'")

    def __exit__(self, *exc_info: object) -> None:
        """Never get here."""

    async def __aenter__(self) -> Self:
        await self.start_server()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _open_session(
    server: BaseTestServer, context: ssl.SSLContext | None, buffer: int | None
) -> "tuple[httpx.AsyncClient, Faults]":
    try:
        import httpx
    except ImportError as exc:
        raise ImportError("TestClient needs httpx: pip install 'structweb[testing]'") from exc
    from structweb.testing.wires import Faults, Transport

    faults = Faults()
    transport = Transport(server, faults, ssl_context=context, buffer=buffer)
    session = httpx.AsyncClient(transport=transport, trust_env=False, timeout=None, follow_redirects=True)  # noqa: S113 - anyio's deadlines
    return session, faults
