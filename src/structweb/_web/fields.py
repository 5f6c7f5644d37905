"""The header of a response: its fields, and the ones that have attributes."""

from datetime import datetime

from multidict import CIMultiDict

from structweb._web.headers import CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED
from structweb._wire.conditional import ETag, format_etag, parse_etag
from structweb._wire.dates import format_http_date, parse_http_date
from structweb._wire.media_type import OCTET_STREAM, MediaType, format_media_type, parse_media_type


class ResponseHeaders:
    """The fields of a response, as a multidict and as attributes."""

    _headers: CIMultiDict[str] | None = None
    _chunked: bool = False

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields.  The server's own (Date, Server, framing) are there once it is being prepared."""
        if self._headers is None:
            self._headers = CIMultiDict()
        return self._headers

    @property
    def chunked(self) -> bool:
        """Whether `enable_chunked_encoding` was called."""
        return self._chunked

    def enable_chunked_encoding(self) -> None:
        """Send the body in chunks, although its length may be known.  That is also how a body of unknown length goes.

        Raises RuntimeError if Content-Length is set.  An HTTP/1.0 client cannot have it: `prepare` fails then.
        """
        if CONTENT_LENGTH in self.headers:
            raise RuntimeError("a response with a Content-Length cannot be chunked: remove one of them")
        self._chunked = True

    @property
    def content_length(self) -> int | None:
        """The length of the body as Content-Length says; None if it is not known."""
        value = self.headers.get(CONTENT_LENGTH)
        return None if value is None else int(value)

    @content_length.setter
    def content_length(self, value: int | None) -> None:
        if value is None:
            self.headers.pop(CONTENT_LENGTH, None)
        elif self._chunked:
            raise RuntimeError("a chunked response cannot have a Content-Length: remove one of them")
        else:
            self.headers[CONTENT_LENGTH] = str(int(value))

    @property
    def content_type(self) -> str:
        """The media type, lower-cased, without parameters; ``application/octet-stream`` if none is set."""
        return self._media_type().value

    @content_type.setter
    def content_type(self, value: str) -> None:
        self.headers[CONTENT_TYPE] = format_media_type(MediaType(str(value), self._media_type().parameters))

    @property
    def charset(self) -> str | None:
        """The charset of the Content-Type; None if it has none."""
        return self._media_type().parameters.get("charset")

    @charset.setter
    def charset(self, value: str | None) -> None:
        media_type = self._media_type()
        if media_type.value == OCTET_STREAM:
            raise RuntimeError(f"{OCTET_STREAM} has no charset: set content_type first")
        parameters = dict(media_type.parameters)
        parameters.pop("charset", None)
        if value is not None:
            parameters["charset"] = str(value).lower()
        self.headers[CONTENT_TYPE] = format_media_type(MediaType(media_type.value, parameters))

    def _media_type(self) -> MediaType:
        return parse_media_type(self.headers.get(CONTENT_TYPE))

    @property
    def last_modified(self) -> datetime | None:
        """The moment of Last-Modified, in UTC.  Takes seconds, a datetime (both round up), text, or None."""
        return parse_http_date(self.headers.get(LAST_MODIFIED))

    @last_modified.setter
    def last_modified(self, value: float | datetime | str | None) -> None:
        if value is None:
            self.headers.pop(LAST_MODIFIED, None)
        elif isinstance(value, str):
            self.headers[LAST_MODIFIED] = value
        elif isinstance(value, int | float | datetime):
            self.headers[LAST_MODIFIED] = format_http_date(value)
        else:
            raise TypeError(f"last_modified must be seconds, a datetime, a str or None, got {value!r}")

    @property
    def etag(self) -> ETag | None:
        """The entity tag of the ETag header.  Takes a str for a strong one, an `ETag`, or None."""
        return parse_etag(self.headers.get(ETAG))

    @etag.setter
    def etag(self, value: ETag | str | None) -> None:
        if value is None:
            self.headers.pop(ETAG, None)
            return
        tag = ETag(value) if isinstance(value, str) else value
        if not isinstance(tag, ETag):
            raise ValueError(f"etag must be a str, an ETag or None, got {value!r}")
        self.headers[ETAG] = format_etag(tag)
