"""Reading for transports that are asked for bytes: one reader, and a watcher that takes over when needed.

A stream that has to be awaited (a trio socket, any anyio stream) tells nothing while nobody reads it.  So the
first `watch` starts a watcher: a task that reads ahead while a handler runs.  It never runs for connections
whose handlers never wait, and it sleeps while `receive` does the reading.
"""

from abc import abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import anyio

from structweb._server.config import ServerConfig
from structweb._server.transport.base import NOTHING_KNOWN, Inbound, TaskStarter, Transport

#: Bytes asked for in one read.
READ_SIZE: Final = 65536
#: Bytes asked for when the last read got all that it asked for.  Measured: less takes more reads, and at 256 KiB malloc
#: gives the memory back to the system between them.
READ_MORE: Final = 196608
#: Bytes that one `receive` returns at most; only a budget of more than the default ever reaches it.
RECEIVE_MOST: Final = 262144
#: Reads in a row without a look at what else there is to do.
READS_IN_A_ROW: Final = 8


class Reader(Enum):
    """Who is reading the stream."""

    NOBODY = "nobody"
    #: The task in `receive`.
    RECEIVER = "receiver"
    WATCHER = "watcher"


# Looking a member up in its enum takes 0.1 us on CPython 3.11.
_OPEN: Final = Inbound.OPEN
_NOBODY: Final = Reader.NOBODY
_RECEIVER: Final = Reader.RECEIVER


class PullTransport(Transport):
    """`receive`, `watch` and `unwatch` over an async `pull`.  Those who derive from it write and close."""

    __slots__ = (
        "_ahead",
        "_budget",
        "_failure",
        "_gone",
        "_inbound",
        "_interrupted",
        "_news",
        "_parked",
        "_reader",
        "_tasks",
        "_watcher",
    )

    #: What makes an event; a transport of one backend names that backend's own, which is cheaper.
    _event: Callable[[], Any] = anyio.Event  # Any: anyio's and trio's events have no type in common

    def __init__(self, config: ServerConfig, tasks: TaskStarter) -> None:
        self._budget = max(1, config.limits.read_ahead)
        self._tasks = tasks
        self.known = NOTHING_KNOWN
        self._ahead = b""
        self._inbound = _OPEN
        self._failure: Exception | None = None
        self._reader = _NOBODY
        #: Whether `receive` is to give up its wait.
        self._interrupted = False
        self._gone: Callable[[], None] | None = None
        # Made with the watcher, which most connections never have.
        self._watcher: anyio.CancelScope | None = None
        #: Wakes the watcher, when it is asleep.
        self._parked: Any = None  # Any: see _event
        #: Wakes a task in `receive`, while the watcher reads for it.
        self._news: Any = None  # Any: see _event

    @abstractmethod
    async def pull(self) -> bytes:
        """Read once, at most `READ_SIZE` bytes; b"" when the peer has ended its side.

        Raises ConnectionError when the connection broke.  Cancelling it loses no bytes.
        """

    @abstractmethod
    def _interrupt_pull(self) -> None:
        """Have the task in `pull` raise InterruptedError, or return what it has."""

    async def receive(self) -> bytes:
        """Return the next bytes, as the base class has it."""
        self._interrupted = False
        while True:
            if self._ahead:
                data, self._ahead = self._ahead[:RECEIVE_MOST], self._ahead[RECEIVE_MOST:]
                if self._gone is not None:
                    self._rouse()  # the budget is free again
                return data
            if self._inbound is not _OPEN:
                return self._inbound.end(self._failure)
            if self._reader is _NOBODY:
                return await self._receive_alone()
            await self._await_news()
            if self._interrupted and not self._ahead:
                raise InterruptedError("receive() was interrupted")

    async def _receive_alone(self) -> bytes:
        self._reader = _RECEIVER
        try:
            data = await self.pull()
        except ConnectionError as exc:
            self._end_inbound(Inbound.BROKEN, exc)
            return self._inbound.end(self._failure)
        finally:
            self._reader = _NOBODY
            if self._gone is not None:
                self._rouse()  # armed while this task was reading
        if not data:
            self._end_inbound(Inbound.ENDED)
            return self._inbound.end(self._failure)
        return data

    async def _await_news(self) -> None:
        self._news = self._event()
        try:
            await self._news.wait()
        finally:
            self._news = None

    def interrupt(self) -> None:
        """Wake the task in `receive`, as the base class has it."""
        if self._reader is _RECEIVER:
            self._interrupted = True
            self._interrupt_pull()
        elif self._news is not None:
            self._interrupted = True
            self._news.set()

    def _end_inbound(self, how: Inbound, failure: Exception | None = None) -> None:
        """Record the end of the peer's side, and tell all who wait for it."""
        if self._inbound is _OPEN or how is Inbound.CLOSED:
            self._inbound = how
            self._failure = failure
        if self._news is not None:
            self._news.set()
        gone, self._gone = self._gone, None
        if gone is not None and how is not Inbound.CLOSED:
            gone()

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the peer is gone, as the base class has it."""
        if self._inbound is not _OPEN:
            gone()
            return
        self._gone = gone
        if self._reader is _NOBODY and len(self._ahead) < self._budget:
            self._rouse()

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side in good order."""
        return self._inbound is Inbound.ENDED

    def unwatch(self) -> None:
        """Forget the callback.  The watcher stays, and sleeps after its next read."""
        self._gone = None

    def _rouse(self) -> None:
        """Let the watcher look whether it has to read; starts it the first time."""
        if self._watcher is None:
            if self._inbound is _OPEN:
                self._watcher = anyio.CancelScope()
                self._tasks.start_soon(self._watch, self._watcher, name="structweb watcher")
        elif self._parked is not None:
            self._parked.set()

    def _stop(self) -> None:
        """End the reading side because this side closes: the watcher, and a task in `receive`."""
        self._end_inbound(Inbound.CLOSED)
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self, scope: anyio.CancelScope) -> None:
        with scope:
            while self._inbound is _OPEN:
                if self._gone is None or self._reader is _RECEIVER or len(self._ahead) >= self._budget:
                    await self._park()
                else:
                    await self._read_ahead()

    async def _park(self) -> None:
        self._parked = self._event()
        await self._parked.wait()
        self._parked = None

    async def _read_ahead(self) -> None:
        self._reader = Reader.WATCHER
        try:
            data = await self.pull()
        except ConnectionError as exc:
            self._end_inbound(Inbound.BROKEN, exc)
            return
        finally:
            self._reader = _NOBODY
        if not data:
            self._end_inbound(Inbound.ENDED)
            return
        self._ahead = self._ahead + data if self._ahead else data
        if self._news is not None:
            self._news.set()
