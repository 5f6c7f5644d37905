"""Responses that are written piece by piece: `StreamResponse`."""

import re
from enum import Enum
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, ClassVar, Final, Never, Self

from multidict import CIMultiDict

from structweb._web.compressing import CompressedBody
from structweb._web.cookies import ResponseCookies
from structweb._web.fields import ResponseHeaders
from structweb._web.headers import (
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DATE,
    SERVER,
    SET_COOKIE,
    TRANSFER_ENCODING,
    LooseHeaders,
)
from structweb._web.keys import ResponseKey
from structweb._web.state import State
from structweb._wire.dates import format_http_date
from structweb._wire.events import HttpVersion11
from structweb._wire.media_type import OCTET_STREAM
from structweb._wire.reply import bodiless
from structweb._wire.status import REASON_PHRASES

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.request import BaseRequest

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Bytes = bytes | bytearray | memoryview

_HINTS: Final = {
    "task": "a response has no task, request.cancel_scope cancels what handles the request",
    "drain": "await response.write() waits for a slow client itself",
    "output_length": "body_length is the number of bytes that were sent",
    "chunk_size": "enable_chunked_encoding() takes no size: each write() is a chunk",
    "receive_msg": "await receive(), of a WebSocketResponse, returns its next message",
}


@lru_cache(maxsize=1)
def _date_line(second: int) -> str:
    """Return the Date of a second, made once for all the responses in it."""
    return format_http_date(second)


class Stage(Enum):
    """How far a response is."""

    UNSENT = "not prepared"
    #: Its default headers are there, and on_response_prepare runs.
    PREPARING = "being prepared"
    STARTED = "started"
    SENT = "eof"


# Looking a member up in its enum takes 0.1 us on CPython 3.11, each time.
_STARTED: Final = Stage.STARTED


class StreamResponse(State, ResponseHeaders, ResponseCookies, CompressedBody):
    """A response whose body is written piece by piece.

    Set its status and headers, `prepare` it (that sends them), `write` as often as needed, `write_eof`.
    It serves one request.  It is also a mapping, for what middlewares and handlers tell each other about it.
    """

    _key_class = ResponseKey
    _warned_keys: ClassVar[set[object]] = set()

    # Class attributes stand for what most responses never set: making a response is cheap that way.
    # (No __slots__: HTTPException is an Exception too, whose layout tolerates none.)
    _status: int = 200
    _reason: str = "OK"
    _keep_alive: bool | None = None
    _stage: Stage = Stage.UNSENT
    # The exchange that it is the response of, once it is being prepared.
    _exchange: "Exchange | None" = None

    def __init__(self, *, status: int = 200, reason: str | None = None, headers: LooseHeaders | None = None) -> None:
        if headers is not None:
            self._headers = CIMultiDict(headers)
        if status != 200 or reason is not None:
            self._set_status(status, reason)

    def __repr__(self) -> str:
        info = self._stage.value
        if self._exchange is not None and self._stage in (Stage.PREPARING, Stage.STARTED):
            info = f"{self._exchange.head.method} {self._exchange.head.target} "
        return f"<{type(self).__name__} {self.reason} {info}>"

    # -- status and connection -------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """The status code."""
        return self._status

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return self._reason

    def set_status(self, status: int, reason: str | None = None) -> None:
        """Set the status code, and a reason phrase (else the usual one, "" for an unusual code).

        Raises ValueError for a code that is not from 100 to 999 and for control characters in the reason,
        RuntimeError once the head has been sent.
        """
        self._check_unsent("the status")
        self._set_status(status, reason)

    def _set_status(self, status: int, reason: str | None) -> None:
        code = int(status)
        if not 100 <= code <= 999:
            raise ValueError(f"status must be from 100 to 999, got {status!r}")
        if reason is None:
            reason = REASON_PHRASES.get(code, "")
        elif _CONTROL.search(reason):
            raise ValueError(f"reason must not contain line breaks or control characters, got {reason!r}")
        self._status = code
        self._reason = reason

    def _check_unsent(self, what: str) -> None:
        if self._stage is Stage.STARTED or self._stage is Stage.SENT:
            raise RuntimeError(f"{what} cannot be changed after the head of {self!r} has been sent")

    @property
    def prepared(self) -> bool:
        """Whether `prepare` was called."""
        return self._stage is not Stage.UNSENT

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection lives on after the response; None as long as nobody knows."""
        return self._keep_alive if self._exchange is None else self._exchange.keep_alive

    def force_close(self) -> None:
        """Close the connection after the response."""
        self._keep_alive = False
        if self._exchange is not None:
            self._exchange.keep_alive = False

    @property
    def body_length(self) -> int:
        """The bytes that were sent so far, head included."""
        return 0 if self._exchange is None else self._exchange.bytes_sent

    @property
    def task(self) -> Never:
        """There are no tasks to hold: see `Request.cancel_scope`."""
        raise AttributeError(_HINTS["task"])  # `__getattr__` says it again

    if not TYPE_CHECKING:  # type checkers shall not take every name for an attribute

        def __getattr__(self, name: str) -> Never:
            hint = f": {_HINTS[name]}" if name in _HINTS else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    # -- sending ---------------------------------------------------------------------------------------------------

    async def prepare(self, request: "BaseRequest") -> Self | None:
        """Send status and headers, after on_response_prepare had a look at them.

        Returns the response itself, for writing; None after the end of the body.  A second call does nothing else.
        Raises RuntimeError for a response to another request, ValueError for headers that cannot be sent.
        """
        if self._stage is not Stage.UNSENT:
            self._check_same(request)
            return None if self._stage is Stage.SENT else self
        await self._start(await self._make_ready(request))
        return self

    async def _start(self, exchange: "Exchange") -> None:
        try:
            await exchange.start(self._status, self._reason, list(self.headers.items()), stamp=False)
        finally:
            self._stage = Stage.STARTED if exchange.started else Stage.UNSENT

    def _check_same(self, request: "BaseRequest") -> None:
        if self._exchange is not request._exchange:
            raise RuntimeError(f"{self!r} belongs to another request: make a new response for each one")

    async def _make_ready(self, request: "BaseRequest") -> "Exchange":
        """Complete the headers and have on_response_prepare look at them; nothing is sent yet."""
        self._exchange = exchange = request._exchange
        if self._keep_alive is False:
            exchange.keep_alive = False
        self._stage = Stage.PREPARING
        try:
            if self._compression:
                await self._start_compression(request)
            self._complete_headers(exchange)
            if request._has_prepare_hook:
                told = self._cookie_lines()
                await request._prepare_hook(self)
                if self._cookies:
                    self._tell_late_cookies(told)
        except BaseException:
            self._stage = Stage.UNSENT
            raise
        self._drop_framing(exchange)
        return exchange

    def _complete_headers(self, exchange: "Exchange") -> None:
        headers = self.headers
        for line in self._cookie_lines().values():
            headers.add(SET_COOKIE, line)
        method, version = exchange.head.method, exchange.head.version
        length = self.content_length
        if self._chunked or length is None:
            if version == HttpVersion11:
                headers[TRANSFER_ENCODING] = "chunked"
            elif self._chunked:
                raise RuntimeError("chunked encoding is for HTTP/1.1, the request is HTTP/1.0")
        elif length or method != "HEAD":  # to HEAD, an empty body does not tell what GET would get
            headers[CONTENT_LENGTH] = str(length)
        if length != 0 and not bodiless("GET" if method == "HEAD" else method, self._status):
            headers.setdefault(CONTENT_TYPE, OCTET_STREAM)
        self._drop_framing(exchange)
        if DATE not in headers:
            headers[DATE] = _date_line(int(time()))
        if exchange.config.server_header is not None:
            headers.setdefault(SERVER, exchange.config.server_header)

    def _tell_late_cookies(self, told: dict[str, str]) -> None:
        """Add the cookies that on_response_prepare has set, in place of those that were there before."""
        late = {name: line for name, line in self._cookie_lines().items() if told.get(name) != line}
        if late:
            replaced = {told[name] for name in late if name in told}
            lines = [line for line in self.headers.popall(SET_COOKIE, ()) if line not in replaced]
            self.headers.extend([(SET_COOKIE, line) for line in (*lines, *late.values())])

    def _drop_framing(self, exchange: "Exchange") -> None:
        """Take back the fields that a response without body bytes must not have (RFC 9110 section 8.6, 9112 6.1)."""
        method = exchange.head.method
        if bodiless(method, self._status):
            self.headers.popall(TRANSFER_ENCODING, None)
            if method != "HEAD" or bodiless("GET", self._status):
                self.headers.popall(CONTENT_LENGTH, None)

    async def write(self, data: Bytes) -> None:
        """Send a piece of the body; wait while the client is slow.

        Where the protocol forbids a body (HEAD, 204, 304), the bytes are dropped.  Raises TypeError for anything but
        bytes, bytearray and memoryview, RuntimeError before `prepare` and after `write_eof`, ConnectionResetError
        when the client has left, ValueError for more than Content-Length.
        """
        if data.__class__ is not bytes and not isinstance(data, Bytes):
            raise TypeError(f"write() takes bytes, bytearray or memoryview, got {type(data).__name__}")
        if self._stage is not _STARTED or self._exchange is None:
            raise RuntimeError(f"write() must come after prepare() and before write_eof(), {self!r} is not there")
        exchange, compressed = self._exchange, self._compressed_writer
        if compressed is None or bodiless(exchange.head.method, self._status):
            if exchange.put(data):
                await exchange.settle()
        else:
            if isinstance(data, memoryview) and not data.c_contiguous:
                data = data.tobytes()
            await compressed.write(exchange, data)

    async def write_eof(self, data: Bytes = b"") -> None:
        """End the body, after a last piece.  A second call does nothing.

        Raises RuntimeError before `prepare`, and what `write` raises.
        """
        if not isinstance(data, Bytes):
            raise TypeError(f"write_eof() takes bytes, bytearray or memoryview, got {type(data).__name__}")
        if self._stage is Stage.SENT:
            return
        if self._stage is not Stage.STARTED or self._exchange is None:
            raise RuntimeError(f"write_eof() must come after prepare(), {self!r} is not there")
        if data:
            await self.write(data)
        if self._compressed_writer is not None and not bodiless(self._exchange.head.method, self._status):
            await self._compressed_writer.finish(self._exchange)
        await self._exchange.finish()
        self._stage = Stage.SENT

    async def _send(self, request: "BaseRequest") -> None:
        """Send whatever has not been sent of the response."""
        if self._stage is not Stage.UNSENT:
            self._check_same(request)
        await self.prepare(request)
        await self.write_eof()

    async def _discard(self) -> None:
        """Release what the body holds: nothing more of it is sent."""
