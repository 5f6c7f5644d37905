"""What a file looks like to a client: found, opened and read in a worker thread, and kept if it is small."""

import errno
import io
import os
import stat
import time
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from mimetypes import MimeTypes
from pathlib import PurePath
from typing import Final

from structweb._wire.accept import takes_coding
from structweb._wire.conditional import ETag, Validators
from structweb._wire.dates import format_http_date
from structweb._wire.media_type import OCTET_STREAM

#: Files up to this size are read in one go, together with opening them.
SMALL: Final = 65536

# Opening what is no regular file must not wait, nor make a terminal ours.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
#: What may be sent in place of a file, in the order of preference.
_SIBLINGS: Final = ((".br", "br"), (".gz", "gzip"))
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
# A file read within so many seconds after it changed may change again without its times telling.
_SETTLED: Final = 2.0
# How long after a look at a file its next one is taken for quick: its inode is in memory.
_WARM: Final = 5.0
# What an entry of the cache takes beside its content, roughly.
_ENTRY_COST: Final = 1024

#: A path that was looked at, whether through links, and what there was.
Look = tuple[str, bool, tuple[int, ...] | None]


class NotRegularError(PermissionError):
    """The path is no regular file: a folder, a FIFO, a socket, a device."""


@dataclass(slots=True, eq=False)
class Representation:
    """A file as it is sent: its own bytes, or those of a compressed sibling."""

    #: Where the file itself is.
    path: str
    #: What decided that it is this one: as long as it looks the same, so does the representation.
    looks: tuple[Look, ...]
    size: int
    validators: Validators
    #: Content-Type and all that the file says of itself.
    fields: tuple[tuple[str, str], ...]
    #: All of it, if it is small; else `file` is open, unless only the head is wanted.
    content: bytes | None
    file: io.FileIO | None

    @property
    def weight(self) -> int:
        """How many bytes it takes to keep it."""
        return _ENTRY_COST + len(self.content or b"")

    def unchanged(self) -> bool:
        """Look again, and tell whether it is still this."""
        return all(look_at(path, follow=follow) == seen for path, follow, seen in self.looks)


def error_status(error: Exception) -> int | None:
    """Return the status that an error of `open_file` is answered with; None if it is no fault of the path."""
    if isinstance(error, PermissionError):
        return 403
    return 404 if isinstance(error, ValueError) or getattr(error, "errno", None) in _NOT_THERE else None


def open_file(path: str, accept_encoding: str, *, follow: bool = True, head_only: bool = False) -> Representation:
    """Return how `path` is sent to a client with this Accept-Encoding.  Blocks: for worker threads.

    Raises `NotRegularError`, another OSError, or ValueError for what is no path at all.  Its `file` is to be closed.
    """
    looks: list[Look] = []
    siblings = []
    for suffix, coding in _SIBLINGS:
        look = look_at(path + suffix, follow=False)
        looks.append((path + suffix, False, look))
        if look is not None and stat.S_ISREG(look[0]):
            siblings.append((path + suffix, coding))
    varies = bool(siblings)
    for sibling, coding in siblings:
        if takes_coding(accept_encoding, coding):
            try:
                return _open(path, sibling, coding, looks, varies=True, follow=False, head_only=head_only)
            except OSError:
                continue  # gone in this moment, or not ours to read: then the file itself
    looks.append((path, follow, look_at(path, follow=follow)))
    return _open(path, path, None, looks, varies=varies, follow=follow, head_only=head_only)


def _open(
    name: str, path: str, coding: str | None, looks: list[Look], *, varies: bool, follow: bool, head_only: bool
) -> Representation:
    if not stat.S_ISREG((os.stat if follow else os.lstat)(path).st_mode):
        raise NotRegularError(errno.EACCES, "not a regular file", path)
    file = io.FileIO(os.open(path, _OPEN_FLAGS | (0 if follow else os.O_NOFOLLOW)), closefd=True)
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(errno.EACCES, "not a regular file", path)
        content = _read_small(file, status)
    except BaseException:
        file.close()
        raise
    whole = content is not None
    if whole or head_only:
        file.close()
    tag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    if coding is not None:
        tag = f"{tag}-{coding}"  # a sibling may be as old and as long as the file
    fields = [("Content-Type", guess_type(PurePath(name).suffix))]
    if coding is not None:
        fields.append(("Content-Encoding", coding))
    if varies:
        fields.append(("Vary", "Accept-Encoding"))
    fields += [
        ("ETag", f'"{tag}"'),
        ("Last-Modified", format_http_date(status.st_mtime)),
        ("Accept-Ranges", "bytes"),
    ]
    return Representation(
        name,
        tuple(looks),
        status.st_size,
        Validators(ETag(tag), status.st_mtime),
        tuple(fields),
        content,
        None if whole or head_only else file,
    )


def _read_small(file: io.FileIO, status: os.stat_result) -> bytes | None:
    """Return the whole file if it is small, and did not change while it was read."""
    if status.st_size > SMALL:
        return None
    content = os.pread(file.fileno(), status.st_size + 1, 0)
    unchanged = len(content) == status.st_size and _signature(os.fstat(file.fileno())) == _signature(status)
    return content if unchanged else None


def _signature(status: os.stat_result) -> tuple[int, ...]:
    # The mode comes first; ctime tells of what leaves mtime as it was.
    return (status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def look_at(path: str, *, follow: bool) -> tuple[int, ...] | None:
    """Return what tells whether a path has changed, its mode first; None if there is nothing."""
    try:
        return _signature(os.stat(path) if follow else os.lstat(path))  # noqa: PTH116 -- a str does
    except OSError:
        return None


@lru_cache(maxsize=1)
def _types() -> MimeTypes:
    """Return the known types.  An archive is what it is, not a coding of what is inside: as aiohttp has it."""
    types = MimeTypes()
    types.encodings_map.clear()
    for content_type, suffix in (
        ("application/gzip", ".gz"),
        ("application/x-brotli", ".br"),
        ("application/x-bzip2", ".bz2"),
        ("application/x-compress", ".z"),  # in lower case, as suffixes are looked up
        ("application/x-xz", ".xz"),
    ):
        types.add_type(content_type, suffix)
    return types


@lru_cache(maxsize=256)
def guess_type(suffix: str) -> str:
    """Return the media type of files with this suffix; ``application/octet-stream`` if none is known."""
    # Not for the whole name: there it would look for URLs.
    return _types().guess_type(f"file{suffix}")[0] or OCTET_STREAM


class KnownFiles:
    """Files that were found: the small ones with their content; the least used ones are forgotten first.

    Each is looked at before it is used again.
    """

    def __init__(self, capacity: int = 8 * 1024 * 1024, *, settled: float = _SETTLED) -> None:
        self._settled = settled
        self._room = capacity
        # When each was looked at last, and what it is; the order is that of use.
        self._entries: dict[Hashable, tuple[float, Representation]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Representation | None:
        """Return what is kept under `key` if it is still the same; None also if looking might take a while."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        looked, found = entry
        now = time.monotonic()
        self._forget(key)
        if now - looked > _WARM or not found.unchanged():
            return None
        self._keep(key, now, found)
        return found

    def put(self, key: Hashable, found: Representation) -> None:
        """Keep what was found, unless it changed so recently that its next change might not show."""
        changed = max((look[index] for _, _, look in found.looks if look is not None for index in (4, 5)), default=0)
        if time.time() - changed / 1e9 < self._settled:
            return
        self._forget(key)
        self._keep(key, time.monotonic(), found)
        while self._room < 0:
            self._forget(next(iter(self._entries)))

    def _keep(self, key: Hashable, looked: float, found: Representation) -> None:
        self._entries[key] = looked, found
        self._room -= found.weight

    def _forget(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._room += entry[1].weight
