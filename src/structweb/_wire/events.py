"""What the wire says: request heads, refusals, verdicts.  Plain values, no I/O."""

from enum import Enum
from typing import Final, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy


class HttpVersion(NamedTuple):
    """The version of an HTTP message, as in ``HTTP/major.minor``."""

    major: int
    minor: int


HttpVersion10: Final = HttpVersion(1, 0)
HttpVersion11: Final = HttpVersion(1, 1)


class HeaderBlock:
    """The field lines of one message, checked, immutable, shared by equal requests of a connection.

    `raw` holds the lines in wire order and wire case, without the white space around the values.
    """

    __slots__ = ("_mapping", "chunked", "content_length", "expect", "host", "keep_alive", "raw", "upgrade")

    raw: tuple[tuple[bytes, bytes], ...]
    #: The declared body length in bytes; None when there is no Content-Length.
    content_length: int | None
    #: True for ``Transfer-Encoding: chunked``.
    chunked: bool
    #: What the Connection options say: True for ``keep-alive``, False for ``close``, None for neither.
    keep_alive: bool | None
    #: The Host value as sent; None when there is none (HTTP/1.0).
    host: str | None
    #: The value of Expect, lower-cased; None when there is none.
    expect: str | None
    #: The protocol asked for by Upgrade, lower-cased, if Connection lists ``upgrade``; else None.
    upgrade: str | None

    def __init__(
        self,
        raw: tuple[tuple[bytes, bytes], ...],
        *,
        content_length: int | None = None,
        chunked: bool = False,
        keep_alive: bool | None = None,
        host: str | None = None,
        expect: str | None = None,
        upgrade: str | None = None,
    ) -> None:
        self.raw = raw
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.host = host
        self.expect = expect
        self.upgrade = upgrade
        self._mapping: CIMultiDictProxy[str] | None = None

    @property
    def mapping(self) -> CIMultiDictProxy[str]:
        """The fields as a read-only case-insensitive multidict, decoded as UTF-8 with surrogateescape."""
        mapping = self._mapping
        if mapping is None:
            mapping = self._mapping = CIMultiDictProxy(
                CIMultiDict(
                    [(name.decode("ascii"), value.decode("utf-8", "surrogateescape")) for name, value in self.raw]
                )
            )
        return mapping


class Head:
    """A request head that passed every check of RFC 9112 and of the limits."""

    __slots__ = ("block", "keep_alive", "method", "target", "version")

    #: The method token, as sent.
    method: str
    #: The request target, as sent (ASCII).
    target: str
    version: HttpVersion
    block: HeaderBlock
    #: Whether the peer lets the connection live on after this exchange.
    keep_alive: bool

    def __init__(self, method: str, target: str, version: HttpVersion, block: HeaderBlock) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.block = block
        asked = block.keep_alive
        self.keep_alive = version == HttpVersion11 if asked is None else asked

    def __repr__(self) -> str:
        return f"<Head {self.method} {self.target} HTTP/{self.version.major}.{self.version.minor}>"


class Refusal(Exception):
    """Bytes that are no acceptable request: answer with `status` (a 4xx) and close the connection."""

    #: Whether they begin as no HTTP request does: another protocol, or a scan of the port.
    foreign: bool

    def __init__(self, status: int, message: str, *, foreign: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.foreign = foreign


class Verdict(Enum):
    """What becomes of a connection at the end of an exchange."""

    #: Ready for the next request.
    RECYCLE = "recycle"
    #: No further request may be read.
    CLOSE = "close"
