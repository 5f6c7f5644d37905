"""Multipart bodies (RFC 2046 section 5.1) as pure state: bytes in, parts out."""

from enum import Enum
from typing import Final

from structweb._wire.events import Refusal
from structweb._wire.strict import Fields, check_field_line, line_end, quote

#: The longest boundary that RFC 2046 allows.
MAX_BOUNDARY: Final = 70
_CRLF: Final = b"\r\n"
# RFC 2046 lets a transport pad a delimiter line with white space; nobody needs much of it.
_MAX_PADDING: Final = 64
_WHERE: Final = "header field of a part"


class MultipartError(Refusal, ValueError):
    """A multipart body is malformed, or ended too early.

    A handler that lets it out has it answered with its `status`: 400.
    """

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class _State(Enum):
    PREAMBLE = "before the first boundary"
    FIELDS = "in the header of a part"
    #: Behind the empty line: a delimiter may follow at once, for the empty line's CRLF counts as its own.
    BEGIN = "at the beginning of a part"
    BODY = "in a part"
    END = "behind the last boundary"


class MultipartParser:
    """The parts of one multipart body, whose bytes are fed in pieces of any size.

    Holds what was fed and not taken yet, and beyond that no more than one field line and one delimiter.  Once it has raised
    MultipartError it raises the same error again.
    """

    def __init__(self, boundary: bytes, *, max_field: int = 8190, max_fields: int = 128, in_part: bool = False) -> None:
        if not boundary:
            raise MultipartError("the boundary is empty")
        if len(boundary) > MAX_BOUNDARY:
            raise MultipartError(f"boundary {quote(boundary)} is too long ({MAX_BOUNDARY} bytes at most)")
        self._dashes = b"--" + boundary
        self._delimiter = _CRLF + self._dashes
        self._max_field = max_field
        self._max_fields = max_fields
        # As if a CRLF had come first: the first delimiter needs none, and neither does that of an empty part.
        self._buffer = bytearray(b"" if in_part else _CRLF)
        self._state = _State.BEGIN if in_part else _State.PREAMBLE
        self._fields: list[bytes] = []
        self._lines = 0
        # Bytes at the front that belong to the part at hand; -1 as long as nobody has looked.
        self._known = -1
        self._eof = False
        self._error: MultipartError | None = None

    @property
    def ended(self) -> bool:
        """Whether the last boundary was found.  Everything behind it is epilogue."""
        return self._state is _State.END

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        if self._state is not _State.END:
            self._buffer += data
            self._known = -1

    def feed_eof(self) -> None:
        """Take note that the body is over."""
        self._eof = True

    def next_fields(self) -> Fields | None:
        """Return the header fields of the next part; None: more bytes are needed, or `ended` says that there is none.

        The part before has to be taken to its end.  Raises MultipartError.
        """
        self._check()
        if self._state is _State.PREAMBLE and not self._skip_preamble():
            return None
        if self._state is _State.FIELDS:
            return self._read_fields()
        if self._state is _State.END:
            return None
        raise RuntimeError("the part before must be taken to its end first")

    def next_data(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes of the part, b"" once at its end, None: more are needed.  Raises MultipartError."""
        self._check()
        if self._state is _State.BEGIN and not self._begin():
            return None
        if self._state is _State.BODY:
            if self._known < 0:
                self._known = self._find_delimiter()
            if self._known:
                data = bytes(memoryview(self._buffer)[: min(self._known, limit)])
                del self._buffer[: len(data)]
                self._known -= len(data)
                return data
            if not self._buffer.startswith(self._delimiter) or not self._pass_delimiter(len(self._delimiter)):
                self._need_more()
                return None
        return b""

    @property
    def in_part(self) -> bool:
        """Whether the end of the part at hand has not been found yet."""
        return self._state is _State.BEGIN or self._state is _State.BODY

    # -- states ----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _fail(self, message: str) -> MultipartError:
        self._error = MultipartError(message)
        self._buffer.clear()
        self._fields.clear()
        return self._error

    def _need_more(self) -> None:
        if self._eof:
            if self._state is _State.PREAMBLE:
                raise self._fail(f"could not find the starting boundary {quote(self._dashes)}")
            raise self._fail(f"the multipart body ended {self._state.value}, before its last boundary")

    def _find_delimiter(self) -> int:
        """Return how many bytes at the front can not be of a delimiter."""
        buffer, delimiter = self._buffer, self._delimiter
        found = buffer.find(delimiter)
        if found >= 0:
            return found
        begun = buffer.rfind(b"\r", max(0, len(buffer) - len(delimiter) + 1))
        return begun if begun >= 0 and delimiter.startswith(buffer[begun:]) else len(buffer)

    def _skip_preamble(self) -> bool:
        while True:
            size = self._find_delimiter()
            del self._buffer[:size]
            if not self._buffer.startswith(self._delimiter):
                self._need_more()
                return False
            end = self._delimiter_end(len(self._delimiter))
            if end == 0:
                self._need_more()
                return False
            if end > 0:
                return self._pass_delimiter(len(self._delimiter))
            del self._buffer[: len(_CRLF)]  # a line that only begins like a delimiter

    def _begin(self) -> bool:
        """Tell whether it is known by now if the part is empty."""
        head = self._buffer[: len(self._dashes)]
        if head == self._dashes:
            if not self._pass_delimiter(len(self._dashes)):
                self._need_more()
                return False
        elif self._dashes.startswith(head) and not self._eof:
            return False
        else:
            self._state = _State.BODY
        return True

    def _delimiter_end(self, start: int) -> int:
        """Return where the line of the delimiter ends whose boundary ends at `start`; 0: more is needed, -1: it is none."""
        tail = bytes(self._buffer[start : start + _MAX_PADDING + 2])
        if tail.startswith(b"--"):
            return start + 2
        padding = tail.lstrip(b" \t")
        if padding.startswith(_CRLF):
            return start + len(tail) - len(padding) + 2
        incomplete = padding in (b"", b"\r") or tail == b"-"
        return 0 if incomplete and len(tail) - len(padding) <= _MAX_PADDING else -1

    def _pass_delimiter(self, start: int) -> bool:
        """Go on behind the delimiter that is at the front; False if its end is not known yet."""
        end = self._delimiter_end(start)
        if end < 0:
            raise self._fail(
                f"expected CRLF or -- behind boundary {quote(self._dashes)}, got {quote(self._line(start))}"
            )
        if end == 0:
            return False
        if self._buffer.startswith(b"--", start):
            self._state = _State.END
            self._buffer.clear()
        else:
            self._state = _State.FIELDS
            del self._buffer[:end]
        self._known = -1
        return True

    def _line(self, start: int) -> bytes:
        return bytes(self._buffer[start : start + _MAX_PADDING]).partition(b"\n")[0]

    def _read_fields(self) -> Fields | None:
        try:
            while True:
                end = line_end(self._buffer, 0, self._max_field, 400, _WHERE)
                if end < 0:
                    self._need_more()
                    return None
                line = bytes(self._buffer[: end - 2])
                del self._buffer[:end]
                if not line:
                    return self._take_fields()
                self._add_line(line)
        except MultipartError:
            raise
        except Refusal as refusal:
            raise self._fail(refusal.message) from None

    def _add_line(self, line: bytes) -> None:
        fields = self._fields
        self._lines += 1
        if self._lines > self._max_fields:
            raise self._fail(f"a part has more than {self._max_fields} header fields")
        if line[:1] not in (b" ", b"\t"):
            fields.append(line)
            return
        # Folded, as software does that also writes mail.
        if not fields:
            raise self._fail("the header of a part begins with a continuation line")
        fields[-1] = b"%b %b" % (fields[-1].rstrip(b" \t"), line.strip(b" \t"))
        if len(fields[-1]) > self._max_field:
            raise self._fail(f"{_WHERE} too long: at most {self._max_field} bytes are accepted")

    def _take_fields(self) -> Fields:
        fields = tuple([check_field_line(line, _WHERE) for line in self._fields])
        self._fields = []
        self._lines = 0
        self._state = _State.BEGIN
        return fields
