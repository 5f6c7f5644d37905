"""A connection that left HTTP behind, as a byte stream."""

from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteStream

from structweb._server.closing import send_eof

if TYPE_CHECKING:
    from structweb._server.connection import Connection


class UpgradedStream(ByteStream):
    """The bytes of a connection after 101 Switching Protocols: what came behind the request head is read first."""

    def __init__(self, connection: "Connection", behind_head: bytes) -> None:
        self._connection = connection
        self._pending = behind_head

    def detach(self) -> tuple["Connection", bytes]:
        """Return the connection and what came behind its request head; the stream is done."""
        pending, self._pending = self._pending, b""
        return self._connection, pending

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, at most `max_bytes`.  Raises EndOfStream once the peer has ended its side."""
        data = self._pending
        if not data:
            try:
                data = await self._connection.transport.receive()
            except ConnectionError as exc:
                raise anyio.BrokenResourceError from exc
            if not data:
                raise anyio.EndOfStream
        self._pending = data[max_bytes:]
        return data[:max_bytes]

    async def send(self, item: bytes) -> None:
        """Send bytes; wait while the peer is slow.  Raises BrokenResourceError when it is gone."""
        self._connection.transport.write(item)
        try:
            await self._connection.drain()
        except ConnectionError as exc:
            raise anyio.BrokenResourceError from exc

    async def send_eof(self) -> None:
        """End our side where the transport can."""
        await send_eof(self._connection)

    async def aclose(self) -> None:
        """Flush and close the connection; a peer that takes nothing for `Timeouts.send` loses the rest."""
        await self._connection.close()
