"""A generator of WebSocket streams: plain messages, valid ones with state, broken frames, and mutations of all of them."""

import zlib
from collections.abc import Sequence
from random import Random

TEXTS = [b"", b"a", b"hello", b"\xc3\xa9\xe2\x82\xac", b"\xf0\x9f\x98\x80" * 3, b"x" * 31, b"y" * 125]
LONG_TEXTS = [b"x" * 126, b"\xc3\xa9" * 100, b"z" * 300]
BAD_TEXTS = [b"\xff", b"ab\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"x" * 40 + b"\x80"]
CLOSES = [
    b"",
    b"\x03\xe8",
    b"\x03\xe9bye",
    b"\x03\xf6",
    b"\x03\xf5again",
    b"\x0f\xa0own",
    b"\x03\xec",
    b"\x03\xed",
    b"\x03\xee",
    b"\x03",
    b"\x00\x00",
    b"\x03\xf7",
    b"\x07\xd0",
    b"\x13\x88",
    b"\x03\xe8\xff",
    b"\x03\xe8" + b"r" * 123,
]
KEYS = [b"\0\0\0\0", b"\x01\x02\x03\x04", b"\xff\xff\xff\xff", b"\x37\xfa\x21\x3d"]

#: Around what a length needs another form for; the large ones are rare, since they take their time.
SIZES = [0, 1, 3, 4, 30, 124, 125, 126, 127, 128, 133, 134, 300, 1000]
LARGE_SIZES = [65534, 65535, 65536, 65537, 70000]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def xor(data: bytes, key: bytes) -> bytes:
    """Mask, as RFC 6455 describes it: byte by byte, here all at once."""
    stretched = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stretched, "big")).to_bytes(len(data), "big")


def frame(
    opcode: int,
    payload: bytes,
    *,
    key: bytes | None,
    fin: bool = True,
    rsv: int = 0,
    form: int | None = None,
    length: int | None = None,
) -> bytes:
    """Return a frame; `form` (0, 2 or 8) is the width of its length field, `length` what that says."""
    length = len(payload) if length is None else length
    form = form if form is not None else 0 if length < 126 else 2 if length < 1 << 16 else 8
    short = (length & 127) if form == 0 else 126 if form == 2 else 127
    head = bytes((fin << 7 | rsv << 4 | opcode, (key is not None) << 7 | short))
    head += (length & ((1 << 8 * form) - 1)).to_bytes(form, "big")
    return head + payload if key is None else head + key + xor(payload, key)


class FrameStream:
    """Says what one side might, in frames."""

    def __init__(
        self, rng: Random, *, client: bool, deflate: bool, forgets: bool = False, sizes: Sequence[int] = ()
    ) -> None:
        """`forgets`: each message is compressed without regard to those before.  `sizes`: more of a payload."""
        self.rng = rng
        #: Whether the stream is for a client: what a server sends is not masked.
        self.client = client
        self.deflate = deflate
        self.forgets = forgets
        self.sizes = [*SIZES, *sizes]
        self.engine = zlib.compressobj(1, zlib.DEFLATED, -15)
        #: What was said before: compressed once more, it is nothing but a reference to that.
        self.said: list[bytes] = [b"said before "]

    def key(self) -> bytes | None:
        masked = not self.client
        if self.rng.random() < 0.01:
            masked = not masked
        return self.rng.choice(KEYS) if masked else None

    def payload(self, opcode: int) -> bytes:
        rng = self.rng
        chance = rng.random()
        if chance < 0.05:
            return rng.choice(BAD_TEXTS)
        if chance < 0.3:
            return rng.choice(self.said)
        if chance < 0.6:
            size = rng.choice(LARGE_SIZES if rng.random() < 0.08 else self.sizes)
            data = rng.randbytes(size) if opcode == BINARY else b"y" * (size % 2) + b"\xc3\xa9" * (size // 2)
        else:
            data = rng.choice(TEXTS * 3 + LONG_TEXTS)
        self.said.append(data)
        return data

    def compressed(self, data: bytes) -> bytes:
        rng = self.rng
        if rng.random() < 0.1:  # a stream of its own
            own = zlib.compressobj(9, zlib.DEFLATED, -rng.choice((9, 15)))
            packed = own.compress(data) + own.flush() + rng.choice((b"\0", b"\0", b""))
            self.engine = zlib.compressobj(1, zlib.DEFLATED, -15)
        else:
            packed = (self.engine.compress(data) + self.engine.flush(zlib.Z_SYNC_FLUSH))[:-4]
            if self.forgets:
                self.engine = zlib.compressobj(1, zlib.DEFLATED, -15)
        if rng.random() < 0.05:
            at = rng.randrange(len(packed) + 1)
            packed = packed[:at] + rng.randbytes(2) + packed[at:]
        return packed

    def message(self) -> list[bytes]:
        """Return the frames of one message, with control frames among its fragments."""
        rng = self.rng
        opcode = rng.choice((TEXT, BINARY))
        data = self.payload(opcode)
        rsv = 0
        if self.deflate and rng.random() < 0.5:
            data, rsv = self.compressed(data), 4
        frames = []
        fragments = rng.choice((2, 3, 5, 9)) if rng.random() < 0.3 else 1
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(fragments - 1))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            last = len(frames) == fragments - 1
            form = rng.choice((2, 8)) if rng.random() < 0.01 else None
            frames.append(frame(opcode, data[start:end], key=self.key(), fin=last, rsv=rsv, form=form))
            opcode, rsv = CONTINUATION, 0
        if fragments > 1 and rng.random() < 0.4:
            frames.insert(rng.randrange(1, len(frames)), self.control())
        return frames

    def control(self) -> bytes:
        rng = self.rng
        return frame(rng.choice((PING, PONG)), rng.choice(TEXTS + BAD_TEXTS), key=self.key())

    def broken(self) -> bytes:
        """Return a frame that breaks a rule, or might."""
        rng = self.rng
        opcode = rng.choice((0, 1, 2, 3, 7, 8, 9, 10, 11, 15))
        payload = self.payload(BINARY)
        return frame(
            opcode,
            payload,
            key=self.key(),
            fin=rng.random() < 0.6,
            rsv=rng.choice((0, 0, 0, 1, 2, 4, 7)),
            form=rng.choice((None, None, 2, 8)),
            length=rng.choice((None, None, None, 1 << 16, 1 << 32, 1 << 63, len(payload) + 3)),
        )

    def read(self) -> bytes:
        """Return the whole stream."""
        rng = self.rng
        frames: list[bytes] = []
        for _ in range(rng.choice((1, 2, 3, 6))):
            chance = rng.random()
            if chance < 0.8:
                frames += self.message()
            elif chance < 0.9:
                frames.append(self.control())
            elif chance < 0.95:
                frames.append(frame(CLOSE, rng.choice(CLOSES), key=self.key()))
            else:
                frames.append(self.broken())
        data = b"".join(frames)
        while rng.random() < 0.2 and data:
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data = data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
                case 1:
                    data = data[:at] + rng.randbytes(rng.choice((1, 1, 2, 8))) + data[at:]
                case 2:
                    data = data[:at] + data[at + rng.choice((1, 1, 2, 8)) :]
                case 3:
                    data = data[:at]
        return data


def edges(data: bytes) -> list[int]:
    """Return where a reader of frames might take one to end, or a part of one, rightly or by mistake."""
    found = [0]
    at = 0
    while at + 2 <= len(data):
        short, masked = data[at + 1] & 127, data[at + 1] & 128
        width = {126: 2, 127: 8}.get(short, 0)
        size = int.from_bytes(data[at + 2 : at + 2 + width], "big") if width else short
        body = at + 2 + width + (4 if masked else 0)
        found += (at + 2, at + 2 + width, body, body + size, at + 2 + short, at + 6 + short, at + 8 + short)
        at = body + size
    return [edge for edge in found if edge <= len(data)]


def cut(rng: Random, data: bytes) -> list[bytes]:
    """Return `data` in pieces that end at, or next to, ends of frames and of their parts."""
    at = edges(data)
    if rng.random() < 0.7:
        at = rng.sample(at, min(len(at), rng.choice((1, 2, 5))))
    if rng.random() < 0.6:
        at = [edge + rng.choice((-2, -1, 0, 0, 1, 2)) for edge in at]
    cuts = sorted(edge for edge in at if 0 < edge < len(data))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
