"""Finds what a piece of code has left behind: tasks, async generators, sockets, threads, temporary files.

`no_leaks` is the guard: around `anyio.run`, or inside a loop, where it sees tasks and async generators too.  For
pytest there is a fixture of the same name in `structweb.testing.plugin`.
"""

import dis
import gc
import os
import re
import socket
import stat
import sys
import threading
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio

from structweb._server.parking import IDLE_NAME
from structweb._server.whereabouts import await_point

#: A thread of trio's cache while it has nothing to do: it ends by itself, and any later run may use it.
IDLE_TRIO_THREAD: Final = re.compile(r"Trio thread \d+")
#: A worker of anyio on asyncio: it ends with its loop.
WORKER: Final = "AnyIO worker thread"
#: Turns of the loop that what is ending gets to end.
GRACE: Final = 10
#: Seconds that a thread on its way out gets.
THREAD_GRACE: Final = 3.0


class LeakError(AssertionError):
    """Something was left behind; says what, a line each."""

    def __init__(self, left: list[str]) -> None:
        super().__init__("left behind:\n" + "\n".join(left))
        #: A description of each thing.
        self.left: tuple[str, ...] = tuple(left)


class _MadeFiles:
    """The temporary files and folders that this process has made, as `tempfile` reports them."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.installed = False

    def install(self) -> None:
        if not self.installed:
            self.installed = True
            sys.addaudithook(self.note)  # stays for good: there is no way to take one away

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:  # Any: each event has its own
        if event in ("tempfile.mkstemp", "tempfile.mkdtemp") and _Heap.watchers:
            self.paths.append(os.fsdecode(arguments[0]))


class _Heap:
    """Freezes the heap while anybody watches: collections and scans then see only what is newer."""

    watchers: int = 0

    @classmethod
    def watch(cls) -> None:
        cls.watchers += 1
        if cls.watchers == 1:
            gc.freeze()

    @classmethod
    def unwatch(cls) -> None:
        cls.watchers -= 1
        if not cls.watchers:
            gc.unfreeze()
            _made.paths.clear()


_made: Final = _MadeFiles()


def open_descriptors() -> Iterator[tuple[int, os.stat_result]]:
    """Yield every open descriptor of the process, with its status."""
    for descriptor in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - a number each, not a path
        try:
            yield descriptor, os.fstat(descriptor)
        except OSError:
            continue  # the descriptor of the listing itself


class Census:
    """What the process holds when it is entered; `left` tells what has been added since: sockets, threads, files."""

    def __init__(self, *, spared: str = "") -> None:
        """Make a census that takes no offence at threads called `spared`."""
        self._spared = spared

    def __enter__(self) -> Self:
        _made.install()
        _Heap.watch()
        self._descriptors = {(number, status.st_ino) for number, status in open_descriptors()}
        self._threads = set(threading.enumerate())
        self._made_before = len(_made.paths)
        return self

    def __exit__(self, *_: object) -> None:
        _Heap.unwatch()

    def left(self) -> list[str]:
        """Describe the sockets, threads and temporary files that are new and still there."""
        gc.collect()  # what only a reference cycle holds warns here, in the test that made it
        return [*self._descriptors_left(), *self._threads_left(), *self._files_left()]

    def _descriptors_left(self) -> Iterator[str]:
        added = [each for each in open_descriptors() if (each[0], each[1].st_ino) not in self._descriptors]
        sockets = [number for number, status in added if stat.S_ISSOCK(status.st_mode)]
        if sockets:
            owners = {each.fileno(): repr(each) for each in gc.get_objects() if isinstance(each, socket.socket)}
            for number in sorted(sockets):
                yield f"  an open socket: {owners.get(number, f'descriptor {number}')}"
        for number, status in added:
            if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                yield f"  an open temporary file: descriptor {number}, {status.st_size} bytes"

    def _threads_left(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if thread in self._threads or thread.name == self._spared or IDLE_TRIO_THREAD.fullmatch(thread.name):
                continue
            thread.join(THREAD_GRACE)
            if thread.is_alive():
                yield f"  a thread: {thread!r}"

    def _files_left(self) -> Iterator[str]:
        for path in map(Path, _made.paths[self._made_before :]):
            if path.exists() or path.is_symlink():
                yield f"  a temporary {'folder' if path.is_dir() else 'file'}: {path}"


class TaskCensus:
    """The tasks and async generators of the running loop when it is made; `left` tells what has been added since."""

    def __init__(self) -> None:
        # The coroutines themselves: a task that is gone must not lend its identity to a new one.
        self._tasks = set(_running_tasks())
        self._generators = weakref.WeakSet(_open_generators())

    async def left(self) -> list[str]:
        """Describe the tasks and the async generators that are new and do not end by themselves."""
        added: dict[object, str] = {}
        for _ in range(GRACE):
            added = {coro: name for coro, name in _running_tasks().items() if coro not in self._tasks}
            if not added:
                break
            await anyio.lowlevel.checkpoint()
        generators = [each for each in _open_generators() if each not in self._generators]
        return [
            *(f"  a task: {name!r}, waiting at {await_point(coro)}" for coro, name in added.items()),
            *(f"  an async generator: {each!r}, waiting at {await_point(each)}" for each in generators),
        ]


def _running_tasks() -> dict[object, str]:
    # anyio's test runner wraps each call into the loop in a task of its own.  An idle worker does nothing, and is its
    # scheduler's: what is left running is what it has to do.
    return {
        each.coro: each.name or ""
        for each in anyio.get_running_tasks()
        if each.name != IDLE_NAME and not getattr(each.coro, "__qualname__", "").startswith("TestRunner.")
    }


def _open_generators() -> Iterator[types.AsyncGeneratorType[object, object]]:
    for each in gc.get_objects():
        if not isinstance(each, types.AsyncGeneratorType) or each.ag_frame is None:
            continue
        if not each.ag_running and _has_begun(each):  # who runs is who asks; one that never began holds nothing
            yield each


def _has_begun(generator: types.AsyncGeneratorType[object, object]) -> bool:
    suspended = getattr(generator, "ag_suspended", None)  # since Python 3.12
    if suspended is not None:
        return bool(suspended)
    frame = generator.ag_frame
    return frame is not None and generator.ag_code.co_code[frame.f_lasti] != dis.opmap["RETURN_GENERATOR"]


class LeakGuard:
    """What `no_leaks` returns."""

    def __init__(self) -> None:
        self._census: Census | None = None
        self._tasks: TaskCensus | None = None

    def __enter__(self) -> None:
        self._begin(Census())

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._finish([] if exc is None else None)

    async def __aenter__(self) -> None:
        self._begin(Census(spared=WORKER))
        self._tasks = TaskCensus()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        left: list[str] | None = None
        try:
            if exc is None and self._tasks is not None:
                left = await self._tasks.left()
        finally:
            self._finish(left)

    def _begin(self, census: Census) -> None:
        if self._census is not None:
            raise RuntimeError("this guard watches already: make another one")
        self._census = census.__enter__()

    def _finish(self, left: list[str] | None) -> None:
        """End the watch; raise if anything is left, unless (None) an error is on its way."""
        census, self._census = self._census, None
        if census is None:
            raise RuntimeError("this guard does not watch")
        try:
            left = None if left is None else [*left, *census.left()]
        finally:
            census.__exit__()
        if left:
            raise LeakError(left)


def no_leaks() -> LeakGuard:
    """Return a guard that raises `LeakError` if its block leaves anything behind; an error of the block comes first.

    ``with no_leaks():`` around a loop (`anyio.run`) sees sockets, threads and temporary files.  ``async with
    no_leaks():`` inside one sees tasks and async generators too.  What exists before the block is nobody's leak.
    A temporary file is one that `tempfile` made and that exists still, or an open one without a name.
    """
    return LeakGuard()
