"""Responses with their whole body at hand: `Response`, `json_response`, `json_bytes_response`."""

import json
import warnings
from collections.abc import Callable
from concurrent.futures import Executor
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter
from multidict import CIMultiDict

from structweb._web.headers import CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LooseHeaders
from structweb._web.payload import Payload, as_payload
from structweb._web.streaming import Bytes, Stage, StreamResponse
from structweb._wire.media_type import OCTET_STREAM, MediaType, parse_media_type
from structweb._wire.reply import Fields, bodiless

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.request import BaseRequest

JSONEncoder = Callable[[Any], str]  # Any: JSON has values of many types
JSONBytesEncoder = Callable[[Any], bytes]  # Any: the same

# Looked up for every response: as globals they cost half.
_UNSENT: Final = Stage.UNSENT
_SENT: Final = Stage.SENT

ContentFields = tuple[()] | tuple[tuple[str, str]]

_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)
_TWO_TYPES: Final = "headers have a Content-Type: content_type and charset cannot be given as well"
_BYTES: Final = (("Content-Type", OCTET_STREAM),)
# Statuses that have no body to any method.
_NO_CONTENT: Final = frozenset({204, 304})


class _Missing(Enum):
    """No argument: None is JSON."""

    MISSING = "missing"


_MISSING: Final = _Missing.MISSING


@lru_cache(maxsize=256)
def _content_fields(content_type: str, charset: str | None) -> tuple[tuple[str, str]]:
    """Return the Content-Type field; the same tuple each time, whose encoding the server remembers."""
    if "charset" in content_type:
        raise ValueError(f"content_type must not contain a charset, give charset=..., got {content_type!r}")
    return (("Content-Type", content_type if charset is None else f"{content_type}; charset={charset}"),)


class Response(StreamResponse):
    """A response with its whole body: bytes, text, or a payload that writes itself.

    Raises ValueError for `body` together with `text`, for a charset inside `content_type`, for a Content-Type among
    `headers` together with `content_type` or `charset`, and for a body of a type that nobody knows.
    """

    # As long as nobody looks at the headers there are none, only this field (or none).
    _fields: ContentFields = ()
    _body: bytes | bytearray | memoryview | Payload | None = None
    # What is sent in place of the body, once that is compressed, and the body that it was made of.
    _compressed: bytes | None = None
    _compressed_from: Bytes | None = None
    # Whether a payload has begun to write itself: it cannot do so twice.
    _begun: bool = False
    # Whether sending it in one go is the same as preparing it and writing it: not if a subclass does that its own way.
    _direct: bool = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._direct = (
            cls.prepare is Response.prepare and cls.write_eof is Response.write_eof and cls.write is Response.write
        )

    def __init__(
        self,
        *,
        body: object = None,
        status: int = 200,
        reason: str | None = None,
        text: str | None = None,
        headers: LooseHeaders | None = None,
        content_type: str | None = None,
        charset: str | None = None,
        zlib_executor_size: int = 4096,
        zlib_executor: CapacityLimiter | Executor | None = None,
    ) -> None:
        if status != 200 or reason is not None:
            self._set_status(status, reason)
        if headers is not None:
            self._headers = CIMultiDict(headers)
        if text is not None:
            if body is not None:
                raise ValueError("a response has either body or text, got both")
            self._set_text(text, content_type, charset)
        else:
            if content_type is not None or charset is not None:
                self._set_content(content_type, charset)
            if body is not None:
                self.body = body
        if zlib_executor_size != 4096:
            self._zlib_executor_size = zlib_executor_size
        if zlib_executor is not None:
            self._set_executor(zlib_executor)

    def _set_executor(self, limiter: CapacityLimiter | Executor) -> None:
        if isinstance(limiter, CapacityLimiter):
            self._zlib_executor = limiter
        else:
            message = "zlib_executor is ignored: give an anyio.CapacityLimiter to say how many bodies compress at once"
            warnings.warn(message, DeprecationWarning, stacklevel=3)

    def _set_text(self, text: str, content_type: str | None, charset: str | None) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {text!r}")
        if self._headers is not None and CONTENT_TYPE in self._headers:
            if content_type is not None or charset is not None:
                raise ValueError(_TWO_TYPES)
            self.text = text
            return
        if content_type is None and charset is None:
            fields, self._body = _TEXT, text.encode()
        else:
            charset = charset or "utf-8"
            fields, self._body = _content_fields(content_type or "text/plain", charset), text.encode(charset)
        if self._headers is None:
            self._fields = fields
        else:
            self._headers[CONTENT_TYPE] = fields[0][1]

    def _set_content(self, content_type: str | None, charset: str | None) -> None:
        if self._headers is not None and CONTENT_TYPE in self._headers:
            raise ValueError(_TWO_TYPES)
        if content_type is None:
            return
        fields = _content_fields(content_type, charset)
        if self._headers is None:
            self._fields = fields
        else:
            self._headers[CONTENT_TYPE] = fields[0][1]

    # -- headers and body ------------------------------------------------------------------------------------------

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields.  The server's own (Date, Server, framing) are there once it is being prepared."""
        headers = self._headers
        if headers is None:
            headers = self._headers = CIMultiDict(self._fields)
        return headers

    def _media_type(self) -> MediaType:
        if self._headers is None:
            return parse_media_type(self._fields[0][1] if self._fields else None)
        return super()._media_type()

    @property
    def content_length(self) -> int | None:
        """The length of the body; None if it is not known, or sent in chunks."""
        if self._chunked or self._compressed_writer is not None:
            return None
        if self._headers is not None and CONTENT_LENGTH in self._headers:
            return int(self._headers[CONTENT_LENGTH])
        body = self._body
        if isinstance(body, Payload):
            return body.size
        return len(self._plain_body(body))

    @content_length.setter
    def content_length(self, value: int | None) -> None:
        raise RuntimeError("the Content-Length of a Response is the length of its body: it cannot be set")

    @property
    def body(self) -> bytes | bytearray | memoryview | Payload | None:
        """The body; None if there is none.  Takes bytes, bytearray, memoryview, str, async iterables and payloads."""
        return self._body

    @body.setter
    def body(self, body: object) -> None:
        if body is None or isinstance(body, bytes | bytearray):
            self._body = body
        elif isinstance(body, memoryview):
            self._body = body.cast("B") if body.c_contiguous else body.tobytes()
        elif isinstance(body, str):
            self._body = body.encode()
            self._default_content("text/plain", "utf-8")
        else:
            self._body = payload = as_payload(body)
            headers = self.headers
            for name, value in payload.headers.items():
                headers.setdefault(name, value)
            headers.setdefault(CONTENT_TYPE, payload.content_type)

    def _default_content(self, content_type: str, charset: str | None) -> None:
        """Set the Content-Type, unless there is one."""
        fields = _content_fields(content_type, charset)
        if self._headers is not None:
            self._headers.setdefault(CONTENT_TYPE, fields[0][1])
        elif not self._fields:
            self._fields = fields

    @property
    def text(self) -> str | None:
        """The body as text; None if there is none.  Setting it makes an octet-stream text/plain, in UTF-8 if not told.

        Raises TypeError for a body that writes itself, and when set to what is no str.
        """
        body = self._body
        if body is None:
            return None
        if isinstance(body, Payload):
            raise TypeError(f"the body is no text but a payload that writes itself: {body!r}")
        return bytes(body).decode(self.charset or "utf-8")

    @text.setter
    def text(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {text!r}")
        content_type, charset = self.content_type, self.charset
        if content_type == OCTET_STREAM:
            self.content_type = content_type = "text/plain"
        if charset is None:
            self.charset = charset = "utf-8"
        self._body = text.encode(charset)

    # -- sending ---------------------------------------------------------------------------------------------------

    async def write_eof(self, data: Bytes = b"") -> None:
        """Send the body and end it.  Takes no further data (TypeError): set `body` instead."""
        if data:
            raise TypeError(f"a Response is written with its body, got {len(data)} bytes more: use a StreamResponse")
        body = self._body
        if not isinstance(body, Payload):
            await super().write_eof(self._plain_body(body))
            return
        exchange = self._exchange
        if self._stage is Stage.STARTED and exchange is not None:
            if self._begun:
                raise RuntimeError("cannot end the response: writing its body has failed or was cancelled half-way")
            self._begun = True
            try:
                if not bodiless(exchange.head.method, self._status):
                    await body.write(self)
            finally:
                await body.close()
        await super().write_eof()

    async def _send(self, request: "BaseRequest") -> None:
        exchange = request._exchange
        body = self._whole_body()
        if body is None or not self._direct or self._stage is not _UNSENT:
            await self._send_in_steps(request)
            return
        if not body and exchange.head.method == "HEAD":
            await super()._send(request)  # an empty body does not tell what GET would get
            return
        ready = self._cookies is not None or request._has_prepare_hook or self._compression
        if ready:
            await self._make_ready(request)
            body = self._whole_body()
            if body is None:  # so on_response_prepare had it
                await self._start(exchange)
                await self.write_eof()
                return
            if self._compressed is not None and self._compressed_from is self._body:
                body = self._compressed
        else:
            self._exchange = exchange
            if self._keep_alive is False:
                exchange.keep_alive = False
        fields: Fields = self._fields or (_BYTES if body and self._status not in _NO_CONTENT else ())
        if self._headers is not None:
            fields = self._own_fields(self._headers, exchange, has_body=bool(body))
        self._stage = _SENT
        try:
            await exchange.respond(self._status, self._reason, fields, body, stamp=not ready)
        except BaseException:
            if not exchange.started:
                self._stage = _UNSENT
            raise

    async def _send_in_steps(self, request: "BaseRequest") -> None:
        try:
            await super()._send(request)
        finally:
            await self._discard()  # also if sending it failed before it began

    async def _discard(self) -> None:
        if isinstance(self._body, Payload):
            await self._body.close()

    def _whole_body(self) -> Bytes | None:
        """Return the body, or None if it cannot be sent in one go."""
        body = self._body
        if self._chunked:
            return None
        if body.__class__ is bytes:  # asking an abstract class takes as long as all the rest here
            return body
        if isinstance(body, Payload):
            return None
        return b"" if body is None else body

    def _plain_body(self, body: Bytes | None) -> Bytes:
        """Return the bytes to send: compressed, unless `body` is not what was compressed."""
        if self._compressed is not None and self._compressed_from is body:
            return self._compressed
        return b"" if body is None else body

    async def _start_compression(self, request: "BaseRequest") -> None:
        body = self._body
        if isinstance(body, Payload):
            await super()._start_compression(request)
        elif body and (coding := self._settle_coding(request)) is not None:
            self._compressed = await self._compress_whole(coding, body)
            self._compressed_from = body

    def _own_fields(self, headers: CIMultiDict[str], exchange: "Exchange", *, has_body: bool) -> Fields:
        if has_body and self._status not in _NO_CONTENT:
            headers.setdefault(CONTENT_TYPE, OCTET_STREAM)
        if CONTENT_LENGTH in headers:
            self._drop_framing(exchange)
        return list(headers.items())

    async def _make_ready(self, request: "BaseRequest") -> "Exchange":
        given = CONTENT_LENGTH in self.headers
        exchange = await super()._make_ready(request)
        headers = self.headers
        if self._compressed is not None and self._compressed_from is not self._body:
            headers.popall(CONTENT_ENCODING, None)  # on_response_prepare had another body: it goes as it is
        if not given and headers.pop(CONTENT_LENGTH, None) is not None:
            length = self.content_length  # on_response_prepare may have changed the body
            if length is not None:
                headers[CONTENT_LENGTH] = str(length)
        return exchange


def json_response(
    data: Any = _MISSING,  # Any: JSON has values of many types
    *,
    text: str | None = None,
    body: bytes | None = None,
    status: int = 200,
    reason: str | None = None,
    headers: LooseHeaders | None = None,
    content_type: str = "application/json",
    dumps: JSONEncoder = json.dumps,
) -> Response:
    """Return a response with `data` as JSON.  Raises ValueError for `data` together with `text` or `body`."""
    if data is not _MISSING:
        if text or body:
            raise ValueError("json_response takes one of data, text and body, got several")
        text = dumps(data)
    return Response(text=text, body=body, status=status, reason=reason, headers=headers, content_type=content_type)


def json_bytes_response(
    data: Any = _MISSING,  # Any: JSON has values of many types
    *,
    dumps: JSONBytesEncoder,
    body: bytes | None = None,
    status: int = 200,
    reason: str | None = None,
    headers: LooseHeaders | None = None,
    content_type: str = "application/json",
) -> Response:
    """Return a response with `data` as JSON, by an encoder that makes bytes.  Otherwise as `json_response`.

    Raises ValueError for `data` together with `body`.
    """
    if data is not _MISSING:
        if body is not None:
            raise ValueError("json_bytes_response takes either data or body, got both")
        body = dumps(data)
    return Response(body=body, status=status, reason=reason, headers=headers, content_type=content_type)
