"""What of a file is in memory already, so that the loop never waits for a disk."""

import errno
import os
from typing import Final

from anyio import to_thread

#: A part of a file that is taken to be in memory if both its ends are: reading ahead goes in order.
_WINDOW: Final = 16 * 1024 * 1024
#: What a worker thread reads in one go where it is not.
_STRIDE: Final = 1024 * 1024
# With a buffer of so many bytes.
_BUFFER: Final = 128 * 1024

#: Whether sockets take the bytes of files from the kernel.
HAS_SENDFILE: Final = hasattr(os, "sendfile")

#: Reads what is in memory and nothing else; Linux has it, on most file systems.
_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)

#: What says that this file, or this socket, is none that `os.sendfile` can work with.
_NOT_THIS_WAY: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTSOCK})


def read_cached(fd: int, count: int, offset: int) -> bytes | None:
    """Return at most `count` bytes of a file if that needs no disk, b"" at its end; None if it does, or may."""
    if _NO_WAIT is None:
        return None
    buffer = bytearray(count)
    try:
        size = os.preadv(fd, [buffer], offset, _NO_WAIT)
    except OSError:
        return None  # not in memory, or nothing that the file system can tell; an error shows again in the thread
    return bytes(memoryview(buffer)[:size])


async def warm_up(fd: int, count: int, offset: int) -> int:
    """Return how many of `count` bytes of a file are in memory; if need be, a worker thread reads the first of them."""
    window = min(count, _WINDOW)
    if read_cached(fd, 1, offset) is None or read_cached(fd, 1, offset + window - 1) is None:
        window = min(count, _STRIDE)
        await to_thread.run_sync(_read_through, fd, window, offset)
    return window


def _read_through(fd: int, count: int, offset: int) -> None:
    buffer = bytearray(_BUFFER)
    for start in range(offset, offset + count, _BUFFER):
        os.preadv(fd, [buffer], start)


def cannot_sendfile(error: OSError) -> bool:
    """Tell whether an error of `os.sendfile` says that the bytes have to be read and written instead."""
    return error.errno in _NOT_THIS_WAY
