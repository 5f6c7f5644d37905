"""How a client opens a WebSocket: over TCP, TLS, or any byte stream."""

import ssl
from collections.abc import Iterable, Sequence
from typing import Final, TypedDict, Unpack

import anyio
import h11
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from structweb._wire.websocket import WebSocketWire
from structweb._wire.websocket_handshake import HandshakeError, check_response, request_handshake
from structweb._wire.websocket_limits import WebSocketLimits
from structweb.testing.cookies import in_utf8
from structweb.testing.sockets import connect_socket
from structweb.testing.websocket import ClientWebSocket

#: Seconds that a peer has for its part of a handshake.
PATIENCE: Final = 10.0


class WebSocketOptions(TypedDict, total=False):
    """The keyword arguments that `connect_websocket` hands on to `open_websocket`."""

    host: str
    protocols: Sequence[str]
    compress: bool
    headers: Iterable[tuple[str, str]]
    autoping: bool
    max_msg_size: int
    close_timeout: float
    express: bool


class WebSocketHandshakeError(Exception):
    """The server did not open a WebSocket: `status`, `headers` and `body` are what it answered."""

    def __init__(self, message: str, status: int, headers: CIMultiDictProxy[str], body: bytes) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = body


async def open_websocket(
    stream: ByteStream,
    target: str = "/",
    *,
    host: str = "localhost",
    protocols: Sequence[str] = (),
    compress: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    autoping: bool = True,
    max_msg_size: int = 4 * 1024 * 1024,
    close_timeout: float = PATIENCE,
    express: bool = False,
) -> ClientWebSocket:
    """Open a WebSocket over a connected stream, which then belongs to it; the stream is closed if that fails.

    `max_msg_size` 0 is no limit.  Every frame is judged by wsproto, unless `express` is set.  Raises
    WebSocketHandshakeError when the server answers anything else, or nothing for ten seconds.
    """
    asked = request_handshake(protocols=protocols, compress=compress)
    try:
        with anyio.fail_after(PATIENCE):
            status, fields, rest = await _ask(stream, target, [("Host", host), *asked.fields, *headers])
        answered = CIMultiDictProxy(CIMultiDict([(key.decode(), value.decode("latin-1")) for key, value in fields]))
        try:
            accepted = check_response(asked, status, fields)
        except HandshakeError as exc:
            raise WebSocketHandshakeError(exc.message, status, answered, rest) from None
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    limits = WebSocketLimits(message=max_msg_size or None)
    wire = WebSocketWire(client=True, limits=limits, deflate=accepted.deflate, express=express)
    wire.feed(rest)
    return ClientWebSocket(stream, accepted, answered, wire, autoping=autoping, close_timeout=close_timeout)


async def connect_websocket(
    url: str | URL,
    *,
    ssl_context: ssl.SSLContext | None = None,
    buffer: int | None = None,
    **options: Unpack[WebSocketOptions],
) -> ClientWebSocket:
    """Connect to a ``ws://`` or ``wss://`` URL, and open a WebSocket; `options` are those of `open_websocket`.

    `buffer` bounds what the kernel keeps for each direction of our side, in bytes.
    """
    url = URL(url)
    if url.scheme not in {"ws", "wss", "http", "https"} or url.host is None or url.port is None:
        raise ValueError(f"expected ws://HOST/PATH or wss://HOST/PATH, got {str(url)!r}")
    stream: ByteStream = await connect_socket(url.host, url.port, buffer=buffer)
    if url.scheme in {"wss", "https"}:
        try:
            with anyio.fail_after(PATIENCE):
                stream = await TLSStream.wrap(
                    stream, hostname=url.host, ssl_context=ssl_context, standard_compatible=False
                )
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
    options.setdefault("host", url.host_port_subcomponent or url.host)
    return await open_websocket(stream, url.raw_path_qs, **options)


async def _ask(
    stream: ByteStream, target: str, fields: list[tuple[str, str]]
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Send a request; return status, fields, and the body, or what is behind the head of a 101."""
    http = h11.Connection(h11.CLIENT)
    await stream.send(http.send(h11.Request(method="GET", target=target, headers=in_utf8(fields))) or b"")
    http.send(h11.EndOfMessage())
    status, answered, body = 0, [], b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                try:
                    http.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    http.receive_data(b"")
            case h11.InformationalResponse(status_code=101, headers=found):
                return 101, list(found.raw_items()), http.trailing_data[0]
            case h11.Response(status_code=status, headers=found):
                answered = list(found.raw_items())
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return status, answered, body
            case h11.ConnectionClosed() | h11.PAUSED:
                raise anyio.EndOfStream
            case _:
                continue
