"""Files that a form brought: spooled to disk when they are large, closed with their request."""

from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Final

import anyio.to_thread

#: Bytes of a file that are kept in memory; with the first one more it goes to disk.
MAX_IN_MEMORY: Final = 2**20


@dataclass(frozen=True, slots=True)
class FileField:
    """A file in a form.  It is closed when its request ends: copy what shall stay."""

    #: The field.
    name: str
    #: As the client sent it: never make it part of a path.
    filename: str
    #: At its beginning, readable and seekable.
    file: IO[bytes]
    #: What the client says of it: ``application/octet-stream`` if it says nothing.
    content_type: str
    #: The header of the part.
    headers: Mapping[str, str]


class Uploads:
    """The files of one request."""

    __slots__ = ("_files", "_keepers", "_over")

    def __init__(self) -> None:
        self._files: list[SpooledTemporaryFile[bytes]] = []
        self._keepers = 0
        self._over = False

    @property
    def kept(self) -> bool:
        """Whether somebody works with the request who may outlive its exchange."""
        return self._keepers > 0

    def keep(self) -> None:
        """Let `close` wait for one more `let_go`."""
        self._keepers += 1

    def let_go(self) -> None:
        """Undo one `keep`."""
        self._keepers -= 1
        if self._over:
            self.close()

    def open(self) -> "SpooledTemporaryFile[bytes]":
        """Return a new file, which `close` closes."""
        file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(MAX_IN_MEMORY)  # noqa: SIM115 - closed in `close`
        self._files.append(file)
        return file

    def take(self, others: "Uploads") -> None:
        """Take over the files of `others`."""
        self._files += others._files
        others._files = []

    def close(self) -> None:
        """Close all files, and with that delete them; while the request is kept, that waits for its keepers."""
        self._over = True
        if self._keepers:
            return
        for file in self._files:
            file.close()
        self._files.clear()


async def write_to(file: "SpooledTemporaryFile[bytes]", data: bytes, position: int) -> None:
    """Write `data` at the end of `file`, whose size is `position`; on disk, a worker thread does that."""
    if position + len(data) <= MAX_IN_MEMORY:
        file.write(data)
    else:
        await anyio.to_thread.run_sync(file.write, data)


async def rewind(file: "SpooledTemporaryFile[bytes]", size: int) -> None:
    """Go to the beginning of `file`; what is still to be written goes to disk in a worker thread."""
    if size <= MAX_IN_MEMORY:
        file.seek(0)
    else:
        await anyio.to_thread.run_sync(file.seek, 0)
