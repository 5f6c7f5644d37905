"""The express lane: a plain request head becomes a `Head` without h11.

The law of the lane: for every head it takes, h11 behind the strict layer gives the same `Head` and leaves the connection
in the same state; for every other one it stays out.  It never answers an error, never guesses, never repairs.

It takes a head that is complete in the buffer, of a method in capital letters, origin-form and HTTP/1.1, whose field
lines are clean and need no state: no Upgrade or Expect, no field of `SINGLETONS` twice, Transfer-Encoding only as
``chunked`` without Content-Length, Connection at most once and then ``keep-alive`` or ``close`` alone.

What makes it cheap: a peer mostly repeats its field lines.  The lane of a connection keeps the last block of them, and an
equal block costs one comparison.  In a block that differs, single lines that any peer may repeat are looked up
in a table shared by all connections.  Lines that may carry a secret (Cookie, Authorization) or a unique value never
enter that table, and it is emptied when full, so a peer can neither read from it, nor grow it, nor keep it filled.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from structweb._wire.events import Head, HeaderBlock, HttpVersion11
from structweb._wire.limits import Limits
from structweb._wire.strict import SINGLETONS
from structweb._wire.target import split_host

# CONNECT takes another form of target.
_REQUEST_LINE: Final = re.compile(rb"(?!CONNECT )([A-Z]++) (/[!-~]*+) HTTP/1\.1(?=\r\n)")
_FIELD_LINE: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]++):[\t ]*+([\t -~\x80-\xff]*+)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}+")
_KEEP_ALIVE: Final = {b"keep-alive": True, b"close": False}


def _read_host(value: bytes) -> str | None:
    if not value.isascii():
        return None
    text = value.decode("ascii")
    return None if split_host(text) is None else text


def _read_length(value: bytes) -> int | None:
    return int(value) if _LENGTH.fullmatch(value) is not None else None


def _read_coding(value: bytes) -> bool | None:
    return True if value == b"chunked" else None


def _read_connection(value: bytes) -> bool | None:
    return _KEEP_ALIVE.get(value.lower())


def _leave(value: bytes) -> None:
    """Read the value of a field that needs state: never plain."""


_HOST_BIT: Final = 1
_LENGTH_BIT: Final = 2
_CONNECTION_BIT: Final = 4
_CODING_BIT: Final = 8

#: What to know of a field: its bit if it may stand only once (to see the second one), how to read its value (the reader
#: returns None for what is not plain), and whether its lines may enter the table.
_Kind = tuple[int, Callable[[bytes], str | int | None] | None, bool]
_MEANINGFUL: Final[dict[bytes, _Kind]] = {
    b"host": (_HOST_BIT, _read_host, True),
    b"content-length": (_LENGTH_BIT, _read_length, True),
    b"connection": (_CONNECTION_BIT, _read_connection, True),
    b"transfer-encoding": (_CODING_BIT, _read_coding, True),
    b"upgrade": (0, _leave, False),
    b"expect": (0, _leave, False),
}
#: Fields whose lines many requests repeat and that carry no secret.
_REPEATED: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language cache-control content-type dnt origin pragma priority "
    b"sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc "
    b"te upgrade-insecure-requests user-agent x-forwarded-proto x-requested-with".split()
)
_KINDS: Final[dict[bytes, _Kind]] = (
    dict.fromkeys(_REPEATED, (0, None, True))
    | {name: (16 << index, None, name in _REPEATED) for index, name in enumerate(sorted(SINGLETONS))}
    | _MEANINGFUL
)

#: A checked field line: the field, its bit, and the meaning of its value.
#: Any: each bit has its own type (Host: str, Content-Length: int, Connection and coding: bool, others: None), and a tuple costs less
#: to take apart than an object.
_Line = tuple[tuple[bytes, bytes], int, Any]  # Any: see above

_TABLE_LINES: Final = 1024
_TABLE_LINE_BYTES: Final = 256
_table: dict[bytes, _Line] = {}


class Express:
    """The express lane of one connection."""

    __slots__ = ("_block", "_limits", "_tail", "end")

    #: Where the head that was taken last ends in its buffer.
    end: int

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._block: HeaderBlock | None = None
        # From the CRLF of the request line to the empty line, both included.
        self._tail = b""
        self.end = 0

    def take(self, data: bytes, start: int) -> Head | None:
        """Return the head that begins at `start`, or None when it is not complete or not plain."""
        match = _REQUEST_LINE.match(data, start)
        if match is None:
            return None
        line_end = match.end()
        if line_end - start > self._limits.request_line:
            return None
        block = self._block
        if block is not None and data.startswith(self._tail, line_end):
            self.end = line_end + len(self._tail)
        else:
            stop = data.find(b"\r\n\r\n", line_end)
            if stop < 0:
                return None
            block = _read_block(data[line_end + 2 : stop], self._limits)
            if block is None:
                return None
            self.end = stop + 4
            self._block = block
            self._tail = data[line_end : self.end]
        method, target = match.groups()
        return Head(method.decode("ascii"), target.decode("ascii"), HttpVersion11, block)

    def forget(self) -> None:
        """Let go of the block that was kept for comparison: the next head costs a few microseconds more."""
        self._block = None
        self._tail = b""


def _read_block(data: bytes, limits: Limits) -> HeaderBlock | None:
    lines = data.split(b"\r\n")
    if len(lines) > limits.fields or (len(data) > limits.field and max(map(len, lines)) > limits.field):
        return None
    fields = []
    seen = 0
    host: str | None = None
    length: int | None = None
    keep_alive: bool | None = None
    known = _table.get
    for line in lines:
        entry = known(line) or _read_line(line)
        if entry is None:
            return None
        field, bit, meaning = entry
        fields.append(field)
        if bit:
            if seen & bit:
                return None
            seen |= bit
            if bit == _HOST_BIT:
                host = meaning
            elif bit == _LENGTH_BIT:
                length = meaning
            elif bit == _CONNECTION_BIT:
                keep_alive = meaning
    chunked = seen & _CODING_BIT != 0
    if host is None or (chunked and length is not None):
        return None
    return HeaderBlock(tuple(fields), content_length=length, chunked=chunked, keep_alive=keep_alive, host=host)


def _read_line(line: bytes) -> _Line | None:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        return None
    name, value = match.groups()
    if value[-1:] in (b" ", b"\t"):
        value = value.rstrip(b" \t")
    kind = _KINDS.get(name.lower())
    if kind is None:
        return (name, value), 0, None
    bit, read, repeated = kind
    meaning = None
    if read is not None:
        meaning = read(value)
        if meaning is None:
            return None
    entry = (name, value), bit, meaning
    if repeated and len(line) <= _TABLE_LINE_BYTES:
        if len(_table) >= _TABLE_LINES:
            _table.clear()
        _table[line] = entry
    return entry
