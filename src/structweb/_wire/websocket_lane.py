"""The express lane of a WebSocket: a plain message, in or out, without wsproto.

The law of the lane: for every frame it takes, wsproto behind the guard gives the same event and is left in the same
state; from every other one it stays out.  It never answers an error, never guesses, never repairs.

It takes a data frame that is a whole message (FIN), has the shortest form of its length, is within the limits, is masked
if it comes from a client and only then, is UTF-8 if it is text, and is complete in the buffer.  It is asked only between
two messages, when wsproto holds no byte, so wsproto never misses what it takes.  A compressed one goes through the
windows that the guard has, so they miss nothing either; what comes out of there and is to be refused is left there.

A text that is not complete goes to wsproto piece by piece, so that bytes that are no UTF-8 end it at once.  A
binary frame has nothing to find out early: it waits, and is unmasked once, as a whole.
"""

import os
import sys
from struct import Struct
from typing import Final

from structweb._wire.websocket_events import Binary, Text
from structweb._wire.websocket_guard import Codec
from structweb._wire.websocket_limits import WebSocketLimits
from structweb._wire.websocket_mask import mask

TEXT: Final = 0x81
BINARY: Final = 0x82
#: The bit that a compressed message has in its first byte (RSV1, RFC 7692 section 6).
COMPRESSED: Final = 0x40

#: Two bytes, eight for the length, four for the key.
LONGEST_HEADER: Final = 14

_COMPRESSED_TEXT: Final = TEXT | COMPRESSED
_COMPRESSED_BINARY: Final = BINARY | COMPRESSED
_BINARIES: Final = (BINARY, _COMPRESSED_BINARY)

_HEADS: Final = {
    first: [bytes((first, size)) for size in range(126)]
    for first in (TEXT, BINARY, _COMPRESSED_TEXT, _COMPRESSED_BINARY)
}
_HEAD_16: Final = Struct("!BBH").pack
_HEAD_64: Final = Struct("!BBQ").pack


class Lane:
    """The lane of what one peer sends."""

    __slots__ = ("_codec", "_compressed", "_decode_text", "_least", "_limit", "_masked", "_most", "end")

    #: Where the frame that was taken last ends in its buffer.
    end: int

    def __init__(self, limits: WebSocketLimits, *, client: bool, decode_text: bool, codec: Codec | None = None) -> None:
        self._codec = codec
        #: First bytes of compressed messages, if there may be any.
        self._compressed = () if codec is None else (_COMPRESSED_TEXT, _COMPRESSED_BINARY)
        self._masked = not client
        self._least = 2 if client else 6
        self._most = sys.maxsize - 1 if limits.message is None else limits.message
        self._limit = min(self._most, sys.maxsize if limits.frame is None else limits.frame)
        self._decode_text = decode_text
        self.end = 0

    def take(self, data: bytes | bytearray, start: int) -> Text | Binary | None:
        """Return the message whose frame begins at `start`, or None when it is not complete or not plain."""
        held = len(data)
        if held - start < self._least:
            return None
        first = data[start]
        if first != TEXT and first != BINARY and first not in self._compressed:  # noqa: PLR1714  # twice as fast as `in`
            return None
        size = data[start + 1]
        if self._masked:
            size -= 128
            body = start + 6
        else:
            body = start + 2
        if 0 <= size < 126:
            end = body + size
        elif size == 126 and held >= body + 2:
            size = data[start + 2] << 8 | data[start + 3]
            body += 2
            end = body + size if size > 125 else -1
        else:
            body, size = self._measure(data, start)
            end = body + size
        if not body <= end <= held or size > self._limit:
            return None
        payload = mask(data[body:end], data[body - 4 : body]) if self._masked else bytes(data[body:end])
        event = self._message(first, payload)
        if event is not None:
            self.end = end
        return event

    def only(self, data: bytes) -> Text | Binary | None:
        """Return the message that `data` is, as `take` would, or None if it is not one frame, no byte more or less.

        For the masked frames below 64 KiB that clients send most; None for all others costs next to nothing.
        """
        size = len(data) - 6
        if size < 0 or not self._masked or size > self._limit + 2:
            return None
        length = data[1] & 127
        body = 6
        if length == 126:
            size -= 2
            if size < 126 or data[2] << 8 | data[3] != size:
                return None
            body = 8
        elif length != size or length == 127:  # 127 says that the length follows: it is none
            return None
        first = data[0]
        known = first == BINARY or first == TEXT or first in self._compressed  # noqa: PLR1714 - as in `take`
        if data[1] < 128 or size > self._limit or not known:
            return None
        payload = mask(data[body:], data[body - 4 : body])
        if first == BINARY:
            return Binary(payload)
        return self._message(first, payload)

    def _message(self, first: int, payload: bytes) -> Text | Binary | None:
        """Return the message that was sent as `payload`, or None if it is to be refused."""
        codec = self._codec if first in self._compressed else None
        if codec is not None:
            inflated = codec.inflate_whole(payload, self._most + 1)
            if inflated is None:
                return None
            payload = inflated
        if first in _BINARIES:
            return Binary(payload)
        if not self._decode_text:
            return Text(payload)
        try:
            return Text(payload.decode())
        except UnicodeDecodeError:
            if codec is not None:
                codec.found = [payload, b""]
            return None

    def waits(self, data: bytes | bytearray, start: int) -> bool:
        """Tell whether the frame that begins at `start` will be plain, whatever the bytes that are missing."""
        if data[start] != BINARY and (data[start] != TEXT or self._decode_text):
            return False
        body, size = self._measure(data, start)
        return 0 <= size <= self._limit and body + size > len(data)

    def _measure(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        """Return where the payload begins, and its size: -1 if the header is not complete or not plain."""
        body = start + self._least
        if len(data) < body:
            return body, -1
        size = data[start + 1]
        if (size > 127) is not self._masked:
            return body, -1
        size &= 127
        if size < 126:
            return body, size
        width, least = (2, 126) if size == 126 else (8, 1 << 16)
        body += width
        if len(data) < body:
            return body, -1
        size = int.from_bytes(data[start + 2 : start + 2 + width], "big")
        return body, size if size >= least else -1


def frame_size(header: bytes | bytearray) -> int | None:
    """Return the size of the frame that begins with `header`, or None if too little of it is there to tell."""
    if len(header) < 2:
        return None
    size = header[1] & 127
    head = 6 if header[1] > 127 else 2
    if size < 126:
        return head + size
    width = 2 if size == 126 else 8
    if len(header) < 2 + width:
        return None
    return head + width + int.from_bytes(header[2 : 2 + width], "big")


def server_frame(first: int, payload: bytes) -> bytes:
    """Return the frame that is a whole message of a server; `first` is TEXT or BINARY, which may be COMPRESSED."""
    size = len(payload)
    if size < 126:
        return _HEADS[first][size] + payload
    return (_HEAD_16(first, 126, size) if size < 1 << 16 else _HEAD_64(first, 127, size)) + payload


def plain_frame(first: int, payload: bytes, *, masked: bool) -> bytes:
    """Return the frame that is a whole message; `first` as for `server_frame`."""
    if not masked:
        return server_frame(first, payload)
    size = len(payload)
    # A fresh key from the system's entropy for each frame: section 5.3 wants it unpredictable.
    key = os.urandom(4)
    if size < 126:
        head = bytes((first, 128 | size))
    else:
        head = _HEAD_16(first, 254, size) if size < 1 << 16 else _HEAD_64(first, 255, size)
    return head + key + mask(payload, key)
