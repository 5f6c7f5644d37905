"""What wsproto does not do, as one of its extensions: caps, bounded inflating, deflating, and a close code it is too old for.

wsproto 1.3 has no limit on messages, inflates without bound and decodes every text.  It calls an extension for the
header and for the payload of every frame, before it looks at the payload itself: there the guard refuses, with
a close code, and keeps in `words` what wsproto has no words for.
"""

import sys
import zlib
from io import BytesIO
from typing import Any, Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from structweb._wire.websocket_deflate import DeflateParameters
from structweb._wire.websocket_limits import WebSocketLimits

_TAIL: Final = b"\x00\x00\xff\xff"
#: Deflate streams that may end within a message: each costs us an engine, and an honest peer ends one at most.
_STREAMS: Final = 16
#: Registered since (1014, Bad Gateway), and what wsproto gets to see for it.
_BAD_GATEWAY: Final = (1014).to_bytes(2, "big")
_STAND_IN: Final = (1013).to_bytes(2, "big")

_DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION)


class Guard(Extension):
    """Watches the frames of one WebSocket.

    With ``decode_text=False`` it keeps the bytes of text messages (`take_raw`), and wsproto sees them empty.
    """

    name = "structweb-guard"

    def __init__(
        self, limits: WebSocketLimits, deflate: DeflateParameters | None, *, client: bool, decode_text: bool
    ) -> None:
        self._message = sys.maxsize - 1 if limits.message is None else limits.message
        self._frame = sys.maxsize if limits.frame is None else limits.frame
        self._fragments = sys.maxsize if limits.fragments is None else limits.fragments
        self._decode_text = decode_text
        #: What was wrong, when a method returned a close code.
        self.words = ""
        # The bytes of the text message that arrives, with ``decode_text=False``.
        self._raw = BytesIO()
        #: Whether the close frame said 1014, which wsproto saw as 1013.
        self.bad_gateway = False
        # The opcode of the current frame; of the current message: whether it has begun and is not complete, its frames
        # and bytes so far (inflated, and as they came), and whether it is compressed, or kept here.
        self._opcode = Opcode.BINARY
        self._begun = False
        self._seen = 0
        self._size = 0
        self._wire_size = 0
        self._compressed = False
        self._keep = False
        #: The windows of permessage-deflate, or None.
        self.codec = None if deflate is None else Codec(deflate, client=client)
        #: Whether the message to send next is to be compressed; or the bits of a window for it alone.
        self.compress: bool | int = False

    def enabled(self) -> bool:
        """Tell wsproto that the guard is always at work."""
        return True

    def offer(self) -> bool | str:  # pragma: no cover  # wsproto asks in its handshake, which is not ours
        """Offer nothing."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Check a frame before its payload.  wsproto may ask twice for one frame, when its mask is late."""
        self._opcode = opcode
        if opcode.iscontrol():
            return RsvBits(False, False, False)
        # wsproto refuses these, too, but only after the payload: that might be refused for something else by then,
        # or not, as it comes in one piece or in two.
        if self._begun is not (opcode is Opcode.CONTINUATION):
            expected, got = ("the next fragment", "a new message") if self._begun else ("a new message", "a fragment")
            self.words = f"expected {expected}, got {got}"
            return CloseReason.PROTOCOL_ERROR
        if opcode is not Opcode.CONTINUATION:
            self._seen = self._size = self._wire_size = 0
            self._compressed = rsv.rsv1 and self.codec is not None
            self._keep = opcode is Opcode.TEXT and not self._decode_text
        if payload_length > self._frame:
            return self._too_big(f"frame of {payload_length} bytes exceeds {self._frame}")
        size = self._wire_size + payload_length
        # What does not compress grows by 5 bytes in 16 KiB, and what inflates to nothing must end as well.
        bound = self._message + (self._message >> 10) + 1024 if self._compressed else self._message
        if size > bound:
            return self._too_big(f"message of {size} bytes exceeds {self._message}")
        if self._seen >= self._fragments:
            self.words = f"message of more than {self._fragments} frames"
            return CloseReason.POLICY_VIOLATION
        return RsvBits(self.codec is not None and opcode is not Opcode.CONTINUATION, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Return what a piece of a frame means, and count it."""
        if self._opcode.iscontrol():
            if self._opcode is Opcode.CLOSE and data[:2] == _BAD_GATEWAY:
                self.bad_gateway = True
                return _STAND_IN + data[2:]
            return data
        self._wire_size += len(data)
        return self._meaning(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """Return what only the end of a message brings to light."""
        if self._opcode.iscontrol():
            return None
        self._begun = not fin
        self._seen += 1
        return self._meaning(None) if fin and self._compressed else None

    def take_raw(self) -> bytes:
        """Return the whole text message that arrived, with ``decode_text=False``."""
        raw = self._raw.getvalue()
        self._raw = BytesIO()
        return raw

    @property
    def size(self) -> int:
        """How many bytes of the current message there are."""
        return self._size

    def _meaning(self, data: bytes | None) -> bytes | CloseReason:
        """Return what a piece of a message stands for; or, given None, its end."""
        if self._compressed and self.codec is not None:
            limit = self._message - self._size + 1
            try:
                data = self.codec.finish(limit) if data is None else self.codec.inflate(data, limit)
            except zlib.error as exc:
                self.words = f"message cannot be inflated: {exc}"
                return CloseReason.INVALID_FRAME_PAYLOAD_DATA
            if len(data) >= limit:
                return self._too_big(f"message inflates to more than {self._message} bytes")
        data = data or b""
        self._size += len(data)
        if self._keep:
            self._raw.write(data)
            return b""
        return data

    def _too_big(self, words: str) -> CloseReason:
        self.words = words
        return CloseReason.MESSAGE_TOO_BIG

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """Compress a message that goes out, if it is to be.  A message is one frame here."""
        if self.codec is None or not self.compress or opcode not in _DATA:
            return rsv, data
        deflated = self.codec.deflate(data, self.compress)
        return (rsv, data) if deflated is None else (RsvBits(True, rsv.rsv2, rsv.rsv3), deflated)


class Codec:
    """The two windows of permessage-deflate.  Each is made when it is first needed: most peers never compress."""

    __slots__ = ("_bits", "_deflater", "_forget_ours", "_forget_theirs", "_inflater", "_streams", "found")

    def __init__(self, parameters: DeflateParameters, *, client: bool) -> None:
        ours, theirs = parameters.server_no_context_takeover, parameters.client_no_context_takeover
        self._bits = parameters.server_max_window_bits
        if client:
            ours, theirs = theirs, ours
            self._bits = parameters.client_max_window_bits
        self._forget_ours = ours
        self._forget_theirs = theirs
        # Any: the types of zlib's engines have no public names
        self._deflater: Any = None  # Any: as above
        self._inflater: Any = None  # Any: as above
        self._streams = 0
        #: What `inflate` and `finish` have next, of a message that `inflate_whole` was given before; errors are raised.
        self.found: list[bytes | zlib.error] = []

    def inflate_whole(self, data: bytes, limit: int) -> bytes | None:
        """Return the message that `data` stands for; None if it has `limit` bytes or more, or cannot be inflated.

        Then the next `inflate` of the same data, and the `finish` behind it, give out or raise what was found.
        """
        found: list[bytes | zlib.error] = []
        try:
            out = self.inflate(data, limit)
            found.append(out)
            if len(out) < limit:
                rest = self.finish(limit - len(out))
                found.append(rest)
                if len(out) + len(rest) < limit:
                    return out + rest
        except zlib.error as exc:
            found.append(exc)
        self.found = found
        return None

    def inflate(self, data: bytes, limit: int) -> bytes:
        """Return what `data` stands for, or the first `limit` bytes of it, at which the peer is to be refused.

        Raises zlib.error.
        """
        if self.found:
            return self._again()
        out = b""
        while data and len(out) < limit:
            inflater = self._inflater
            if inflater is None:
                # The largest window reads all smaller ones.
                inflater = self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            out += inflater.decompress(data, limit - len(out))
            if not inflater.eof:
                break
            # The peer ended its stream, as RFC 7692 section 7.2.3.4 lets it; what follows begins a new one.
            data = inflater.unused_data
            self._inflater = None
            self._streams += 1
            if self._streams > _STREAMS:
                raise zlib.error(f"more than {_STREAMS} streams in one message")
        return out

    def finish(self, limit: int) -> bytes:
        """Return what is left of a message at its end, as `inflate` does; forget what is to be forgotten."""
        if self.found:
            return self._again()
        # Behind the end of a stream, the bytes that the sender took off would be the beginning of another one.
        out = b"" if self._inflater is None else self.inflate(_TAIL, limit)
        self._streams = 0
        if self._forget_theirs:
            self._inflater = None
        return out

    def _again(self) -> bytes:
        found = self.found.pop(0)
        if isinstance(found, zlib.error):
            raise found
        return found

    def deflate(self, data: bytes, compress: bool | int) -> bytes | None:
        """Return a compressed message, or None if it cannot be: in no window as small as the peer asked for."""
        bits = self._bits
        own = compress is not True and compress < bits
        if own:
            bits = compress
        if bits < 9:  # zlib would take 9 in its place, and the peer could not follow
            return None
        deflater = None if own else self._deflater
        if deflater is None:
            # As aiohttp has it: speed before size.
            deflater = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, -bits)
        out: bytes = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
        # A message compressed on its own is part of the peer's window all the same: what the engine remembered from
        # before it is no longer where the engine thinks.
        self._deflater = None if own or self._forget_ours else deflater
        return out[:-4]
