"""How the body of a part is encoded: Content-Transfer-Encoding and Content-Encoding."""

import base64
import binascii
import zlib
from collections.abc import Iterator
from typing import Final

from structweb._wire.multipart import MultipartError

_BASE64: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_NOT_BASE64: Final = bytes(sorted(set(range(256)) - _BASE64))
_VERBATIM: Final = ("", "binary", "8bit", "7bit")
#: Either header of zlib's format: its first byte, for a window of up to 32 KiB.
_ZLIB: Final = frozenset(range(0x08, 0x80, 0x10))


class UnknownEncodingError(MultipartError, RuntimeError):
    """A part is encoded in a way that nobody knows.

    A handler that lets it out has it answered with its `status`: 400.
    """


def transfer_decode(data: bytes, encoding: str) -> bytes:
    """Return `data` without its Content-Transfer-Encoding (lower-cased).

    Raises UnknownEncodingError, and MultipartError for base64 that is none.
    """
    if encoding in _VERBATIM:
        return data
    if encoding == "base64":
        try:
            return base64.b64decode(data)
        except binascii.Error as exc:
            raise MultipartError(f"bad base64 in a part: {exc}") from None
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    raise UnknownEncodingError(f"unknown content transfer encoding: {encoding}")


def transfer_encode(data: bytes, encoding: str) -> bytes:
    """Return `data` in ``base64`` or ``quoted-printable``; call it with multiples of 57 bytes, or everything."""
    if encoding == "base64":
        return base64.encodebytes(data).replace(b"\n", b"\r\n")
    return binascii.b2a_qp(data)


def whole_length(data: bytes, encoding: str) -> int:
    """Return how many bytes at the front of `data` can be decoded without what follows."""
    if encoding == "base64":
        surplus = len(data.translate(None, _NOT_BASE64)) % 4
        end = len(data)
        while surplus:
            end -= 1
            surplus -= data[end] in _BASE64
        return end
    if encoding == "quoted-printable":
        # Up to the last line, if it ends in something that may turn out to be a soft break or half an escape.
        escape = data.rfind(b"=", max(0, len(data) - 2))
        return len(data) if escape < 0 else escape
    return len(data)


class Inflater:
    """Takes gzip or deflate away from a stream of bytes, no more than `piece` decoded bytes at a time."""

    def __init__(self, encoding: str, piece: int) -> None:
        if encoding not in ("gzip", "deflate"):
            raise UnknownEncodingError(f"unknown content encoding: {encoding}")
        self._encoding = encoding
        self._piece = piece
        self._stream: zlib._Decompress | None = None

    def _fresh(self, data: bytes) -> "zlib._Decompress":
        if self._encoding == "gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # Many senders leave out the frame that deflate should have.
        return zlib.decompressobj(zlib.MAX_WBITS if data[0] in _ZLIB else -zlib.MAX_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` adds.  Raises MultipartError for data that is not in this encoding."""
        more = False
        while data or more:
            if self._stream is None or self._stream.eof:
                if not data:
                    return
                self._stream = self._fresh(data)
            try:
                decoded = self._stream.decompress(data, self._piece)
            except zlib.error as exc:
                raise MultipartError(f"bad {self._encoding} data in a part: {exc}") from None
            if decoded:
                yield decoded
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            more = len(decoded) == self._piece

    @property
    def complete(self) -> bool:
        """Whether the data did not break off."""
        return self._stream is None or self._stream.eof


def deflater(encoding: str) -> "zlib._Compress":
    """Return what compresses a part with ``gzip`` or ``deflate``, the latter without a frame as aiohttp wants it."""
    return zlib.compressobj(wbits=16 + zlib.MAX_WBITS if encoding == "gzip" else -zlib.MAX_WBITS)
