"""Content codings: which one a client takes, and encoders for them (RFC 9110 sections 8.4 and 12.5.3)."""

import zlib
from collections.abc import Iterable
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, Final, Protocol

from structweb._wire.accept import coding_weights

Bytes = bytes | bytearray | memoryview


class ContentCoding(Enum):
    """A way to compress a body."""

    deflate = "deflate"
    gzip = "gzip"
    #: Not compressed.
    identity = "identity"
    #: Brotli; needs the extra ``brotli``.
    br = "br"
    #: Zstandard; needs the extra ``zstd`` before Python 3.14.
    zstd = "zstd"


class MissingCodingError(ImportError):
    """A coding needs a package that is not installed; the message says which one."""

    def __init__(self, coding: ContentCoding) -> None:
        extra = "brotli" if coding is ContentCoding.br else "zstd"
        super().__init__(
            f"coding {coding.value!r} needs a package that is not installed: pip install structweb[{extra}]"
        )
        self.coding = coding


class Encoder(Protocol):
    """Compresses one body, piece by piece."""

    def compress(self, data: Bytes) -> bytes:
        """Take a piece; return what is ready, which may be nothing."""

    def flush(self) -> bytes:
        """Return what is missing for decoding all that was taken."""

    def finish(self) -> bytes:
        """Return the rest, with the end."""


#: Where the packages are, in the order in which they are looked for.
_MODULES: Final = {
    ContentCoding.br: ("brotli", "brotlicffi"),
    ContentCoding.zstd: ("compression.zstd", "backports.zstd"),
}
# What the client likes equally well is chosen in this order: the better ratio for the same time first.
_PREFERENCE: Final = (ContentCoding.zstd, ContentCoding.br, ContentCoding.gzip, ContentCoding.deflate)
# The level at which Brotli compresses as fast as zlib does; its own default of 11 is for files.
_BROTLI_QUALITY: Final = 5


@cache
def coding_module(coding: ContentCoding) -> Any:  # Any: third-party modules without complete types
    """Return the package behind a coding.  Raises `MissingCodingError` if it is not installed."""
    for name in _MODULES[coding]:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise MissingCodingError(coding)


def is_available(coding: ContentCoding) -> bool:
    """Tell whether what a coding needs is installed."""
    if coding not in _MODULES:
        return True
    try:
        coding_module(coding)
    except ImportError:
        return False
    return True


def available_codings() -> tuple[ContentCoding, ...]:
    """Return the codings that can be used here, the best first, without identity."""
    return tuple(coding for coding in _PREFERENCE if is_available(coding))


def known_coding(value: str) -> ContentCoding | None:
    """Return the coding that a Content-Encoding names; None for none, for several, and for one that nobody knows."""
    name = value.strip().lower()
    if name == "x-gzip":
        return ContentCoding.gzip
    try:
        coding = ContentCoding(name)
    except ValueError:
        return None
    return None if coding is ContentCoding.identity else coding


def choose_coding(accepted: Iterable[str]) -> ContentCoding:
    """Return the coding that fits the values of Accept-Encoding best, identity if none does.

    Malformed elements do not count.  A client that takes nothing at all gets identity too: better than no answer.
    """
    weights = coding_weights(",".join(accepted))
    if not weights:
        return ContentCoding.identity
    anything = weights.get("*", 0.0)
    best, best_weight = ContentCoding.identity, weights.get("identity", 0.0)
    for coding in available_codings():
        weight = weights.get(coding.value, anything)
        if weight > best_weight or (weight == best_weight > 0 and best is ContentCoding.identity):
            best, best_weight = coding, weight
    return best


class _ZlibEncoder:
    __slots__ = ("_engine",)

    def __init__(self, wbits: int, strategy: int) -> None:
        self._engine = zlib.compressobj(wbits=wbits, strategy=strategy)

    def compress(self, data: Bytes) -> bytes:
        return self._engine.compress(data)

    def flush(self) -> bytes:
        return self._engine.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._engine.flush()


class _BrotliEncoder:
    __slots__ = ("_engine",)

    def __init__(self) -> None:
        self._engine = coding_module(ContentCoding.br).Compressor(quality=_BROTLI_QUALITY)

    def compress(self, data: Bytes) -> bytes:
        out: bytes = self._engine.process(bytes(data))
        return out

    def flush(self) -> bytes:
        out: bytes = self._engine.flush()
        return out

    def finish(self) -> bytes:
        out: bytes = self._engine.finish()
        return out


class _ZstdEncoder:
    __slots__ = ("_engine",)

    def __init__(self) -> None:
        self._engine = coding_module(ContentCoding.zstd).ZstdCompressor()

    def compress(self, data: Bytes) -> bytes:
        out: bytes = self._engine.compress(data)
        return out

    def flush(self) -> bytes:
        out: bytes = self._engine.flush(self._engine.FLUSH_BLOCK)
        return out

    def finish(self) -> bytes:
        out: bytes = self._engine.flush(self._engine.FLUSH_FRAME)
        return out


def make_encoder(coding: ContentCoding, strategy: int | None = None) -> Encoder:
    """Return an encoder; `strategy` is one of zlib's, and means nothing to the other codings.

    Raises `MissingCodingError` if its package is not installed, ValueError for identity.
    """
    match coding:
        case ContentCoding.gzip | ContentCoding.deflate:
            wbits = 16 + zlib.MAX_WBITS if coding is ContentCoding.gzip else zlib.MAX_WBITS
            return _ZlibEncoder(wbits, zlib.Z_DEFAULT_STRATEGY if strategy is None else strategy)
        case ContentCoding.br:
            return _BrotliEncoder()
        case ContentCoding.zstd:
            return _ZstdEncoder()
    raise ValueError("identity is no compression: expected another coding")
