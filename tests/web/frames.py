"""A WebSocket client that speaks frames, for tests that are particular about bytes."""

import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from structweb._web.request import Request
from structweb._web.streaming import StreamResponse
from tests.web.served import Connection, Served, get, serving
from tests.web.talk import app_of

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """Return the bytes of one frame."""
    size = len(payload)
    masked = 0 if mask is None else 128
    first = (fin << 7) | (rsv << 4) | opcode
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def text(words: str) -> bytes:
    """Return the frame of a text message."""
    return frame(TEXT, words.encode())


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    payload: bytes
    rsv: int = 0

    @property
    def code(self) -> int:
        """The code of a close frame."""
        return int.from_bytes(self.payload[:2], "big")


class Peer:
    """The client's side of one WebSocket."""

    def __init__(self, connection: Connection) -> None:
        self.stream = connection.stream

    async def send(self, *frames: bytes) -> None:
        """Send bytes."""
        await self.stream.send(b"".join(frames))

    async def next(self) -> Frame:
        """Read the next frame: whole, unmasked and final, as a server sends them."""
        first, size = await self.stream.receive_exactly(2)
        assert first & 0x80, "a server of ours does not send fragments"
        assert size < 128, "a server must not mask"
        if size > 125:
            width = 2 if size == 126 else 8
            size = int.from_bytes(await self.stream.receive_exactly(width), "big")
        return Frame(first & 15, await self.stream.receive_exactly(size), (first >> 4) & 7)

    async def rest(self) -> bytes:
        """Read what comes until the server closes the connection."""
        return await self.stream.receive_all()

    async def close(self, code: int | None = 1000) -> Frame:
        """Close, and return the answer: the connection ends behind it."""
        await self.send(close(code))
        answer = await self.next()
        assert await self.rest() == b""
        return answer


async def connect(served: Served, *fields: str, behind: bytes = b"", path: str = "/") -> Peer:
    """Shake hands; `behind` is sent together with the head."""
    connection = served.connect()
    await connection.stream.send(get(path, *UPGRADE, *fields) + behind)
    answer = await connection.answer()
    assert answer.status == 101, answer
    return Peer(connection)


@asynccontextmanager
async def meeting(handler: Callable[[Request], Awaitable[StreamResponse]], *fields: str, **options: object):
    """Serve `handler` and connect to it."""
    async with serving(app_of(handler), **options) as served:
        yield await connect(served, *fields)
