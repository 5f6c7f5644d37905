"""How the body of a part is encoded: Content-Transfer-Encoding and Content-Encoding."""

import base64
import binascii
import zlib
from typing import Final

from structweb._wire.codings import ContentCoding
from structweb._wire.decoders import Decoder, make_decoder
from structweb._wire.multipart import MultipartError

_BASE64: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_NOT_BASE64: Final = bytes(sorted(set(range(256)) - _BASE64))
_VERBATIM: Final = ("", "binary", "8bit", "7bit")


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
    # As text, lines stay lines; but they are all given the end that the first one has.
    alike = data.count(b"\r\n") in (0, data.count(b"\n"))
    return binascii.b2a_qp(data, istext=alike)


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


def part_decoder(encoding: str) -> Decoder:
    """Return what takes the Content-Encoding (lower-cased) of a part away.

    Raises UnknownEncodingError for others than ``gzip`` and ``deflate``, which are those that senders of parts know.
    """
    if encoding not in ("gzip", "deflate"):
        raise UnknownEncodingError(f"unknown content encoding: {encoding}")
    return make_decoder(ContentCoding(encoding))


def deflater(encoding: str) -> "zlib._Compress":
    """Return what compresses a part with ``gzip`` or ``deflate``, the latter without a frame as aiohttp wants it."""
    return zlib.compressobj(wbits=16 + zlib.MAX_WBITS if encoding == "gzip" else -zlib.MAX_WBITS)
