"""A WebSocket client for tests and examples: polite by default, and able to be every kind of bad peer.

It has no task of its own: it reads only while somebody waits in `receive` or `close`.  What it does is what its caller
says, in that order, on either backend.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint
from multidict import CIMultiDictProxy

from structweb._web.websocket_messages import WSMessage, WSMessageTypeError, WSMsgType
from structweb._wire.websocket import WebSocketWire
from structweb._wire.websocket_events import (
    GONE,
    NO_CODE,
    Binary,
    Close,
    ClosedError,
    Event,
    More,
    Ping,
    Pong,
    Text,
    WebSocketError,
)
from structweb._wire.websocket_handshake import Accepted

_CLOSED: Final = WSMessage(WSMsgType.CLOSED, None, None)
#: What is to be told behind our close frame, too.
_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.ERROR)


class ClientWebSocket:
    """The client's end of a WebSocket: `open_websocket` and `connect_websocket` make one.

    Its methods are those of aiohttp's ClientWebSocketResponse.  As a context manager it closes politely when the
    block ends, and hangs up at once when an exception leaves it.  One task receives; any may send or close.

    `send_raw`, `half_close`, `stall`, `reset` and `vanish` are what bad peers do.
    """

    def __init__(
        self,
        stream: ByteStream,
        accepted: Accepted,
        headers: CIMultiDictProxy[str],
        wire: WebSocketWire,
        *,
        autoping: bool,
        close_timeout: float,
    ) -> None:
        self._stream = stream
        self._wire = wire
        self._autoping = autoping
        self._close_timeout = close_timeout
        self._lock = anyio.Lock()
        self._over = anyio.Event()
        #: Whether `close` reads; and what tells it that another task reads no longer.
        self._closing = False
        self._left: anyio.Event | None = None
        self._flowing: anyio.Event | None = None
        self._reading = False
        self._ended = False
        self._close_sent = False
        self._torn = False
        self._exception: BaseException | None = None
        self._close_code: int | None = None
        #: The fields of the server's answer.
        self.headers = headers
        #: The subprotocol that was agreed on, None for none.
        self.protocol: Final = accepted.protocol
        #: Whether permessage-deflate was agreed on.
        self.compressed: Final = accepted.deflate is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc_type is None and self._flowing is None:
                await self.close()
        finally:
            await anyio.aclose_forcefully(self._stream)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be received."""
        return self._over.is_set()

    @property
    def close_code(self) -> int | None:
        """The code of the server's close frame, 0 if it had none; 1006 if the server went without one; None before."""
        return self._close_code

    def exception(self) -> BaseException | None:
        """Return what broke the connection, if anything did."""
        return self._exception

    # -- sending

    async def send_str(self, data: str) -> None:
        """Send a text message.  This and all that send raise ConnectionResetError when it is too late.

        Cancelled half-way, a message ends the connection: what would come behind it could not be understood.
        """
        if not isinstance(data, str):
            raise TypeError(f"data must be str, got {type(data).__name__}")
        await self._send(lambda: self._wire.text(data))

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message."""
        await self._send(lambda: self._wire.binary(data))

    async def send_json(self, data: object, *, dumps: Callable[[object], str] = json.dumps) -> None:
        """Send JSON as a text message."""
        await self.send_str(dumps(data))

    async def ping(self, message: bytes = b"") -> None:
        """Send a ping; the pong comes to `receive`, which drops it if `autoping` is set."""
        await self._send(lambda: self._wire.ping(message))

    async def pong(self, message: bytes = b"") -> None:
        """Send a pong."""
        await self._send(lambda: self._wire.pong(message))

    async def _send(self, make: Callable[[], bytes]) -> None:
        # Made inside the lock: compressed frames must leave in the order in which they were made.
        async with self._lock:
            if self._torn:
                raise ConnectionResetError("cannot send: a message was cancelled half-way")
            try:
                await self._stream.send(make())
            except (ClosedError, anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
                raise ConnectionResetError(f"cannot send: {str(exc) or 'the connection is closed'}") from exc
            except anyio.get_cancelled_exc_class():
                # TLS and the compressor have gone on with what was made; of a plain frame perhaps nothing has left.
                if self.compressed or getattr(self._stream, "torn", True):
                    self._torn = True
                raise

    # -- receiving

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """Return the next message; pings are answered on the way, and pongs dropped, if `autoping` is set.

        A close frame is answered and returned; CLOSED is returned from then on, when the server goes without one, and
        when `close` has read it.
        ERROR is what the server must not send, with the reason in `data`.  Raises TimeoutError after `timeout` seconds,
        RuntimeError when another task is receiving.
        """
        with anyio.fail_after(timeout):
            while self._closing and not self.closed:
                await self._until_left()
            return await self._receive_alone()

    async def _receive_alone(self) -> WSMessage:
        if self._reading:
            raise RuntimeError("receive() is under way in another task: only one may receive")
        self._reading = True
        try:
            while not self.closed:
                message = await self._receive()
                if message is not None and (message.type in _ENDS or not self._close_sent):
                    return message
        finally:
            self._reading = False
            left, self._left = self._left, None
            if left is not None:
                left.set()
        return _CLOSED

    async def _until_left(self) -> None:
        """Wait until the task that reads does so no longer."""
        if self._left is None:
            self._left = anyio.Event()
        await self._left.wait()

    async def _receive(self) -> WSMessage | None:
        try:
            event = await self._next_event()
        except WebSocketError as exc:
            self._exception = exc
            self._end(exc.code)
            await self._say_close(exc.code, exc.reason)
            return WSMessage(WSMsgType.ERROR, exc, None)
        match event:
            case Text(data):
                return WSMessage(WSMsgType.TEXT, data, None)
            case Binary(data):
                return WSMessage(WSMsgType.BINARY, data, None)
            case Ping(data) | Pong(data) if not self._autoping:
                return WSMessage(WSMsgType.PING if isinstance(event, Ping) else WSMsgType.PONG, data, None)
            case Ping(data):
                with suppress(ConnectionResetError):  # a ping behind our close frame, or of a server that went
                    await self.pong(data)
            case Close(code, reason) if code != GONE:
                self._end(0 if code == NO_CODE else code)
                await self._say_close(code)
                return WSMessage(WSMsgType.CLOSE, self._close_code, reason)
            case Close() | None:
                self._end(GONE)
        return None

    async def _next_event(self) -> Event | None:
        """Return what the server says next, None after its last word."""
        while True:
            event = self._wire.next_event()
            if isinstance(event, More):
                await checkpoint()
                continue
            if event is not None or self._ended:
                return event
            data = await self._read()
            if data:
                self._wire.feed(data)
            else:
                self._wire.feed_eof()

    async def _read(self) -> bytes:
        """Return bytes, b"" at the end of the connection."""
        if self._flowing is not None:
            await self._flowing.wait()
        try:
            return await self._stream.receive()
        except anyio.EndOfStream:
            pass
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            self._exception = exc
        self._ended = True
        return b""

    async def receive_str(self, *, timeout: float | None = None) -> str:
        """Return the next message, which must be text.  Raises TypeError when it is not."""
        return str(await self._receive_only(WSMsgType.TEXT, timeout))

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """Return the next message, which must be binary.  Raises TypeError when it is not."""
        data = await self._receive_only(WSMsgType.BINARY, timeout)
        return bytes(data)

    async def receive_json(
        self,
        *,
        loads: Callable[[str], Any] = json.loads,  # Any: what JSON is depends on the server
        timeout: float | None = None,
    ) -> Any:  # the same
        """Return the next message, which must be text, as JSON."""
        return loads(await self.receive_str(timeout=timeout))

    async def _receive_only(self, kind: WSMsgType, timeout: float | None) -> Any:  # Any: depends on the kind
        message = await self.receive(timeout)
        if message.type is not kind:
            raise WSMessageTypeError(f"expected {kind.name}, got {message.type.name} {message.data!r}")
        return message.data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WSMessage:
        message = await self.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED):
            raise StopAsyncIteration
        return message

    # -- the end

    async def close(self, *, code: int = 1000, message: str | bytes = b"") -> bool:
        """Send a close frame, and wait for the server's, and for the server to end the connection.

        What comes before is dropped; a task that waits in `receive` gets the close frame.  A server that takes longer
        than `close_timeout` for it is hung up on: `close_code` is 1006 then, as behind a message that was cancelled
        half-way.  Returns False if it is closed already.
        """
        if self.closed or self._close_sent:
            return False
        with anyio.move_on_after(0 if self._torn else self._close_timeout):
            await self._say_close(code, message)
            while self._reading and not self.closed:
                await self._until_left()
            self._closing = True
            try:
                await self._receive_alone()
            finally:
                self._closing = False
            await self.wait_ended()
        self._end(GONE)
        await anyio.aclose_forcefully(self._stream)
        return True

    async def wait_ended(self) -> None:
        """Read, and drop what is read, until the server ends the connection."""
        while not self._ended:
            await self._read()

    async def _say_close(self, code: int, message: str | bytes = b"") -> None:
        if not self._close_sent:
            self._close_sent = True
            with suppress(ConnectionResetError):
                await self._send(lambda: self._wire.close(code, message))

    def _end(self, code: int) -> None:
        if not self.closed:
            self._close_code = code
            self._over.set()

    # -- faults

    @property
    def stream(self) -> ByteStream:
        """What it runs over: what TLS runs over, if there is TLS."""
        return getattr(self._stream, "transport_stream", self._stream)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, frames or not."""
        async with self._lock:
            await self._stream.send(data)

    async def half_close(self) -> None:
        """End our side, and go on reading: a FIN without a close frame."""
        await self.stream.send_eof()

    def stall(self) -> None:
        """Stop reading, as a peer whose window is closed; `receive` and `close` wait until `resume`."""
        if self._flowing is None:
            self._flowing = anyio.Event()

    def resume(self) -> None:
        """Go on reading after `stall`."""
        flowing, self._flowing = self._flowing, None
        if flowing is not None:
            flowing.set()

    def reset(self) -> None:
        """Break the connection, as a RST does."""
        self._abort("reset")

    def vanish(self) -> None:
        """Close the connection without a close frame, and, over TLS, without a farewell."""
        self._abort("close")

    def _abort(self, name: str) -> None:
        abort: Callable[[], None] | None = getattr(self.stream, name, None)
        if abort is None:
            raise TypeError(f"{name} needs a stream of structweb.testing, got {type(self.stream).__name__}")
        self._ended = True
        self._end(GONE)
        abort()
