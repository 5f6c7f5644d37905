"""Chunked bodies: h11 decodes them, and sees only bytes whose framing was found sound before.

h11 lets a bare LF and control bytes stand in a chunk extension, white space behind a chunk size, folded and bare-LF
lines in trailers.
Here each line of the framing is checked first, then handed to h11; h11 never holds bytes of the next message.

The express lane takes chunks that are complete and plain (a size, no extension) without h11, several at once, and an end
without trailers.  Before and behind a chunk h11 holds no byte of one, so it never misses those.  The rest is h11's.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

import h11

from structweb._wire.events import Refusal
from structweb._wire.judge import Judge
from structweb._wire.limits import Limits
from structweb._wire.strict import SINGLETONS, Fields, line_end, quote, split_fields

_TOKEN: Final = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]++"
_QUOTED_TEXT: Final = rb"[\t !#-\[\]-~\x80-\xff]*+"
_QUOTED_STRING: Final = rb'"' + _QUOTED_TEXT + rb"(?:\\[\t -~\x80-\xff]" + _QUOTED_TEXT + rb')*"'
# No possessive quantifier behind a group: up to Python 3.11.4 it matches what it must not.  There is no need of one, each
# byte tells which way to go on.
# 16 digits hold every 64-bit size.  No white space around extensions: RFC 9112 calls it bad, llhttp refuses it too.
_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16}+)((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED_STRING + rb"))?)*)"
)
#: The size line of a plain chunk, which is not the last one.  No limit is shorter: there is a field that says "chunked".
_PLAIN_LINE: Final = re.compile(rb"(?!0+\r)([0-9A-Fa-f]{1,8}+)\r\n")
_PLAIN_END: Final = b"0\r\n\r\n"
#: Plain chunks in one piece: so many that a piece costs little beside them, so few that they cost no time.
_TOGETHER: Final = 32
#: Bytes from which on a piece is large enough.
_ENOUGH: Final = 4096
#: Bytes of chunk extensions in one body: nobody reads them, so a peer that sends many only makes work.
_MAX_EXTENSIONS: Final = 16384

#: Fields that frame, route, authenticate or describe a message: too late in a trailer (RFC 9110 section 6.5.1).
FORBIDDEN_TRAILERS: Final = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"max-forwards",
        b"pragma",
        b"proxy-authorization",
        b"range",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class _Part(Enum):
    """What comes next in a chunked body."""

    SIZE = "chunk size"
    DATA = "chunk data"
    DATA_END = "the CRLF behind chunk data"
    TRAILERS = "trailer section"
    DONE = "nothing"


class ChunkedBody:
    """Reads one chunked body piece by piece out of a buffer that it does not own."""

    __slots__ = (
        "_express",
        "_extensions",
        "_judge",
        "_left",
        "_limits",
        "_part",
        "_scanned",
        "_seen",
        "chunk_ends",
        "trailers",
    )

    #: Where chunks end in the piece that `read` returned last.
    chunk_ends: Sequence[int]
    #: The trailer fields; empty until the body is done.
    trailers: Fields

    def __init__(self, judge: Judge, limits: Limits, *, express: bool) -> None:
        self._express = express
        self._judge = judge
        self._limits = limits
        self._part = _Part.SIZE
        #: Bytes missing in this chunk, or in the CRLF behind it.
        self._left = 0
        self._extensions = 0
        #: Lower-cased names, and bytes, that were checked in an incomplete trailer section.
        self._seen: list[bytes] = []
        self._scanned = 0
        self.chunk_ends = ()
        self.trailers = ()

    @property
    def done(self) -> bool:
        """Whether the last chunk and the trailers were read."""
        return self._part is _Part.DONE

    def read(self, data: bytes | bytearray, start: int) -> tuple[bytes | None, int]:
        """Return the next piece of the body, and the index behind the bytes it took from `data`.

        The piece is b"" when the body is over, None when it needs more bytes.
        """
        while True:
            if self._part is _Part.DATA:
                return self._read_data(data, start)
            if self._part is _Part.DONE:
                self.chunk_ends = ()
                return b"", start
            if self._part is _Part.SIZE:
                if self._express:
                    plain, end = self._take_plain(data, start)
                    if plain or self.done:
                        return plain, end
                end = self._read_size(data, start)
            elif self._part is _Part.DATA_END:
                end = self._read_data_end(data, start)
            else:
                end = self._read_trailers(data, start)
            if end == start:
                return None, start
            start = end

    def _take_plain(self, data: bytes | bytearray, start: int) -> tuple[bytes, int]:
        """Take the plain chunks that begin at `start`, a fair number of them, and a plain end; b"" if there is none."""
        pieces: list[bytes | bytearray] = []
        ends: list[int] = []
        size = 0
        while size < _ENOUGH and len(pieces) < _TOGETHER and (line := _PLAIN_LINE.match(data, start)) is not None:
            begin = line.end()
            end = begin + int(line[1], 16)
            if data[end : end + 2] != b"\r\n":
                break
            pieces.append(data[begin:end])
            size += end - begin
            ends.append(size)
            start = end + 2
        if data.startswith(_PLAIN_END, start):
            self._part = _Part.DONE
            start += len(_PLAIN_END)
        self.chunk_ends = ends
        return b"".join(pieces), start

    def _read_size(self, data: bytes | bytearray, start: int) -> int:
        end = line_end(data, start, self._limits.field, 400, "chunk size line")
        if end < 0:
            return start
        line = bytes(data[start:end])
        match = _CHUNK_LINE.fullmatch(line, 0, len(line) - 2)
        if match is None:
            raise Refusal(400, f"bad chunk size line: expected hexadecimal digits, got {quote(line[:-2])}")
        self._extensions += len(match[2])
        if self._extensions > _MAX_EXTENSIONS:
            raise Refusal(400, f"chunk extensions too long: at most {_MAX_EXTENSIONS} bytes are accepted in one body")
        self._left = int(match[1], 16)
        self._part = _Part.DATA if self._left else _Part.TRAILERS
        self._judge.hear(line, h11.NEED_DATA)
        return end

    def _read_data(self, data: bytes | bytearray, start: int) -> tuple[bytes | None, int]:
        piece = bytes(data[start : start + self._left])
        if not piece:
            return None, start
        event = self._judge.hear(piece, h11.Data)
        self._left -= len(piece)
        self.chunk_ends = ()
        if not self._left:
            self._part = _Part.DATA_END
            self._left = 2
            self.chunk_ends = (len(piece),)
        return bytes(event.data), start + len(piece)

    def _read_data_end(self, data: bytes | bytearray, start: int) -> int:
        piece = bytes(data[start : start + self._left])
        if piece:
            if not b"\r\n"[2 - self._left :].startswith(piece):
                raise Refusal(400, "bad chunk: expected CRLF behind its data")
            self._judge.hear(piece, h11.NEED_DATA)
            self._left -= len(piece)
            if not self._left:
                self._part = _Part.SIZE
        return start + len(piece)

    def _read_trailers(self, data: bytes | bytearray, start: int) -> int:
        while True:
            begin = start + self._scanned
            end = line_end(data, begin, self._limits.field, 431, "trailer field")
            if end < 0:
                return start
            if end - begin == 2:
                break
            if len(self._seen) >= self._limits.fields:
                raise Refusal(431, f"too many trailer fields: at most {self._limits.fields} are accepted")
            self._check_trailer(bytes(data[begin:end]))
            self._scanned = end - start
        raw = bytes(data[start:end])
        self._judge.hear(raw, h11.EndOfMessage)
        self.trailers = split_fields(raw[:-2], "trailer field")
        self._part = _Part.DONE
        return end

    def _check_trailer(self, line: bytes) -> None:
        ((name, _),) = split_fields(line, "trailer field")
        key = name.lower()
        if key in FORBIDDEN_TRAILERS:
            raise Refusal(400, f"bad trailer field: {name.decode('ascii')} may not come behind the body")
        if key in SINGLETONS and key in self._seen:
            raise Refusal(400, f"duplicate trailer field: expected one {name.decode('ascii')}")
        self._seen.append(key)
