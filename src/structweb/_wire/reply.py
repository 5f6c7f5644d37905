"""How responses are framed and written (RFC 9110, RFC 9112), for HTTP/1.0 and 1.1.

h11 cannot write an HTTP/1.0 keep-alive answer, does not refuse CR or LF in a reason, and breaks on body bytes
behind HEAD; so what leaves the server is written here, strictly, and tests hold it to what an h11 client reads.
"""

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

from structweb._wire.events import HttpVersion

Fields = Sequence[tuple[str, str]]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What RFC 9110 section 5.5 calls dangerous in a field value, and every other control byte but HTAB.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


class Framing(Enum):
    """How the end of a response body is told."""

    #: There is no body: HEAD, 1xx, 204, 304, 2xx to CONNECT.
    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    #: The end of the connection ends the body (HTTP/1.0 without a length).
    UNTIL_CLOSE = "until close"


def bodiless(method: str, status: int) -> bool:
    """Tell whether a response carries no body bytes, whatever its fields say (RFC 9112 section 6.3)."""
    return method == "HEAD" or status in (204, 304) or ends_http(method, status)


def ends_http(method: str, status: int) -> bool:
    """Tell whether no further request may be read behind this answer to `method`.

    A client waits for more behind a 1xx, and would take the next response for it; behind 101 and behind a granted
    CONNECT comes another protocol (RFC 9110 sections 15.2 and 9.3.6).
    """
    return status < 200 or (method == "CONNECT" and status < 300)


class ReplyHead:
    """The status line and the given fields of a response, checked and encoded, without the final empty line.

    Tells which of the fields that the server fills in were given.
    """

    __slots__ = ("chunked", "close", "connection", "data", "date", "length", "plain", "server")

    data: bytes
    #: The given Content-Length, or None.
    length: int | None
    #: Whether Transfer-Encoding was given (only ``chunked`` may be).
    chunked: bool
    date: bool
    server: bool
    #: Whether Connection was given, and whether it lists ``close``.
    connection: bool
    close: bool
    #: Whether the status has a body, and none of the fields above was given: all that is missing is known beforehand.
    plain: bool

    def __init__(self, minor: int, status: int, reason: str, fields: Fields) -> None:
        if not 100 <= status <= 999:
            raise ValueError(f"status must be from 100 to 999, got {status!r}")
        if bad := _CONTROL.search(reason):
            raise ValueError(f"reason must not contain control characters, got {bad.group()!r} in {reason!r}")
        self.length = None
        self.chunked = self.date = self.server = self.connection = self.close = False
        lines = [f"HTTP/1.{minor} {status} {reason}\r\n"]
        for name, value in fields:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"header name must be a token (RFC 9110 section 5.1), got {name!r}")
            if bad := _CONTROL.search(value):
                raise ValueError(f"header value must not contain control characters, got {bad.group()!r} in {name}")
            self._note(name.lower(), value)
            lines.append(f"{name}: {value}\r\n")
        self.data = "".join(lines).encode("utf-8", "surrogateescape")
        own = (self.length is not None, self.chunked, self.date, self.server, self.connection)
        self.plain = not any(own) and status >= 200 and status not in (204, 304)

    def _note(self, name: str, value: str) -> None:
        """Remember a field that has a say in the framing; refuse one that would contradict it."""
        match name:
            case "content-length":
                if not _DIGITS.fullmatch(value) or self.length is not None:
                    raise ValueError(f"Content-Length must be one decimal number, got {value!r}")
                self.length = int(value)
            case "transfer-encoding":
                if value.lower() != "chunked" or self.chunked:
                    raise ValueError(f"Transfer-Encoding must be 'chunked', got {value!r}")
                self.chunked = True
            case "date":
                self.date = True
            case "server":
                self.server = True
            case "connection":
                self.connection = True
                self.close = self.close or "close" in (option.strip() for option in value.lower().split(","))
        if self.chunked and self.length is not None:
            raise ValueError(
                "a response must not have both Content-Length and Transfer-Encoding (RFC 9112 section 6.2)"
            )


@lru_cache(maxsize=512)
def _repeating_head(minor: int, status: int, reason: str, fields: tuple[tuple[str, str], ...]) -> ReplyHead:
    return ReplyHead(minor, status, reason, fields)


def reply_head(version: HttpVersion, status: int, reason: str, fields: Fields) -> ReplyHead:
    """Return the checked and encoded head of a response.  Raises ValueError; nothing is repaired.

    A tuple of fields is taken to repeat, and its encoding is remembered; give a list when it will not.
    """
    if fields.__class__ is tuple:
        return _repeating_head(version[1], status, reason, fields)
    return ReplyHead(version[1], status, reason, fields)


def size_of_complete(method: str, status: int, reply: ReplyHead, length: int) -> bytes:
    """Return the Content-Length line that a complete response of `length` body bytes lacks, or b"".

    To HEAD it says what GET would have said.  Raises ValueError for fields that contradict the body.
    """
    if status < 200 or status in (204, 304):
        _refuse_size(status, reply)
        return b""
    if reply.chunked:
        raise ValueError("a complete response is not chunked: give no Transfer-Encoding")
    if method == "CONNECT" and status < 300:
        return b""
    if reply.length is None:
        return b"Content-Length: %d\r\n" % length
    if reply.length != length and method != "HEAD":
        raise ValueError(f"Content-Length is {reply.length}, the body has {length} bytes")
    return b""


def frame_stream(
    method: str, version: HttpVersion, status: int, reply: ReplyHead, length: int | None
) -> tuple[Framing, int, bytes]:
    """Decide how a streamed response ends: the framing, the body bytes owed, and the size line its head lacks.

    A length is the caller's or the field's; without one the body is chunked, or for HTTP/1.0 ends with the
    connection.  Raises ValueError for fields that contradict each other, the length or the version.
    """
    if status < 200 or status in (204, 304):
        _refuse_size(status, reply)
        return Framing.NONE, 0, b""
    if length is not None and reply.length not in (None, length):
        raise ValueError(f"Content-Length is {reply.length}, but length={length} was given")
    if length is not None and reply.chunked:
        raise ValueError(f"Transfer-Encoding is chunked, but length={length} was given")
    owed = reply.length if length is None else length
    size_line = b""
    if owed is not None:
        framing = Framing.LENGTH
        if reply.length is None:
            size_line = b"Content-Length: %d\r\n" % owed
    elif version >= (1, 1):
        framing = Framing.CHUNKED
        if not reply.chunked:
            size_line = b"Transfer-Encoding: chunked\r\n"
    elif reply.chunked:
        raise ValueError("Transfer-Encoding: chunked is for HTTP/1.1, the request is HTTP/1.0")
    else:
        framing = Framing.UNTIL_CLOSE
    if bodiless(method, status):
        # To HEAD, a length is told and a coding is not: no bytes are coded.
        return Framing.NONE, 0, size_line if method == "HEAD" and owed is not None else b""
    return framing, owed or 0, size_line


def _refuse_size(status: int, reply: ReplyHead) -> None:
    # RFC 9110 section 8.6, RFC 9112 section 6.1; a 304 may repeat the length of the 200 it stands for.
    if reply.chunked or (reply.length is not None and status != 304):
        raise ValueError(f"a {status} response must not have Content-Length or Transfer-Encoding")


def chunk(data: bytes | bytearray | memoryview) -> bytes:
    """Return one chunk of a chunked body; `data` must not be empty (an empty chunk would end the body)."""
    return b"%x\r\n%b\r\n" % (len(data), data)  # type: ignore[str-format]  # %b takes every bytes-like object
