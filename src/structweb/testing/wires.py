"""What httpx sends and receives through: connections of a test's server, with the faults of real peers.

httpx is an extra: only `structweb.testing.client` imports this module, and only when a client is made.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

import anyio
import httpcore
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from multidict import CIMultiDict, CIMultiDictProxy

from structweb.testing.bodies import ended
from structweb.testing.cookies import cookie_field, in_utf8
from structweb.testing.pipes import ClientEnd, PipeEnd
from structweb.testing.server import BaseTestServer
from structweb.testing.sockets import SocketStream, connect_socket


class Faults:
    """The connections of a client, and what it does to all of them at once."""

    def __init__(self) -> None:
        self.streams: set[Wire] = set()
        self._flowing: anyio.Event | None = None

    @property
    def stalled(self) -> bool:
        """Whether the client reads nothing."""
        return self._flowing is not None

    async def flow(self) -> None:
        """Wait while the client is stalled."""
        if self._flowing is not None:
            await self._flowing.wait()

    def disconnect(self, *, reset: bool) -> None:
        """Close every connection without a word, or break it."""
        for wire in list(self.streams):
            end = wire.plain
            if reset:
                end.reset()
            else:
                end.close()
        self.streams.clear()
        self.resume()

    async def half_close(self) -> None:
        """End the client's side of every connection."""
        for wire in list(self.streams):
            await wire.plain.send_eof()

    def stall(self) -> None:
        """Read nothing more from any connection."""
        if self._flowing is None:
            self._flowing = anyio.Event()
        for wire in self.streams:
            if isinstance(wire.plain, ClientEnd):
                wire.plain.stall()

    def resume(self) -> None:
        """Read again."""
        flowing, self._flowing = self._flowing, None
        if flowing is not None:
            flowing.set()
        for wire in self.streams:
            if isinstance(wire.plain, ClientEnd):
                wire.plain.resume()


class ExpectingBody:
    """A body that is sent when the server has answered the head with 100 Continue, and not if it answers otherwise."""

    def __init__(self, body: bytes | AsyncIterable[bytes]) -> None:
        self._body = body
        #: What the head was sent over.
        self.wire: Wire | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.wire is not None and not await self.wire.told_to_continue():
            # It reads the response then, as of a server that has closed its ear.
            raise httpcore.WriteError("the server does not want the body")
        if isinstance(self._body, bytes):
            yield self._body
            return
        async for piece in self._body:
            yield piece


#: Where the extensions of a request have it: httpx and httpcore hand them on.
EXPECTING: Final = "structweb_expecting"
#: That of the request which this task is sending.
_expecting: Final[ContextVar[ExpectingBody | None]] = ContextVar("structweb_expecting", default=None)


class Wire(httpcore.AsyncNetworkStream):
    """A connection of a client, as httpcore wants it."""

    def __init__(self, stream: ByteStream, faults: Faults) -> None:
        self._stream = stream
        self._faults = faults
        self._ahead = b""
        plain = getattr(stream, "transport_stream", stream)
        assert isinstance(plain, PipeEnd | SocketStream)  # noqa: S101 - what BaseTestServer.connect returns
        #: What it runs over, without TLS.
        self.plain = plain
        faults.streams.add(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes, b"" at the end.  Raises httpcore's errors."""
        try:
            with anyio.fail_after(timeout):
                await self._faults.flow()
                if self._ahead:
                    taken, self._ahead = self._ahead[:max_bytes], self._ahead[max_bytes:]
                    return taken
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as exc:
            raise httpcore.ReadTimeout(str(exc)) from exc
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            raise httpcore.ReadError(f"the connection broke: {exc!r}") from exc

    async def told_to_continue(self) -> bool:
        """Wait for the answer to Expect; tell whether it is 100 Continue.  It is still there for `read`."""
        seen = b""
        while b"\r\n" not in seen and (piece := await self.read(65536)):
            seen += piece
        self._ahead = seen
        return seen.startswith(b"HTTP/1.1 100 ")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send.  Raises httpcore's errors."""
        expecting = _expecting.get()
        if expecting is not None:
            expecting.wire = self
        try:
            with anyio.fail_after(timeout):
                await self._stream.send(buffer)
        except TimeoutError as exc:
            raise httpcore.WriteTimeout(str(exc)) from exc
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as exc:
            raise httpcore.WriteError(f"the connection broke: {exc!r}") from exc

    async def aclose(self) -> None:
        """Close."""
        self._faults.streams.discard(self)
        await anyio.aclose_forcefully(self._stream)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Speak TLS from here on."""
        try:
            with anyio.fail_after(timeout):
                stream = await TLSStream.wrap(
                    self._stream, hostname=server_hostname, ssl_context=ssl_context, standard_compatible=False
                )
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except (anyio.BrokenResourceError, anyio.EndOfStream, OSError) as exc:
            raise httpcore.ConnectError(f"no TLS: {exc!r}") from exc
        finally:
            self._faults.streams.discard(self)
        return Wire(stream, self._faults)

    def get_extra_info(self, info: str) -> Any:  # Any: httpcore's signature
        """Tell whether something has arrived, or the end, which an idle connection does not survive."""
        return self.plain.readable if info == "is_readable" else None


class Wiring(httpcore.AsyncNetworkBackend):
    """Connects to a test's server; to others only over the loopback that it is on itself."""

    def __init__(self, server: BaseTestServer, faults: Faults, buffer: int | None) -> None:
        self._server = server
        self._faults = faults
        self._buffer = buffer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,  # Any: httpcore's options of sockets
    ) -> httpcore.AsyncNetworkStream:
        """Connect.  Raises httpcore.ConnectError when nobody listens."""
        server = self._server
        try:
            if server.memory:
                if (host, port) != (server.host, server.port):
                    raise ConnectionRefusedError(
                        f"{host}:{port} is not {server!r}, and a client in memory knows no other"
                    )
                return Wire(await server.connect(buffer=self._buffer), self._faults)
            return Wire(await connect_socket(host, port, buffer=self._buffer), self._faults)
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await anyio.sleep(seconds)


@asynccontextmanager
async def _httpx_errors(request: httpx.Request) -> AsyncIterator[None]:
    """Raise httpcore's errors as those of httpx, which have the same names."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as exc:
        error: Callable[..., Exception] = getattr(httpx, type(exc).__name__)
        raise error(str(exc), request=request) from exc


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes], request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with _httpx_errors(self._request):
            async for piece in self._stream:
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()  # type: ignore[attr-defined]  # httpcore's responses have it, its annotation has not


class Transport(httpx.AsyncBaseTransport):
    """Sends httpx's requests to a test's server."""

    def __init__(
        self, server: BaseTestServer, faults: Faults, *, ssl_context: ssl.SSLContext | None, buffer: int | None
    ) -> None:
        # Nobody's certificates: loading those of the world takes 20 ms a client, and no server of a test has one of them.
        context = ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=None, network_backend=Wiring(server, faults, buffer)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its response, whose body is not read yet."""
        url = request.url
        _expecting.set(request.extensions.get(EXPECTING))
        assert isinstance(request.stream, AsyncIterable)  # noqa: S101 - a client that can be awaited has no others
        content = aiter(request.stream)
        async with _httpx_errors(request), ended(content):
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=content,
                    extensions=request.extensions,
                )
            )
        assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - a pool that can be awaited has no others
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response.stream, request),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


def handshake_request(session: httpx.AsyncClient, url: str, fields: CIMultiDict[str]) -> httpx.Request:
    """Return the request for a handshake, and add to `fields` what the session sends with every request."""
    cookies = cookie_field(session, url, {})
    request = session.build_request("GET", url, headers=in_utf8([("Cookie", cookies)]) if cookies else None)
    if session.auth is not None:
        request = next(session.auth.sync_auth_flow(request))
    for name, value in request.headers.items():
        # Those are the handshake's own, and a WebSocket has no codings of content.
        if name not in {"host", "connection", "accept", "accept-encoding"}:
            fields.setdefault(name, value)
    return request


def keep_cookies(session: httpx.AsyncClient, request: httpx.Request, headers: CIMultiDictProxy[str]) -> None:
    """Keep the cookies that the answer to a handshake has set."""
    session.cookies.extract_cookies(httpx.Response(101, headers=list(headers.items()), request=request))
