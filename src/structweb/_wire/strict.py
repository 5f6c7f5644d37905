"""What a request head must be before h11 may see it: lines, limits, and the meaning of its fields.

h11 is lenient where a server must not be: it takes a bare LF for a line end, unfolds obs-fold, lets control bytes
through, accepts Content-Length beside Transfer-Encoding, and merges equal Content-Lengths.  Each of these is how one
request is smuggled inside another when two parsers in a row disagree, so each is refused here.

Order matters: checks run line by line, as the bytes stand on the wire, and only then over the whole head.  So a head
that arrives in pieces is refused at the same place, with the same words, as one that arrives at once.
"""

import re
from typing import Final

from structweb._wire.events import HeaderBlock, HttpVersion, HttpVersion10, HttpVersion11, Refusal
from structweb._wire.limits import Limits
from structweb._wire.target import check_host, check_target

Fields = tuple[tuple[bytes, bytes], ...]

#: Fields that may stand only once in a request (aiohttp's list).
SINGLETONS: Final = frozenset(
    {
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"etag",
        b"host",
        b"max-forwards",
        b"server",
        b"transfer-encoding",
        b"user-agent",
    }
)

# aiohttp takes only the methods it knows, all upper-case.  Custom methods are routable here, lower-case letters are
# not: "get" is a typing error or a probe, and two spellings of one method are a way around access rules.
_REQUEST_LINE: Final = re.compile(rb"([A-Z0-9!#$%&'*+.^_`|~-]++) ([!-~]++) HTTP/([0-9]\.[0-9])")
_METHOD: Final = re.compile(rb"[A-Z0-9!#$%&'*+.^_`|~-]++ ")
_FIELD_LINE: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]++):([\t -~\x80-\xff]*+)")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# 19 digits hold every 63-bit length.
_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_VERSIONS: Final = {b"1.1": HttpVersion11, b"1.0": HttpVersion10}
#: RFC 9112 section 2.2 wants at least one ignored; some old clients send one after a body.
_MAX_LEADING_CRLF: Final = 8
_TLS_HANDSHAKE: Final = 0x16
_QUOTED: Final = 60


def quote(line: bytes) -> str:
    """Return `line` as it may stand in an error message: printable and short."""
    return repr(line[:_QUOTED])[1:] + ("..." if len(line) > _QUOTED else "")


def line_end(data: bytes | bytearray, start: int, limit: int, status: int, what: str) -> int:
    """Return the index behind the CRLF of the line that begins at `start`, or -1 while it is incomplete.

    Raises Refusal(status) as soon as the line is longer than `limit` bytes, CRLF not counted, and Refusal(400) when it
    ends in a bare LF.
    """
    # One byte more than limit + CRLF: enough to see that a line is too long, and no more to search.
    found = data.find(b"\n", start, start + limit + 3)
    stop = len(data) if found < 0 else found
    length = stop - start
    ends_in_cr = length > 0 and data[stop - 1] == 0x0D
    if length - ends_in_cr > limit:
        raise Refusal(status, f"{what} too long: at most {limit} bytes are accepted")
    if found < 0:
        return -1
    if not ends_in_cr:
        raise Refusal(400, f"bad line end in {what}: expected CRLF, got a bare LF")
    return found + 1


def check_field_line(line: bytes | bytearray, where: str) -> tuple[bytes, bytes]:
    """Return name and value of a field line given without its CRLF; the white space around the value is gone."""
    match = _FIELD_LINE.fullmatch(line)
    if match is not None:
        return match[1], match[2].strip(b" \t")
    shown = quote(bytes(line))
    if line[:1] in (b" ", b"\t"):
        raise Refusal(400, f"bad {where}: folded lines are not accepted, got {shown}")
    name, colon, _ = line.partition(b":")
    if not colon:
        raise Refusal(400, f"bad {where}: expected name: value, got {shown}")
    if not name:
        raise Refusal(400, f"bad {where}: empty name in {shown}")
    if name[-1:] in (b" ", b"\t"):
        raise Refusal(400, f"bad {where}: white space before the colon in {shown}")
    if _CONTROL.search(line):
        raise Refusal(400, f"bad {where}: control byte in {shown}")
    raise Refusal(400, f"bad {where}: name is not a token in {shown}")


def check_request_line(line: bytes | bytearray) -> tuple[str, str, HttpVersion]:
    """Return method, target and version of a request line given without its CRLF."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        foreign = _METHOD.match(line) is None
        message = f"bad request line: expected METHOD target HTTP/1.1, got {quote(bytes(line))}"
        raise Refusal(400, message, foreign=foreign)
    version = _VERSIONS.get(match[3])
    if version is None:
        raise Refusal(400, f"bad HTTP version: expected 1.0 or 1.1, got {match[3].decode()}")
    method, target = match[1].decode("ascii"), match[2].decode("ascii")
    check_target(method, target)
    return method, target, version


class HeadScan:
    """Finds the end of one request head, checking each line as soon as it is complete.

    Offsets count from the first byte of the head, so that the buffer may move between two calls.
    """

    __slots__ = ("_blank_lines", "_limits", "_lines", "_offset")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._offset = 0
        self._lines = 0
        self._blank_lines = 0

    @property
    def checked(self) -> int:
        """How many bytes of the head are complete lines that were checked."""
        return self._offset

    def skip_blank_lines(self, data: bytes | bytearray, start: int) -> int:
        """Return how many bytes of empty lines stand before the request line; the caller drops them."""
        if self._lines:
            return 0
        position = start
        while data[position : position + 2] == b"\r\n":
            position += 2
            self._blank_lines += 1
            if self._blank_lines > _MAX_LEADING_CRLF:
                raise Refusal(400, f"more than {_MAX_LEADING_CRLF} empty lines before the request line")
        return position - start

    def end(self, data: bytes | bytearray, start: int) -> int:
        """Return the length of the head that begins at `start`, or -1 while it is incomplete."""
        limits = self._limits
        if self._lines == 0:
            if data[start : start + 1] == bytes((_TLS_HANDSHAKE,)):
                raise Refusal(400, "Received HTTPS traffic on an HTTP port", foreign=True)
            end = line_end(data, start, limits.request_line, 414, "request line")
            if end < 0:
                return -1
            check_request_line(data[start : end - 2])
            self._lines = 1
            self._offset = end - start
        while True:
            begin = start + self._offset
            end = line_end(data, begin, limits.field, 431, "header field")
            if end < 0:
                return -1
            self._offset = end - start
            if end - begin == 2:
                return self._offset
            if self._lines > limits.fields:
                raise Refusal(431, f"too many header fields: at most {limits.fields} are accepted")
            check_field_line(data[begin : end - 2], "header field")
            self._lines += 1


def split_fields(lines: bytes, where: str = "header field") -> Fields:
    """Return the fields of complete CRLF-terminated field lines, without the empty line behind them."""
    return tuple([check_field_line(line, where) for line in lines.split(b"\r\n")[:-1]])


def read_block(fields: Fields, version: HttpVersion) -> HeaderBlock:
    """Return what `fields` mean for the connection, or refuse them where two parsers could disagree."""
    known: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        known.setdefault(name.lower(), []).append(value)
    for name in SINGLETONS:
        if len(known.get(name, ())) > 1:
            raise Refusal(400, f"duplicate {name.decode().title()} header: expected one, got {len(known[name])}")
    host = _host(known, version)
    content_length, chunked = _framing(known, version)
    options = _options(known.get(b"connection", []))
    keep_alive = False if b"close" in options else True if b"keep-alive" in options else None
    upgrade = None
    # RFC 9110 section 7.8: Upgrade is ignored in a 1.0 request, and without its connection option.
    if b"upgrade" in options and version == HttpVersion11:
        upgrade = _joined(known.get(b"upgrade"))
    return HeaderBlock(
        fields,
        content_length=content_length,
        chunked=chunked,
        keep_alive=keep_alive,
        host=host,
        expect=_joined(known.get(b"expect")),
        upgrade=upgrade,
    )


def _joined(values: list[bytes] | None) -> str | None:
    text = b", ".join(values or []).decode("utf-8", "surrogateescape").lower()
    return text or None


def _options(values: list[bytes]) -> set[bytes]:
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def _host(known: dict[bytes, list[bytes]], version: HttpVersion) -> str | None:
    values = known.get(b"host")
    if values is None:
        if version == HttpVersion11:
            raise Refusal(400, "missing Host header: HTTP/1.1 requires one")
        return None
    host = values[0].decode("latin-1")
    check_host(host)
    return host


def _framing(known: dict[bytes, list[bytes]], version: HttpVersion) -> tuple[int | None, bool]:
    length = known.get(b"content-length")
    coding = known.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise Refusal(400, "Content-Length and Transfer-Encoding in one request")
        if version != HttpVersion11:
            raise Refusal(400, "Transfer-Encoding in an HTTP/1.0 request")
        if coding[0].lower() != b"chunked":
            raise Refusal(400, f"bad Transfer-Encoding: expected chunked, got {quote(coding[0])}")
        return None, True
    if length is None:
        return None, False
    if _CONTENT_LENGTH.fullmatch(length[0]) is None:
        raise Refusal(400, f"bad Content-Length: expected decimal digits, got {quote(length[0])}")
    return int(length[0]), False
