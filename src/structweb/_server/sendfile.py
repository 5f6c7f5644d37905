"""Sending an open file over a connection, part by part."""

import os
from functools import partial
from typing import TYPE_CHECKING

from anyio import to_thread

from structweb._server.departures import ClientConnectionResetError
from structweb._server.transport.disk import warm_up

if TYPE_CHECKING:
    from structweb._server.connection import Connection


class FileSender:
    """Sends parts of one file, in order.  The disk is waited for before the peer is, and not in the loop."""

    __slots__ = ("_connection", "_file", "_piece", "_warm")

    def __init__(self, connection: "Connection", file: int, piece: int) -> None:
        self._connection = connection
        self._file = file
        self._piece = piece
        # Up to here the file is in memory.
        self._warm = -1

    async def send(self, offset: int, count: int) -> int:
        """Send the next bytes, at most `count`, and return how many; 0 at the end of the file.

        Raises ClientConnectionResetError when the peer is gone, OSError for a file that cannot be read.
        """
        connection = self._connection
        if connection.gone:
            raise ClientConnectionResetError("cannot send: the peer is gone")
        if offset >= self._warm:
            self._warm = offset + await warm_up(self._file, count, offset)
        count = min(count, self._warm - offset)
        step = partial(connection.transport.sendfile, self._file, offset, count, piece=self._piece)
        try:
            return await connection.send(step)
        except ConnectionError as exc:
            connection.lose()
            raise ClientConnectionResetError("cannot send: the peer is gone") from exc

    async def read(self, offset: int, count: int) -> bytes:
        """Return the next bytes, at most `count` and one piece; b"" at the end of the file."""
        return await to_thread.run_sync(os.pread, self._file, min(count, self._piece), offset)
