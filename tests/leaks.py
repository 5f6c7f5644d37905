"""Finds what a test has left behind: tasks, async generators, sockets, threads.  Used by the guard in conftest."""

import asyncio
import gc
import os
import re
import socket
import stat
import threading
import types
from collections.abc import Iterator
from typing import Self

import anyio.lowlevel
import trio

#: A thread of trio's cache while it has nothing to do: it ends by itself, and any later run may use it.
IDLE_TRIO_THREAD = re.compile(r"Trio thread \d+")
#: Turns of the loop that what is ending gets to end.
GRACE = 10
#: Seconds that a thread on its way out gets.
THREAD_GRACE = 1.0


def open_sockets() -> set[tuple[int, int]]:
    """Return (descriptor, inode) of every open socket of the process."""
    found = set()
    for descriptor in map(int, os.listdir("/dev/fd")):  # noqa: PTH208  (a number each, not a path)
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue  # the descriptor of the listing itself
        if stat.S_ISSOCK(status.st_mode):
            found.add((descriptor, status.st_ino))
    return found


class Census:
    """What the process holds when a test begins; `left` tells what has been added since.

    Freezing the heap makes both cheap: collections and scans see only objects that are newer than the test.
    """

    def __enter__(self) -> Self:
        gc.freeze()
        self._sockets = open_sockets()
        self._threads = set(threading.enumerate())
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()

    def left(self) -> list[str]:
        """Describe the sockets and threads that are new and still there."""
        gc.collect()  # what only a reference cycle holds warns here, in the test that made it
        return [*self._sockets_left(), *self._threads_left()]

    def _sockets_left(self) -> Iterator[str]:
        sockets = open_sockets() - self._sockets
        if not sockets:
            return
        owners = {each.fileno(): repr(each) for each in gc.get_objects() if isinstance(each, socket.socket)}
        for descriptor, _ in sorted(sockets):
            yield f"  an open socket: {owners.get(descriptor, f'descriptor {descriptor}')}"

    def _threads_left(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if thread in self._threads or IDLE_TRIO_THREAD.fullmatch(thread.name):
                continue
            thread.join(THREAD_GRACE)
            if thread.is_alive():
                yield f"  a thread: {thread!r}"


class TaskCensus:
    """The tasks of the running loop when a test begins; `left` tells what has been added since."""

    def __init__(self) -> None:
        self._tasks = self._all_tasks()

    async def left(self) -> list[str]:
        """Describe the tasks and the async generators that are new and do not end by themselves."""
        for _ in range(GRACE):
            if not (tasks := self._new_tasks()):
                break
            await anyio.lowlevel.checkpoint()
        return [*(f"  a task: {each!r}" for each in tasks), *_generators_left()]

    def _new_tasks(self) -> set[object]:
        return self._all_tasks() - self._tasks

    @staticmethod
    def _all_tasks() -> set[object]:
        if trio.lowlevel.in_trio_run():
            return set(_trio_tasks())
        return {task for task in asyncio.all_tasks() if not _is_of_the_runner(task)}


def _is_of_the_runner(task: "asyncio.Task[object]") -> bool:
    # anyio's test runner wraps each call into the loop in a task of its own.
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


def _trio_tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        yield task
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)


def _generators_left() -> Iterator[str]:
    for each in gc.get_objects():
        if not isinstance(each, types.AsyncGeneratorType) or each.ag_frame is None:
            continue
        if each.ag_running or each.ag_frame.f_lasti < 0:
            continue  # the guard itself; one that never began holds nothing
        yield f"  an async generator: {each!r}, waiting in line {each.ag_frame.f_lineno}"
