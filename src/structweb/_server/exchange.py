"""One request and its response, as the floor above sees a connection."""

import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import anyio

from structweb._server.crew import Crew
from structweb._server.departures import ClientConnectionResetError
from structweb._server.stamp import missing_stamp
from structweb._server.stamp import stamp as date_and_server
from structweb._server.upgrade import UpgradedStream
from structweb._server.websocket_inbox import WebSocketState
from structweb._server.writing import BodyWriter, Stage
from structweb._wire.events import Head, HeaderBlock, HttpVersion10, HttpVersion11, Refusal
from structweb._wire.reply import (
    CONTINUE,
    LAST_CHUNK,
    Fields,
    Framing,
    ReplyHead,
    bodiless,
    ends_http,
    frame_stream,
    reply_head,
    size_of_complete,
)

if TYPE_CHECKING:
    from structweb._server.connection import Connection

logger = logging.getLogger("structweb.server")

Bytes = bytes | bytearray | memoryview

# Up to here head and body go out in one piece: copying this much costs less than a second system call.
_ONE_PIECE: Final = 65536
# Methods whose answers have no body though their status has one.
_SPECIAL: Final = frozenset({"HEAD", "CONNECT"})
_NO_FIELDS: Final = HeaderBlock(())

#: What client-side departure before any response reads in the access log, as in nginx.
CLIENT_CLOSED_REQUEST: Final = 499

# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a request.
_OPEN: Final = Stage.OPEN
_STARTED: Final = Stage.STARTED
_FINISHED: Final = Stage.FINISHED


class Exchange(BodyWriter):
    """A request head, the body behind it, and the one response to it.

    The floor above sends exactly one response: `respond` for a complete one, or `start`, `write` and `finish`,
    or `upgrade`.  Whoever leaves it unfinished loses the connection: the peer sees a truncated answer, never a
    wrong one.
    """

    __slots__ = ("_status", "continued")

    #: Whether 100 Continue was sent.
    continued: bool
    # What the two halves declare, once more for type checkers that look at who assigns it.
    bytes_sent: int
    crew: Crew | None
    disconnect: str
    keep_alive: bool
    refusal: Refusal | None
    route: object
    stage: Stage
    time_limit: anyio.CancelScope | None

    def __init__(self, connection: "Connection", head: Head) -> None:
        self._connection = connection
        self.head = head
        self.refusal = None
        self.route = None
        self.crew = None
        self.time_limit = None
        config = connection.config
        self.disconnect = config.disconnect
        self.keep_alive = head.keep_alive and connection.reusable
        self.stage = _OPEN
        self.bytes_sent = 0
        self._since_yield = 0
        self._status = 0
        self.continued = False

    @classmethod
    def refused(cls, connection: "Connection", refusal: Refusal) -> "Exchange":
        """Make the exchange that answers bytes which are no acceptable request."""
        exchange = cls(connection, Head("UNKNOWN", "/", HttpVersion10, _NO_FIELDS))
        exchange.refusal = refusal
        exchange.keep_alive = False
        return exchange

    @property
    def started(self) -> bool:
        """Whether the head of the response has been written."""
        return self.stage is not _OPEN

    @property
    def ends_with_connection(self) -> bool:
        """Whether a response is under way whose peer takes a FIN for its end: cut short, it must not get one."""
        return self.stage is _STARTED and self._framing is Framing.UNTIL_CLOSE

    @property
    def finished(self) -> bool:
        """Whether the response is complete."""
        return self.stage is _FINISHED

    @property
    def websocket_closing(self) -> bool:
        """Whether it has become a WebSocket that is closing or closed: who sends now finds nobody, and that is no error."""
        websocket = self._connection.websocket
        return websocket is not None and websocket.state is not WebSocketState.OPEN

    def crash_websocket(self) -> bool:
        """Have the peer told that the handler failed, if the exchange has become a WebSocket; tell whether it has."""
        websocket = self._connection.websocket
        if websocket is None:
            return False
        websocket.crashed = True
        return True

    @property
    def status(self) -> int:
        """The status that was sent; 0 before, 499 when the client left before it."""
        if self._status == 0 and self._connection.gone:
            return CLIENT_CLOSED_REQUEST
        return self._status

    async def send_continue(self) -> None:
        """Tell a waiting peer to send its body (100 Continue, RFC 9110 section 10.1.1), once.

        Does nothing for HTTP/1.0, after the response started, and when the body is there already.
        """
        connection = self._connection
        if self.continued or self.started or self.head.version != HttpVersion11 or connection.wire.body_done:
            return
        self.continued = True
        connection.transport.write(CONTINUE)
        if connection.transport.congested:
            await connection.drain()

    async def respond(self, status: int, reason: str, fields: Fields, body: Bytes, *, stamp: bool = True) -> None:
        """Send a complete response.

        Adds Content-Length, Connection and (with `stamp`) Date and Server unless `fields` has them; `body` is left
        out where the protocol forbids one (HEAD, 204, 304).  A tuple of fields is taken to repeat and its encoding remembered.
        Raises ValueError, with nothing sent, for fields that are not allowed on the wire or a Content-Length that
        is not the body's; RuntimeError for a second response; ClientConnectionResetError when the peer is known to
        have left.
        """
        head = self.head
        reply = reply_head(head.version, status, reason, fields)
        length = body.nbytes if body.__class__ is memoryview else len(body)
        connection = self._connection
        transport = connection.transport
        if (
            reply.plain
            and stamp
            and length <= _ONE_PIECE
            and self.keep_alive
            and head.version is HttpVersion11
            and head.method not in _SPECIAL
            and head.block.expect is None
            and self.stage is _OPEN
            and not connection.server.closing
            and connection.config.express
        ):
            # The express lane of responses: the same bytes as below, in one step.
            lines = date_and_server(connection.config.server_header)
            data = b"%bContent-Length: %d\r\n%b\r\n%b" % (reply.data, length, lines, body)  # type: ignore[str-format]  # %b takes all bytes-like objects
            self._status = status
            self.stage = _FINISHED
            self.bytes_sent = len(data)
            transport.write(data)
            if transport.congested:
                await connection.drain()
            return
        size_line = size_of_complete(head.method, status, reply, length)
        if connection.gone:
            raise ClientConnectionResetError("cannot send: the peer is gone")
        if bodiless(head.method, status):
            body = b""
        data = self._open(reply, status, size_line, stamp=stamp)
        self.stage = _FINISHED
        if length <= _ONE_PIECE:
            data = data + body
            transport.write(data)
            self.bytes_sent = len(data)
        else:
            transport.write(data)
            if body:
                transport.write(bytes(body))
            self.bytes_sent = len(data) + len(body)
        if transport.congested:
            await connection.drain()

    async def start(
        self,
        status: int,
        reason: str,
        fields: Fields,
        *,
        length: int | None = None,
        chunked: bool = False,
        stamp: bool = True,
    ) -> None:
        """Send the head of a streamed response; with `stamp`, Date and Server are added unless `fields` has them.

        With a `length`, exactly that many bytes follow.  Without, the body is chunked; to an HTTP/1.0 client it
        ends with the connection.  Content-Length or ``Transfer-Encoding: chunked`` among the fields say the same.
        Raises ValueError, with nothing sent, for fields that are not allowed or contradict each other.
        """
        head = self.head
        reply = reply_head(head.version, status, reason, fields)
        if chunked and head.version < HttpVersion11:
            raise ValueError("chunked encoding is for HTTP/1.1, the request is HTTP/1.0")
        framing, owed, size_line = frame_stream(head.method, head.version, status, reply, length)
        if framing is Framing.UNTIL_CLOSE:
            self.keep_alive = False
        data = self._open(reply, status, size_line, stamp=stamp)
        self._framing = framing
        self._unwritten = owed
        try:
            await self._send(data)
        except ClientConnectionResetError:
            self._status = 0  # so it reads 499: nobody was there for so much as the head
            raise

    async def finish(self) -> None:
        """End the response body.  A body shorter than announced is logged and closes the connection."""
        if self.stage is _FINISHED:
            return
        if self.stage is not _STARTED:
            raise RuntimeError("cannot finish: the response was not started")
        if self._framing is Framing.CHUNKED:
            waits = self._put(LAST_CHUNK)
            self.stage = _FINISHED  # before the wait: what another task writes meanwhile must not follow
            if waits:
                await self.settle()
        elif self._framing is Framing.LENGTH and self._unwritten:
            self.keep_alive = False
            logger.error("Response to %r ended %d bytes before its Content-Length", self.head, self._unwritten)
        self.stage = _FINISHED

    async def upgrade(self, fields: Fields) -> UpgradedStream:
        """Answer 101 with `fields` and return the connection as a byte stream, bytes behind the head first.

        The stream is the caller's until the handler returns; then the connection is closed.  Raises RuntimeError,
        with nothing sent, while the request has body bytes that were not read.
        """
        if not self._connection.wire.body_done:
            raise RuntimeError("cannot upgrade: read the request body first (RFC 9110 section 7.8)")
        data = self._open(reply_head(HttpVersion11, 101, "Switching Protocols", fields), 101, b"")
        self.stage = _FINISHED
        self.keep_alive = False
        await self._send(data)
        return self._connection.hand_over()

    def _open(self, reply: ReplyHead, status: int, size_line: bytes, *, stamp: bool = True) -> bytes:
        """Complete the head with what the server adds, and take the stage from OPEN to STARTED."""
        if self.stage is not _OPEN:
            raise RuntimeError(f"a response was sent already: cannot send {status} after {self._status}")
        connection = self._connection
        if reply.close or connection.server.closing or not self._may_reuse():
            self.keep_alive = False
        if ends_http(self.head.method, status):
            self.keep_alive = False
        self.stage = _STARTED
        self._status = status
        version = self.head.version
        if reply.connection or status == 101:
            option = b""
        elif version == HttpVersion11:
            option = b"" if self.keep_alive else b"Connection: close\r\n"
        else:
            option = b"Connection: keep-alive\r\n" if self.keep_alive else b""
        stamps = missing_stamp(reply, connection.config.server_header) if stamp else b""
        return b"%b%b%b%b\r\n" % (reply.data, size_line, stamps, option)

    def _may_reuse(self) -> bool:
        """Tell whether the connection could carry another request.

        Not when the peer still waits for 100 Continue: whether its body follows cannot be known.
        """
        wire = self._connection.wire
        return self.head.block.expect is None or self.continued or wire.body_done or wire.buffered > 0


#: A coroutine function: connections step its coroutines themselves, so no other awaitable will do.
ExchangeHandler = Callable[[Exchange], Coroutine[Any, Any, None]]
