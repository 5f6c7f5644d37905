"""The response that is a WebSocket."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from structweb._server.log import ws_logger
from structweb._server.websocket import WebSocketSession, open_session
from structweb._server.websocket_inbox import Failed, Incoming, WebSocketState
from structweb._server.websocket_outbox import WebSocketSettings
from structweb._server.writing import Bytes
from structweb._web.errors import HTTPBadRequest
from structweb._web.headers import CONTENT_LENGTH, TRANSFER_ENCODING
from structweb._web.request import JSONDecoder
from structweb._web.response import JSONEncoder
from structweb._web.streaming import Stage, StreamResponse
from structweb._web.websocket_messages import (
    WebSocketReady,
    WSCloseCode,
    WSMessage,
    WSMsgType,
    expected,
    unexpected,
    unless_last,
)
from structweb._wire.websocket import WebSocketWire
from structweb._wire.websocket_events import Binary, Close, Ping, Text
from structweb._wire.websocket_handshake import Accepted, HandshakeError, accept_handshake
from structweb._wire.websocket_limits import WebSocketLimits

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.request import BaseRequest

# A handler that goes on receiving behind the end has a loop that never ends.
_PATIENCE: Final = 5
_CLOSED: Final = WSMessage(WSMsgType.CLOSED, None, None)
_CLOSING: Final = WSMessage(WSMsgType.CLOSING, None, None)
_make: Final = tuple.__new__  # a third of what a call of the class costs
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_OPEN: Final = WebSocketState.OPEN


class WebSocketResponse(StreamResponse):
    """A WebSocket: `prepare` it, receive and send messages, return it.

    ``async for message in ws`` ends when the WebSocket is closed.  Its pings, its close handshake and the departure
    of its peer are seen to while the handler does something else; when the handler returns, it is closed.
    """

    _session: WebSocketSession | None = None
    _protocol: str | None = None
    _after_the_end: int = 0

    def __init__(  # aiohttp's names and defaults, then our own
        self,
        *,
        timeout: float = 10.0,
        receive_timeout: float | None = None,
        autoclose: bool = True,
        autoping: bool = True,
        heartbeat: float | None = None,
        protocols: Iterable[str] = (),
        compress: bool | int = True,
        max_msg_size: int = 4 * 1024 * 1024,
        writer_limit: int = 256 * 1024,
        decode_text: bool = True,
        on_slow: str = "wait",
        send_timeout: float | None = None,
    ) -> None:
        """Make a WebSocket that is not connected yet.

        `timeout`: seconds for the close handshake.  `receive_timeout`: for each `receive`.  `autoclose`, `autoping`:
        close frames and pings are answered by themselves.  `heartbeat`: seconds of silence before a ping; the peer
        counts as gone half as many later.  `protocols`: the subprotocols spoken here.  `compress`: whether
        permessage-deflate is accepted.  `max_msg_size`: larger messages are refused with 1009; 0 takes any.
        `writer_limit`: bytes that may wait for a slow peer before `on_slow` applies: a send may "wait" (the default,
        at most `send_timeout` seconds), "drop" the message, or "close" the WebSocket.  `decode_text`: False gives
        text as bytes.  Raises ValueError for values that make no sense.
        """
        super().__init__(status=101)
        self._settings = WebSocketSettings(
            autoclose=autoclose,
            autoping=autoping,
            timeout=timeout,
            heartbeat=heartbeat,
            writer_limit=writer_limit,
            on_slow=on_slow,
            send_timeout=send_timeout,
        )
        self._limits = WebSocketLimits(message=max_msg_size or None)
        self._receive_timeout = receive_timeout
        self._protocols = tuple(protocols)
        self._offer_compress = compress
        self._decode_text = decode_text
        self._dropped = 0
        #: Whether `receive` is the one below, without a limit.
        self._plain = not receive_timeout and type(self).receive is WebSocketResponse.receive

    # -- handshake -------------------------------------------------------------------------------------------------

    def can_prepare(self, request: "BaseRequest") -> WebSocketReady:
        """Tell whether `prepare` would accept the request's handshake.  Raises RuntimeError behind `prepare`."""
        if self._session is not None:
            raise RuntimeError("Already started")
        try:
            return WebSocketReady(ok=True, protocol=self._accept(request).protocol)
        except HandshakeError:
            return WebSocketReady(ok=False, protocol=None)

    def _accept(self, request: "BaseRequest") -> Accepted:
        exchange = request._exchange
        if exchange.has_body and not exchange.body.done:
            raise HandshakeError("expected a WebSocket handshake, got a request with a body")
        return accept_handshake(exchange.head.block, protocols=self._protocols, compress=self._offer_compress)

    async def prepare(self, request: "BaseRequest") -> Self | None:
        """Accept the handshake; from here on it is a WebSocket.

        Raises HTTPBadRequest for a request that is no handshake: the client gets a 400 and may go on.
        """
        if self._stage is not Stage.UNSENT:
            return await super().prepare(request)
        try:
            accepted = self._accept(request)
        except HandshakeError as exc:
            raise HTTPBadRequest(text=exc.message, headers=exc.fields or None) from exc
        if accepted.offered and accepted.protocol is None:
            offer = "%s offers the subprotocols %r, none of which is spoken here: %r"
            ws_logger.warning(offer, request.remote, accepted.offered, self._protocols)
        self.set_status(101)
        self.headers.update(accepted.fields)
        self._accepted = accepted
        return await super().prepare(request)

    def _complete_headers(self, exchange: "Exchange") -> None:
        super()._complete_headers(exchange)
        self.headers.popall(CONTENT_LENGTH, None)
        self.headers.popall(TRANSFER_ENCODING, None)

    async def _start(self, exchange: "Exchange") -> None:
        accepted = self._accepted
        wire = WebSocketWire(
            limits=self._limits,
            deflate=accepted.deflate,
            express=exchange.config.express,
            decode_text=self._decode_text,
        )
        try:
            self._session = await open_session(exchange, list(self.headers.items()), wire, self._settings)
        finally:
            self._stage = Stage.STARTED if exchange.started else Stage.UNSENT
        self._wire = wire
        self._protocol = accepted.protocol

    def _open(self) -> WebSocketSession:
        if self._session is None:
            raise RuntimeError("Call .prepare() first")
        return self._session

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the WebSocket is closed, or this side has begun to close it."""
        return self._session is not None and self._session.state in (WebSocketState.CLOSING, WebSocketState.CLOSED)

    @property
    def close_code(self) -> int | None:
        """The code it was closed with: the peer's, 0 if it gave none, 1006 if it left without a close frame."""
        return None if self._session is None else self._session.close_code

    @property
    def ws_protocol(self) -> str | None:
        """The subprotocol that both sides speak."""
        return self._protocol

    @property
    def compress(self) -> int | bool:
        """Before `prepare`, whether compression is accepted; then the bits of the window it uses, 0 for none."""
        if self._session is None:
            return self._offer_compress
        deflate = self._accepted.deflate
        return 0 if deflate is None else deflate.server_max_window_bits

    @property
    def body_length(self) -> int:
        """Bytes that were sent, head and frames; for the access log, whose line is written when the handler has ended."""
        return super().body_length + (0 if self._session is None else self._session.outbox.written)

    @property
    def queued(self) -> int:
        """Bytes that were sent and that the peer has not taken yet, beyond what the kernel holds."""
        return 0 if self._session is None else self._session.outbox.queued

    @property
    def dropped(self) -> int:
        """How many messages ``on_slow="drop"`` has dropped."""
        return self._dropped

    def exception(self) -> BaseException | None:
        """Return what broke the WebSocket, if something did."""
        return None if self._session is None else self._session.failure

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what is known about the connection, by asyncio's names, else `default`."""
        return default if self._session is None else self._session.get_extra_info(name, default)

    # -- receiving -------------------------------------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """Return the next message; CLOSE, CLOSING, CLOSED or ERROR at the end.

        Raises TimeoutError after `timeout` (or `receive_timeout`) seconds, behind which it may be called again;
        RuntimeError while another task receives, before `prepare`, and for the fifth call behind the end.
        """
        session = self._session or self._open()
        if session.state is not _OPEN and not session.inbox.messages:
            return self._say_closed(session)
        seconds = timeout or self._receive_timeout
        if seconds:
            with anyio.fail_after(seconds):
                return await session.receive(self._message)
        return await session.receive(self._message)

    def _message(self, event: Incoming | None) -> WSMessage:
        if event.__class__ is Binary:
            return _make(WSMessage, (_BINARY, event.data, ""))
        if event.__class__ is Text:
            return _make(WSMessage, (_TEXT, event.data, ""))
        session = self._open()
        match event:
            case Close(_, reason):
                return WSMessage(WSMsgType.CLOSE, session.close_code, reason)
            case Failed():
                return WSMessage(WSMsgType.ERROR, event.error, None)
            case None:
                return _CLOSED if session.failure is not None else _CLOSING
        return WSMessage(WSMsgType.PING if isinstance(event, Ping) else WSMsgType.PONG, event.data, "")

    def _say_closed(self, session: WebSocketSession) -> WSMessage:
        if session.state is WebSocketState.OWING:
            return _CLOSING
        self._after_the_end += 1
        if self._after_the_end >= _PATIENCE:
            raise RuntimeError("WebSocket connection is closed.")
        return _CLOSED

    async def receive_str(self, *, timeout: float | None = None) -> str:
        """Return the next message, which must be text: WSMessageTypeError otherwise.  As `receive` otherwise.

        With ``decode_text=False`` it is bytes.
        """
        message = await self.receive(timeout)
        if message.type is WSMsgType.TEXT:
            return message.data  # type: ignore[no-any-return]  # str, or what `decode_text` makes of it
        raise unexpected(message, WSMsgType.TEXT)

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """Return the next message, which must be binary: WSMessageTypeError otherwise.  As `receive` otherwise."""
        message = await self.receive(timeout)
        if message.type is WSMsgType.BINARY:
            return message.data  # type: ignore[no-any-return]  # as the type says
        raise unexpected(message, WSMsgType.BINARY)

    async def receive_json(self, *, loads: JSONDecoder = json.loads, timeout: float | None = None) -> Any:  # Any: JSON
        """Return what the next message, which must be text, is as JSON.  As `receive_str` otherwise."""
        return loads(await self.receive_str(timeout=timeout))

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, WSMessage]:  # Any: what a backend's traps are is its own affair
        session = self._session
        if session is None or not self._plain or session.state is not _OPEN:
            return unless_last(self.receive())
        return session.receive(self._next)  # as `receive` has it, a coroutine less

    def _next(self, event: Incoming | None) -> WSMessage:
        if event.__class__ is Binary:  # as `_message` has it, a call less
            return _make(WSMessage, (_BINARY, event.data, ""))
        if event is None or event.__class__ is Close:  # what `LAST` has for types
            raise StopAsyncIteration
        return self._message(event)

    async def iter_text(self) -> AsyncIterator[str]:
        """Iterate over text messages to the end.  Raises WSMessageTypeError for another one, and what broke it."""
        async for message in self:
            yield expected(message, WSMsgType.TEXT)

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over binary messages to the end.  Raises WSMessageTypeError for another one, and what broke it."""
        async for message in self:
            yield expected(message, WSMsgType.BINARY)

    async def iter_json(self, *, loads: JSONDecoder = json.loads) -> AsyncIterator[Any]:  # Any: as for receive_json
        """Iterate over what text messages are as JSON, as `iter_text`."""
        async for message in self:
            yield loads(expected(message, WSMsgType.TEXT))

    # -- sending ---------------------------------------------------------------------------------------------------

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text message.  Waits for a peer that is behind, as `on_slow` has it; cancelled, it has sent nothing.

        `compress`: the bits of a window, 9 to 15, to compress this message for itself.  Raises TypeError for anything
        but str, ClientConnectionResetError when the WebSocket is closing or the peer is gone.
        """
        session = self._session or self._open()
        if not isinstance(data, str):
            raise TypeError(f"data argument must be str ({type(data)!r})")
        if not (compress is None and (session.post_str(data) or session.post(self._wire.text, data))):
            self._dropped += not await session.send(self._wire.text, data, compress=compress)

    async def send_bytes(self, data: Bytes, compress: int | None = None) -> None:
        """Send a binary message, as `send_str` sends text."""
        session = self._session or self._open()
        if data.__class__ is bytes and compress is None and session.post_bytes(data):
            return
        if not isinstance(data, Bytes):
            raise TypeError(f"data argument must be byte-ish ({type(data)!r})")
        if compress is None and session.post(self._wire.binary, data):
            return
        if not await session.send(self._wire.binary, data, compress=compress):
            self._dropped += 1

    async def send_json(
        self,
        data: Any,  # Any: JSON has values of many types
        compress: int | None = None,
        *,
        dumps: JSONEncoder = json.dumps,
    ) -> None:
        """Send `data` as JSON in a text message, as `send_str`."""
        await self.send_str(dumps(data), compress)

    async def send_json_bytes(
        self,
        data: Any,  # Any: JSON has values of many types
        compress: int | None = None,
        *,
        dumps: Callable[[Any], bytes],  # Any: as for data
    ) -> None:
        """Send `data` as JSON in a binary message, for encoders that make bytes."""
        await self.send_bytes(dumps(data), compress)

    async def send_frame(self, message: Bytes | str, opcode: WSMsgType, compress: int | None = None) -> None:
        """Send a frame of `opcode`: TEXT or BINARY (a whole message), PING, PONG; use `close` to close."""
        session = self._session or self._open()
        if opcode == WSMsgType.CLOSE:
            raise ValueError("send_frame() does not close: call close()")
        if not await session.send(self._wire.frame, message, int(opcode), compress=compress):
            self._dropped += 1

    async def ping(self, message: Bytes | str = b"") -> None:
        """Send a ping, at most 125 bytes."""
        await (self._session or self._open()).send(self._wire.ping, message)

    async def pong(self, message: Bytes | str = b"") -> None:
        """Send a pong that answers no ping, at most 125 bytes."""
        await (self._session or self._open()).send(self._wire.pong, message)

    async def write(self, data: Bytes) -> None:
        """Raise RuntimeError: a WebSocket sends messages."""
        raise RuntimeError("Cannot call .write() for websocket")

    # -- closing ---------------------------------------------------------------------------------------------------

    async def close(self, *, code: int = WSCloseCode.OK, message: str | bytes = b"", drain: bool = True) -> bool:
        """Close it: say so, and wait at most `timeout` for the peer to say so, too; what it sends until then is dropped.

        False if it was closed already.  May be called from any task: a pending `receive` returns CLOSING.  Cancelled,
        it leaves the handshake to end by itself.  `drain` makes no difference: the close frame goes last in any case.
        """
        return await self._open().close(code, message)

    async def write_eof(self, data: Bytes = b"") -> None:
        """Close it, as at the end of the handler."""
        if self._stage is Stage.SENT:
            return
        if self._session is None:
            raise RuntimeError("Response has not been started")
        await self.close()
        self._stage = Stage.SENT

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, tb: object) -> None:
        """Close it: behind an error with 1011; behind a cancellation without waiting for the peer."""
        if exc is None:
            await self.close()
        elif isinstance(exc, Exception):
            await self.close(code=WSCloseCode.INTERNAL_ERROR)
        else:
            self._open().leave()
