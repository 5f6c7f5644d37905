"""The form that a request brings: `Request.post` and `Request.multipart`."""

import sys
from typing import TYPE_CHECKING, ClassVar, Final

from multidict import MultiDict, MultiDictProxy

from structweb._web.errors import HTTPRequestEntityTooLarge
from structweb._web.headers import CONTENT_TYPE, RequestHeaders
from structweb._web.multipart import Content, MultipartReader
from structweb._web.part import BodyPartReader, let_others_run
from structweb._web.uploads import FileField, Uploads, rewind, write_to
from structweb._wire.events import Refusal
from structweb._wire.media_type import OCTET_STREAM
from structweb._wire.multipart import MultipartError
from structweb._wire.urlencoded import TooManyFieldsError, parse_form_in_steps

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.content import StreamReader

#: The value of a field: text, a file, or bytes that the client calls neither.
FormValue = str | bytearray | FileField
Form = MultiDictProxy[FormValue]

_URLENCODED: Final = "application/x-www-form-urlencoded"
_FORM_DATA: Final = "multipart/form-data"
#: Bytes of a file that are taken at a time: each of them may cost a hop to a worker thread.
_PIECE: Final = 2**16
_HALF_READ: Final = "the form cannot be read: an earlier post() was cancelled half-way, or is under way"
# Their decoders take time that grows with the square of the length.
_SLOW_CHARSETS: Final = frozenset({"idna", "punycode"})


class FormError(Refusal, ValueError):
    """A form cannot be read.

    A handler that lets it out has it answered with its `status`: 400.
    """

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class LimitedContent:
    """A body that is refused as soon as more than `limit` bytes of it (0: no limit) have arrived."""

    __slots__ = ("_content", "_limit", "_size")

    def __init__(self, content: Content, limit: int) -> None:
        self._content = content
        self._limit = limit
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether something was taken that cannot be read again."""
        return self._size > 0 and not isinstance(self._content, ReadContent)

    async def readany(self) -> bytes:
        """Return the next bytes, b"" at the end.  Raises `HTTPRequestEntityTooLarge`."""
        data = await self._content.readany()
        self._size += len(data)
        if 0 < self._limit < self._size:
            raise HTTPRequestEntityTooLarge(self._limit, self._size)
        return data


class ReadContent:
    """A body that was read before."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def readany(self) -> bytes:
        """Return everything the first time, then b""."""
        data, self._data = self._data, b""
        return data


class RequestForms(RequestHeaders):
    """Forms and multipart bodies: a part of what requests can do."""

    #: The methods whose body `post` parses.
    POST_METHODS: ClassVar[frozenset[str]] = frozenset({"PATCH", "POST", "PUT", "TRACE", "DELETE"})

    _exchange: "Exchange"
    _client_max_size: int
    _client_max_fields: int
    _read_bytes: bytes | None = None
    _post: Form | None = None
    _post_error: Exception | None = None
    _uploads: Uploads | None = None

    if TYPE_CHECKING:  # of the request itself

        @property
        def content(self) -> StreamReader:
            """The body as a stream."""
            ...

        async def read(self) -> bytes:
            """Return the whole body."""
            ...

    async def post(self) -> Form:
        """Return the fields of the form that the body is; again and again, for they are kept.

        A field is text, a `FileField` if it has a file name, or a bytearray if it is of another type.  The multidict is
        empty for a method that is not one of `POST_METHODS`, and for a body that is no form; a body whose type is not told
        is taken for an urlencoded one.  Files are closed when the request ends.

        Raises `HTTPRequestEntityTooLarge` for more than `client_max_size` bytes or `client_max_fields` fields, and
        `FormError` or `MultipartError` (ValueErrors, answered with 400) for a form that cannot be read, RuntimeError if an
        earlier call was cancelled with half of a multipart form read.
        """
        form = self._post
        if form is None:
            if self._post_error is not None:
                raise self._post_error
            try:
                form = self._post = MultiDictProxy(await self._read_form())
            except (Refusal, HTTPRequestEntityTooLarge) as error:
                self._post_error = error  # half of the body is gone: it cannot be tried again
                raise
        return form

    async def multipart(self) -> MultipartReader:
        """Return a reader of the parts of a multipart body, which reads as they are asked for: for large uploads.

        `client_max_size` counts for each part that is read as a whole.  Raises `NotMultipartError` (an AssertionError) and
        `MultipartError` (a ValueError), which are answered with 400.
        """
        return self._multipart_reader(self._unread_content())

    async def _read_form(self) -> MultiDict[FormValue]:
        content_type = self.content_type
        if self._head.method not in self.POST_METHODS:
            return MultiDict()
        if content_type == _URLENCODED or CONTENT_TYPE not in self.headers:
            return await _read_urlencoded(self)
        if content_type != _FORM_DATA:
            return MultiDict()
        limit, length = self._client_max_size, self._exchange.head.block.content_length
        if length is not None and 0 < limit < length:
            raise HTTPRequestEntityTooLarge(limit, length)
        uploads = Uploads()
        content = LimitedContent(self._unread_content(), limit)
        self._post_error = RuntimeError(_HALF_READ)
        try:
            form = await _read_multipart(self._multipart_reader(content), self._client_max_fields, uploads)
        except BaseException as error:
            uploads.close()
            if not content.begun:
                self._post_error = None
            elif isinstance(error, Exception):
                self._post_error = error
            raise
        self._post_error = None
        self._shared_uploads().take(uploads)
        return form

    def _multipart_reader(self, content: Content) -> MultipartReader:
        limits = self._exchange.config.limits
        return MultipartReader(
            self.headers,
            content,
            client_max_size=self._client_max_size or sys.maxsize,
            max_field_size=limits.field,
            max_headers=limits.fields,
            max_size_error_cls=HTTPRequestEntityTooLarge,
        )

    def _unread_content(self) -> Content:
        return self.content if self._read_bytes is None else ReadContent(self._read_bytes)

    def _shared_uploads(self) -> Uploads:
        """Return the files of this request and of its copies: they end together."""
        uploads = self._uploads
        if uploads is None:
            uploads = self._uploads = Uploads()
        return uploads

    def _form_state(self) -> dict[str, object]:
        """Return what a copy of the request shares with it."""
        return {"_post": self._post, "_uploads": self._shared_uploads()}


def _decoded(data: bytes | bytearray, charset: str) -> str:
    _check_charset(charset)
    try:
        return data.decode(charset)
    except UnicodeDecodeError as exc:
        raise FormError(f"a form field is no text in {charset}: {exc.reason} at byte {exc.start}") from None


def _check_charset(charset: str) -> None:
    try:
        "x".encode(charset)  # complains about codecs that make no text, too
    except (LookupError, ValueError):
        known = False
    else:
        known = charset.lower().replace("_", "-") not in _SLOW_CHARSETS
    if not known:
        raise FormError(f"unknown charset of a form: {charset[:40]!r}")


async def _read_urlencoded(request: "RequestForms") -> MultiDict[FormValue]:
    body = await request.read()
    charset = request.charset or "utf-8"
    _check_charset(charset)
    try:
        pairs: list[tuple[str, str]] = []
        for _ in parse_form_in_steps(body, charset, request._client_max_fields, pairs):
            await let_others_run()
        return MultiDict(pairs)
    except TooManyFieldsError as exc:
        raise _too_many(request._client_max_fields) from exc
    except UnicodeDecodeError as exc:
        raise FormError(f"the form is no text in {charset}: {exc.reason} at byte {exc.start}") from None


def _too_many(max_fields: int) -> HTTPRequestEntityTooLarge:
    return HTTPRequestEntityTooLarge(max_fields, text=f"Maximum number of form fields {max_fields} exceeded.")


async def _read_multipart(reader: MultipartReader, max_fields: int, uploads: Uploads) -> MultiDict[FormValue]:
    form: MultiDict[FormValue] = MultiDict()
    while (part := await reader.next()) is not None:
        if 0 < max_fields <= len(form):
            raise _too_many(max_fields)
        if not isinstance(part, BodyPartReader):
            raise MultipartError("a form must not have multipart fields: read it with request.multipart()")
        if part.name is None:
            raise MultipartError("a form field has no name")
        form.add(part.name, await (_read_file(part, uploads) if part.filename else _read_field(part)))
    return form


async def _read_field(part: BodyPartReader) -> str | bytearray:
    data = bytearray()
    while chunk := await part.read_chunk(_PIECE):
        data += chunk
    data = bytearray(part.decode(data))
    content_type = part.headers.get(CONTENT_TYPE)
    if content_type is None or content_type.lower().startswith("text/"):
        return _decoded(data, part.get_charset("utf-8"))
    return data


async def _read_file(part: BodyPartReader, uploads: Uploads) -> FileField:
    file = uploads.open()
    size = 0
    while chunk := await part.read_chunk(_PIECE):
        data = part.decode(chunk)
        await write_to(file, data, size)
        size += len(data)
    await rewind(file, size)
    content_type = part.headers.get(CONTENT_TYPE, OCTET_STREAM)
    return FileField(part.name or "", part.filename or "", file, content_type, part.headers)
