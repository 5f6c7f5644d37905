"""Multipart bodies as they arrive: `MultipartReader` gives parts, `BodyPartReader` reads one."""

import sys
from collections.abc import Mapping
from typing import ClassVar, Final, Protocol, Self

from multidict import CIMultiDict, CIMultiDictProxy

from structweb._web.headers import CONTENT_TYPE
from structweb._web.part import BodyPartReader, PartContent, let_others_run
from structweb._wire.media_type import parse_media_type
from structweb._wire.multipart import MultipartError, MultipartParser
from structweb._wire.strict import Fields

#: Multipart bodies inside of multipart bodies: mail has three or four.
MAX_DEPTH: Final = 16
#: The longest name of a charset that a _charset_ field may give; the longest there is has 19.
_MAX_CHARSET: Final = 31
#: Parts that are begun in a row without a wait: one piece from the network may have thousands of them.
_PARTS_IN_A_ROW: Final = 32


class CharsetFieldError(MultipartError, RuntimeError):
    """A form's field _charset_ names no charset."""


class NotMultipartError(MultipartError, AssertionError):
    """A body is no multipart body.

    A handler that lets it out has it answered with its `status`: 400.
    """


class Content(Protocol):
    """What a body is read from: a request's `StreamReader`, for instance."""

    async def readany(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        ...


def headers_of(fields: Fields) -> CIMultiDictProxy[str]:
    """Return the header of a part as a mapping, decoded as UTF-8; bytes that are not become surrogates."""
    return CIMultiDictProxy(
        CIMultiDict([(name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in fields])
    )


class MultipartReader:
    """The parts of a multipart body, one after the other, straight from the connection.

    Nothing is read ahead: memory stays flat however large the parts are.  `headers` say what the boundary is, `content` is
    what the body is read from.  `client_max_size` is how many bytes of a part its `read` returns at most; larger ones raise
    `max_size_error_cls`.  Raises `MultipartError` (a ValueError, answered with 400) for a malformed body, also when it is
    made: `NotMultipartError` (an AssertionError too) if the headers speak of something else.
    """

    #: What reads parts that are multipart bodies themselves; None for the reader's own class.
    multipart_reader_cls: "ClassVar[type[MultipartReader] | None]" = None
    #: What reads all other parts.
    part_reader_cls: ClassVar[type[BodyPartReader]] = BodyPartReader

    _depth = 1

    def __init__(
        self,
        headers: Mapping[str, str],
        content: Content,
        *,
        client_max_size: int = sys.maxsize,
        max_field_size: int = 8190,
        max_headers: int = 128,
        max_size_error_cls: type[Exception] = ValueError,
    ) -> None:
        header = headers.get(CONTENT_TYPE)
        media_type = parse_media_type(header)
        if not media_type.value.startswith("multipart/"):
            raise NotMultipartError(f"expected a multipart body, got Content-Type: {header}")
        boundary = media_type.parameters.get("boundary")
        if boundary is None:
            raise MultipartError(f"boundary missed for Content-Type: {header}")
        self.headers = headers
        self._boundary = boundary.encode("utf-8", "surrogateescape")
        self._parser = MultipartParser(self._boundary, max_field=max_field_size, max_fields=max_headers)
        self._subtype = media_type.value.removeprefix("multipart/")
        self._content = content
        self._client_max_size = client_max_size
        self._max_field_size = max_field_size
        self._max_headers = max_headers
        self._max_size_error_cls = max_size_error_cls
        self._default_charset: str | None = None
        self._part_content: PartContent | None = None
        self._at_eof = False
        self._parts_in_a_row = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "MultipartReader | BodyPartReader":
        part = await self.next()
        if part is None:
            raise StopAsyncIteration
        return part

    def at_eof(self) -> bool:
        """Tell whether the last boundary was found, and everything behind it skipped."""
        return self._at_eof

    async def next(self) -> "MultipartReader | BodyPartReader | None":
        """Return the next part, None behind the last one.  What is unread of the part before is skipped.

        The first field _charset_ of a form is not returned: it gives the charset of the parts behind it.
        """
        while (found := await self._next_head()) is not None:
            part = self._reader_of(*found)
            if not isinstance(part, BodyPartReader) or self._default_charset is not None:
                return part
            if self._subtype != "form-data" or part.name != "_charset_":
                return part
            await self._read_charset(part)
        return None

    async def fetch_next_part(self) -> "MultipartReader | BodyPartReader":
        """Return the next part as `next` does, a field _charset_ too.  Raises `MultipartError` if there is none."""
        found = await self._next_head()
        if found is None:
            raise MultipartError("expected one more part, the multipart body has ended")
        return self._reader_of(*found)

    async def release(self) -> None:
        """Read and forget everything that is left."""
        while await self._next_head() is not None:
            pass

    async def _read_charset(self, part: BodyPartReader) -> None:
        charset = bytearray()
        while piece := await part.read_chunk(_MAX_CHARSET + 1):
            charset += piece
            if len(charset) > _MAX_CHARSET:
                raise CharsetFieldError(f"the _charset_ field is longer than {_MAX_CHARSET} bytes")
        name = charset.strip().decode("ascii", "replace")
        if not name:
            raise CharsetFieldError("the _charset_ field is empty")
        self._default_charset = name

    async def _next_head(self) -> tuple[CIMultiDictProxy[str], PartContent] | None:
        self._parts_in_a_row += 1
        if self._parts_in_a_row > _PARTS_IN_A_ROW:
            self._parts_in_a_row = 0
            await let_others_run()
        if self._part_content is not None:
            await self._part_content.drop()
            self._part_content = None
        parser = self._parser
        while (fields := parser.next_fields()) is None:
            if parser.ended:
                await self._drop_epilogue()
                return None
            await self._feed()
        self._part_content = content = PartContent(parser, self._feed)
        return headers_of(fields), content

    async def _feed(self) -> None:
        data = await self._content.readany()
        if data:
            self._parser.feed(data)
        else:
            self._parser.feed_eof()

    async def _drop_epilogue(self) -> None:
        while not self._at_eof:
            self._at_eof = not await self._content.readany()

    def _reader_of(self, headers: CIMultiDictProxy[str], content: PartContent) -> "MultipartReader | BodyPartReader":
        if parse_media_type(headers.get(CONTENT_TYPE)).value.startswith("multipart/"):
            return self._nested_reader(headers, content)
        return self.part_reader_cls(
            b"--" + self._boundary,
            headers,
            content,
            subtype=self._subtype,
            default_charset=self._default_charset,
            client_max_size=self._client_max_size,
            max_size_error_cls=self._max_size_error_cls,
        )

    def _nested_reader(self, headers: CIMultiDictProxy[str], content: PartContent) -> "MultipartReader":
        if self._depth == MAX_DEPTH:
            raise MultipartError(f"multipart bodies are nested more than {MAX_DEPTH} deep")
        nested = (self.multipart_reader_cls or type(self))(
            headers,
            content,
            client_max_size=self._client_max_size,
            max_field_size=self._max_field_size,
            max_headers=self._max_headers,
            max_size_error_cls=self._max_size_error_cls,
        )
        nested._depth = self._depth + 1
        return nested
