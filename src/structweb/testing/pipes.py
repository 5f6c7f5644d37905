"""Connected byte streams in memory, with the faults of real peers as methods.

A pipe behaves as a TCP connection does, without a kernel: each direction holds a bounded number of bytes, a
writer waits when it is full, and the two directions end independently.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from itertools import chain, repeat
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

#: Bytes that one direction holds before its writer waits; as Linux's default socket buffers, roughly.
CAPACITY: Final = 65536

#: How an end is called: a host and a port, as of TCP, or a path, as of a Unix socket.
Address = tuple[str, int] | str


class _State(Enum):
    """The life of one direction."""

    OPEN = "open"
    #: The writer has ended it; what it holds can still be read.
    ENDED = "ended"
    #: The reader has closed: nothing more is taken.
    DEAF = "deaf"
    #: Reset: nothing can be read or written.
    RESET = "reset"


class _Lane:
    """One direction of a pipe: a bounded buffer with one reader and one writer."""

    __slots__ = ("_changed", "capacity", "data", "stalled", "state")

    def __init__(self, capacity: int) -> None:
        self.capacity: int = capacity
        self.data: bytearray = bytearray()
        self.state: _State = _State.OPEN
        self.stalled: bool = False
        self._changed: anyio.Event | None = None

    @property
    def room(self) -> int:
        return 0 if self.stalled else self.capacity - len(self.data)

    async def changed(self) -> None:
        """Wait until the other side has done something."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def touch(self) -> None:
        """Wake who waits for a change."""
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    def move_to(self, state: _State) -> None:
        """Enter a state, which a reset one never leaves; in most of them the buffered bytes are lost."""
        if self.state is not _State.RESET:
            self.state = state
            if state is not _State.ENDED:
                self.data.clear()
        self.touch()


class PipeEnd(ByteStream):
    """One end of a pipe: an anyio byte stream.

    One task receives and one sends at a time.  Sending waits while the other end has not read; a cancelled
    `send` may have delivered a part.
    """

    def __init__(self, inbound: _Lane, outbound: _Lane, *, local: Address, remote: Address) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._closed = False
        self._addresses = (local, remote)
        #: Whether a part of what was sent last has been delivered, and not all of it.
        self.torn: bool = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, at most `max_bytes`.

        Raises `anyio.EndOfStream` when the other end has ended its side, `anyio.BrokenResourceError` after a
        reset, `anyio.ClosedResourceError` when this end is closed.
        """
        await anyio.lowlevel.checkpoint()
        lane = self._inbound
        while True:
            if self._closed:
                raise anyio.ClosedResourceError
            if lane.state is _State.RESET:
                raise anyio.BrokenResourceError("the other end reset the pipe")
            if lane.data:
                break
            if lane.state is _State.ENDED:
                raise anyio.EndOfStream
            await lane.changed()
        data = bytes(lane.data[:max_bytes])
        del lane.data[:max_bytes]
        lane.touch()
        return data

    @property
    def readable(self) -> bool:
        """Whether `receive` would return or raise without waiting."""
        return self._closed or self._inbound.state is not _State.OPEN or bool(self._inbound.data)

    async def send(self, item: bytes) -> None:
        """Hand `item` to the other end; waits while the pipe is full.

        Raises `anyio.BrokenResourceError` when the other end is closed or has reset the pipe,
        `anyio.ClosedResourceError` when this end is closed or has ended its side.
        """
        await anyio.lowlevel.checkpoint()
        lane = self._outbound
        rest = memoryview(item)
        while True:
            if self._closed or lane.state is _State.ENDED:
                raise anyio.ClosedResourceError
            if lane.state is not _State.OPEN:
                raise anyio.BrokenResourceError("the other end is closed")
            if lane.room > 0:
                taken = min(lane.room, len(rest))
                lane.data += rest[:taken]
                lane.touch()
                rest = rest[taken:]
            self.torn = 0 < len(rest) < len(item)
            if not rest:
                return
            await lane.changed()

    async def send_eof(self) -> None:
        """End this side; the other end can still send.  Bytes on their way arrive before the end."""
        if self._outbound.state is _State.OPEN:
            self._outbound.move_to(_State.ENDED)
        await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close both directions at once: what was sent can still be read, what was not read is dropped."""
        if self._closed:
            return
        self._closed = True
        if self._outbound.state is _State.OPEN:
            self._outbound.move_to(_State.ENDED)
        self._inbound.move_to(_State.DEAF)

    def reset(self) -> None:
        """Break both directions, as a RST does: both ends lose what was on its way."""
        self._closed = True
        self._outbound.move_to(_State.RESET)
        self._inbound.move_to(_State.RESET)

    async def aclose(self) -> None:
        """Close both directions, as `close`."""
        self.close()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:  # Any: anyio's signature
        """The addresses of both ends, as `SocketAttribute.local_address` and `SocketAttribute.remote_address`."""
        local, remote = self._addresses
        return {
            SocketAttribute.local_address: lambda: local,
            SocketAttribute.remote_address: lambda: remote,
        }


class ClientEnd(PipeEnd):
    """The end that a test holds: a peer that can also stall, dribble, half-close and vanish."""

    async def receive_exactly(self, count: int) -> bytes:
        """Return the next `count` bytes.  Raises `anyio.IncompleteRead` when the pipe ends before."""
        data = b""
        while len(data) < count:
            try:
                data += await self.receive(count - len(data))
            except anyio.EndOfStream:
                raise anyio.IncompleteRead from None
        return data

    async def receive_until(self, mark: bytes) -> bytes:
        """Return the bytes up to and with `mark`.  Raises `anyio.IncompleteRead` when the pipe ends before."""
        data = b""
        while not data.endswith(mark):
            data += await self.receive_exactly(1)
        return data

    async def receive_all(self) -> bytes:
        """Return everything up to the other end's end.  Raises `anyio.BrokenResourceError` on a reset."""
        data = bytearray()
        while True:
            try:
                data += await self.receive()
            except anyio.EndOfStream:
                return bytes(data)

    async def half_close(self) -> None:
        """End the client's side and go on reading, as a FIN does."""
        await self.send_eof()

    def stall(self) -> None:
        """Take no more bytes, as a peer with a closed window: the other end's writes wait from the first byte.

        What has arrived before can be received.  `resume` ends it.
        """
        self._inbound.stalled = True

    def resume(self) -> None:
        """Take bytes again after `stall`."""
        self._inbound.stalled = False
        self._inbound.touch()

    async def dribble(self, data: bytes, sizes: Iterable[int] = (), *, delay: float = 0.0) -> None:
        """Send `data` in pieces of the given `sizes`, the rest byte by byte, each read before the next is sent.

        Waits `delay` seconds between the pieces.
        """
        position = 0
        for size in chain(sizes, repeat(1)):
            if position >= len(data):
                break
            if size < 1:
                raise ValueError(f"sizes must be 1 or more, got {size}")
            await self.send(data[position : position + size])
            await self.taken()
            position += size
            await anyio.sleep(delay)

    async def taken(self) -> None:
        """Wait until the other end has read everything that was sent, or is gone."""
        while self._outbound.data:
            await self._outbound.changed()


def memory_pipe(
    capacity: int = CAPACITY,
    *,
    client_address: Address = ("192.0.2.1", 50000),
    server_address: Address = ("192.0.2.2", 80),
) -> tuple[ClientEnd, PipeEnd]:
    """Return a connected pair, the test's end first.  Each direction holds at most `capacity` bytes.

    Close both ends, or use `open_pipe`.
    """
    if capacity < 1:
        raise ValueError(f"capacity must be 1 or more, got {capacity}")
    up, down = _Lane(capacity), _Lane(capacity)
    return (
        ClientEnd(down, up, local=client_address, remote=server_address),
        PipeEnd(up, down, local=server_address, remote=client_address),
    )


@asynccontextmanager
async def open_pipe(capacity: int = CAPACITY) -> AsyncGenerator[tuple[ClientEnd, PipeEnd]]:
    """Lend a connected pair, the test's end first, and close both ends afterwards."""
    client, server = memory_pipe(capacity)
    try:
        yield client, server
    finally:
        client.close()
        server.close()
