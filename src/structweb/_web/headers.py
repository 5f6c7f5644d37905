"""What the header of a request says, read lazily."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy, istr

from structweb._wire.conditional import ETag, parse_etags
from structweb._wire.cookies import parse_cookies
from structweb._wire.dates import parse_http_date
from structweb._wire.events import Head, HeaderBlock, HttpVersion, HttpVersion11
from structweb._wire.forwarded import parse_forwarded
from structweb._wire.media_type import parse_media_type
from structweb._wire.ranges import parse_range

#: What may be given as headers of a response or of a cloned request.
LooseHeaders = (
    Mapping[str, str] | Mapping[istr, str] | CIMultiDict[str] | CIMultiDictProxy[str] | Iterable[tuple[str | istr, str]]
)

# Names as `istr` are hashed and compared without lower-casing them each time.
ACCEPT_ENCODING: Final = istr("Accept-Encoding")
ACCEPT_RANGES: Final = istr("Accept-Ranges")
CONNECTION: Final = istr("Connection")
CONTENT_DISPOSITION: Final = istr("Content-Disposition")
CONTENT_ENCODING: Final = istr("Content-Encoding")
CONTENT_LENGTH: Final = istr("Content-Length")
CONTENT_RANGE: Final = istr("Content-Range")
CONTENT_TYPE: Final = istr("Content-Type")
COOKIE: Final = istr("Cookie")
DATE: Final = istr("Date")
ETAG: Final = istr("ETag")
EXPECT: Final = istr("Expect")
FORWARDED: Final = istr("Forwarded")
HOST: Final = istr("Host")
IF_MATCH: Final = istr("If-Match")
IF_MODIFIED_SINCE: Final = istr("If-Modified-Since")
IF_NONE_MATCH: Final = istr("If-None-Match")
IF_RANGE: Final = istr("If-Range")
IF_UNMODIFIED_SINCE: Final = istr("If-Unmodified-Since")
LAST_MODIFIED: Final = istr("Last-Modified")
RANGE: Final = istr("Range")
SERVER: Final = istr("Server")
SET_COOKIE: Final = istr("Set-Cookie")
TRANSFER_ENCODING: Final = istr("Transfer-Encoding")
UPGRADE: Final = istr("Upgrade")
VARY: Final = istr("Vary")
X_FORWARDED_FOR: Final = istr("X-Forwarded-For")
X_FORWARDED_HOST: Final = istr("X-Forwarded-Host")
X_FORWARDED_PROTO: Final = istr("X-Forwarded-Proto")


def vary_on(headers: CIMultiDict[str], name: str) -> None:
    """Have Vary tell caches that the response depends on the request's field `name` (RFC 9110 section 12.5.5)."""
    varying = {known.strip().lower() for value in headers.getall(VARY, ()) for known in value.split(",")}
    if not varying & {"*", name.lower()}:
        headers.add(VARY, name)


def block_of(headers: LooseHeaders, version: HttpVersion) -> HeaderBlock:
    """Return the given headers as if they had been received (but for the framing, which the connection knows)."""
    mapping = CIMultiDict(headers)
    length = mapping.get(CONTENT_LENGTH)
    options = {option.strip().lower() for value in mapping.getall(CONNECTION, ()) for option in value.split(",")}
    upgrade = ", ".join(mapping.getall(UPGRADE, ())) if "upgrade" in options and version == HttpVersion11 else ""
    return HeaderBlock(
        tuple((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in mapping.items()),
        content_length=None if length is None else int(length),
        host=mapping.get(HOST),
        expect=", ".join(mapping.getall(EXPECT, ())).lower() or None,
        upgrade=upgrade.lower() or None,
    )


class RequestHeaders:
    """The fields of a request and their meanings.  Everything is worked out when it is asked for."""

    _head: Head
    _cookies: Mapping[str, str] | None = None

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The header fields as a read-only, case-insensitive multidict; names keep the case they were sent in.

        Values are decoded as UTF-8; bytes that are not become surrogates.
        """
        return self._head.block.mapping

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header fields as pairs of bytes, in the order and case they were sent in."""
        return self._head.block.raw

    @property
    def content_type(self) -> str:
        """The media type of the body, lower-cased, without parameters; ``application/octet-stream`` if not given."""
        return parse_media_type(self.headers.get(CONTENT_TYPE)).value

    @property
    def charset(self) -> str | None:
        """The charset that Content-Type names, as sent; None if it names none."""
        return parse_media_type(self.headers.get(CONTENT_TYPE)).parameters.get("charset") or None

    @property
    def content_length(self) -> int | None:
        """The length of the body as declared by Content-Length; None if it is not declared."""
        return self._head.block.content_length

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies as a read-only mapping.  Malformed ones are left out; never raises."""
        cookies = self._cookies
        if cookies is None:
            cookies = self._cookies = parse_cookies("; ".join(self.headers.getall(COOKIE, ())))
        return cookies

    @property
    def if_match(self) -> tuple[ETag, ...] | None:
        """The entity tags of If-Match; None without that header."""
        return parse_etags(self.headers.get(IF_MATCH))

    @property
    def if_none_match(self) -> tuple[ETag, ...] | None:
        """The entity tags of If-None-Match; None without that header."""
        return parse_etags(self.headers.get(IF_NONE_MATCH))

    @property
    def if_modified_since(self) -> datetime | None:
        """The moment of If-Modified-Since, in UTC; None if there is no such header or it is malformed."""
        return parse_http_date(self.headers.get(IF_MODIFIED_SINCE))

    @property
    def if_unmodified_since(self) -> datetime | None:
        """The moment of If-Unmodified-Since, in UTC; None if there is no such header or it is malformed."""
        return parse_http_date(self.headers.get(IF_UNMODIFIED_SINCE))

    @property
    def if_range(self) -> datetime | None:
        """The moment of If-Range, in UTC; None if there is no such header or it has no date."""
        return parse_http_date(self.headers.get(IF_RANGE))

    @property
    def http_range(self) -> slice:
        """The range of bytes asked for; its last n bytes as ``slice(-n, None, 1)``, everything if none is asked for.

        Raises ValueError for more than one range, and for a malformed one.
        """
        return parse_range(self.headers.get(RANGE))

    @property
    def forwarded(self) -> tuple[Mapping[str, str], ...]:
        """What proxies wrote into Forwarded (RFC 7239), a read-only mapping each, the client's own proxy first.

        Trust it only behind a proxy of your own: `remote`, `host` and `scheme` do not look at it.
        """
        return parse_forwarded(self.headers.getall(FORWARDED, ()))
