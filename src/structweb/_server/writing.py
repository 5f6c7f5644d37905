"""The body of a response, on its way piece by piece: its framing, its length, and the turn of others."""

from enum import Enum
from typing import Final

import anyio

from structweb._server.departures import ClientConnectionResetError
from structweb._server.incoming import Incoming
from structweb._server.sendfile import FileSender
from structweb._wire.reply import Framing, chunk

Bytes = bytes | bytearray | memoryview

# A handler that writes without ever waiting gives way to others after this many bytes: a millisecond or so.
_FAIR_SHARE: Final = 4 * 1024 * 1024
# What a write costs beside its bytes, as bytes.
_WRITE: Final = 32768
# Chunks from here on are not copied together with what is around them.
_JOINED: Final = 16384


class Stage(Enum):
    """How far a response is."""

    OPEN = "open"
    STARTED = "started"
    FINISHED = "finished"


# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a write.
_STARTED: Final = Stage.STARTED
_NONE: Final = Framing.NONE
_LENGTH: Final = Framing.LENGTH
_CHUNKED: Final = Framing.CHUNKED


class BodyWriter(Incoming):
    """What an exchange needs to send a body behind a head: the exchange sets it up, and calls `_send`."""

    __slots__ = ("_framing", "_since_yield", "_unwritten", "bytes_sent", "stage")

    #: Bytes of the response handed to the transport, head and framing included.
    bytes_sent: int
    stage: Stage
    _since_yield: int
    # Set with the head.
    _framing: Framing
    _unwritten: int

    async def write(self, data: Bytes) -> None:
        """Send body bytes; wait while the peer is slow, at most `Timeouts.send` without progress.

        Swallows the bytes where the protocol forbids a body (HEAD, 204, 304).  Raises ClientConnectionResetError when
        the peer is gone, ValueError for more bytes than were announced, RuntimeError before `start` or after `finish`.
        When the wait is cancelled, the response is broken and the connection ends.
        """
        if self.put(data):
            await self.settle()

    def put(self, data: Bytes) -> bool:
        """Do what `write` does before it waits; return whether it has to: then `settle` is due."""
        if self.stage is not _STARTED:
            raise RuntimeError(f"cannot write: the response is {self.stage.value}, expected started")
        if data.__class__ is not bytes:
            data = bytes(data)
        size = len(data)
        framing = self._framing
        if framing is _NONE or not size:
            self._since_yield += size + _WRITE
            return self._since_yield > _FAIR_SHARE
        if framing is _LENGTH:
            if size > self._unwritten:
                raise ValueError(f"cannot write {size} bytes: Content-Length leaves {self._unwritten}")
            self._unwritten -= size
        elif framing is _CHUNKED:
            if size >= _JOINED:
                return self._put(b"%x\r\n" % size, data, b"\r\n")
            data = chunk(data)
        return self._put(data)

    async def settle(self) -> None:
        """Wait while the peer is slow, as `write` does, or give way to other tasks."""
        transport = self._connection.transport
        waits = transport.congested
        if waits or transport.lost:
            await self._connection.drain()
        if waits:
            self._since_yield = 0
        elif self._since_yield > _FAIR_SHARE:
            self._since_yield = 0
            await anyio.lowlevel.checkpoint()

    async def send_file(
        self, file: int, offset: int, count: int, *, piece: int = 262144, in_kernel: bool = True
    ) -> None:
        """Send `count` bytes of an open file, from `offset`: on plain sockets by `os.sendfile`, unless told otherwise.

        The disk is waited for in worker threads, and at most `piece` bytes are held in memory.  Of a file that is shorter
        what there is is sent; `finish` then closes the connection, and without a Content-Length OSError is raised.
        Otherwise as `write`; OSError also for a file that cannot be read.
        """
        if self.stage is not _STARTED:
            raise RuntimeError(f"cannot send a file: the response is {self.stage.value}, expected started")
        if self._framing is _LENGTH and count > self._unwritten:
            raise ValueError(f"cannot send {count} bytes of a file: Content-Length leaves {self._unwritten}")
        if self._framing is _NONE:
            return
        sender = FileSender(self._connection, file, piece)
        in_kernel = in_kernel and self._framing is not _CHUNKED
        while count:
            if in_kernel:
                sent = await sender.send(offset, count)
                self.bytes_sent += sent
                self._since_yield += sent
                self._unwritten -= sent if self._framing is _LENGTH else 0
            else:
                data = await sender.read(offset, count)
                await self.write(data)
                sent = len(data)
            if not sent:
                if self._framing is not _LENGTH:  # its end would be taken for the file's
                    raise OSError(f"the file ended {count} bytes short of what was to be sent")
                return
            offset += sent
            count -= sent
            if self._since_yield > _FAIR_SHARE:
                self._since_yield = 0
                await anyio.lowlevel.checkpoint()

    async def _send(self, data: bytes) -> None:
        if self._put(data):
            await self.settle()

    def _put(self, data: bytes, *more: bytes) -> bool:
        connection = self._connection
        if connection.gone:
            raise ClientConnectionResetError("cannot send: the peer is gone")
        transport = connection.transport
        size = len(data)
        if more:
            size += sum(map(len, more))
            transport.writelines((data, *more))
        else:
            transport.write(data)
        self.bytes_sent += size
        self._since_yield = since = self._since_yield + size + _WRITE
        # A transport takes bytes in silence when nobody is there, and a FIN may have said nothing.
        return since > _FAIR_SHARE or transport.congested or transport.lost
