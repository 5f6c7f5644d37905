"""Reading for transports whose loop calls back: bytes arrive, and one future wakes the task that waits for them.

The loop reads ahead while a handler runs, so a departure is noticed without any further work.
"""

import ssl
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from structweb._server.config import ServerConfig
from structweb._server.transport.base import NOTHING_KNOWN, Inbound, Transport, tls_info
from structweb._server.transport.pull import RECEIVE_MOST
from structweb._server.transport.tls import TlsCodec, handshake

# Looking a member up in its enum takes 0.1 us on CPython 3.11.
_OPEN: Final = Inbound.OPEN


class Waiter(Awaitable[None], Protocol):
    """A future, as loops make them."""

    def done(self) -> bool:
        """Whether it has its result."""

    def set_result(self, result: None, /) -> None:
        """Wake whoever waits."""

    def remove_done_callback(self, callback: Callable[[Any], object], /) -> int:  # Any: itself
        """Forget what is called when it has its result."""


class Loop(Protocol):
    """What is needed of an event loop."""

    def create_future(self) -> Any:  # Any: each loop has its own kind of Waiter
        """Return a new future."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> object:
        """Call back whenever `fd` is readable."""

    def remove_reader(self, fd: int, /) -> object:
        """End that."""

    def add_writer(self, fd: int, callback: Callable[..., object], /, *args: object) -> object:
        """Call back whenever `fd` is writable."""

    def remove_writer(self, fd: int, /) -> object:
        """End that."""


def wake(waiter: Waiter | None) -> None:
    """Wake the task that waits, if there is one."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def step(waiter: Waiter) -> None:
    """Wake the task that waits, and run it now, up to its next wait.

    Only for a callback of the loop, as its last act: a task would be run inside another one otherwise.  `wake` has the
    loop do it in its next round, which costs 1.5 us.  What nobody waits for, or more than one, is left to that.
    """
    callbacks = getattr(waiter, "_callbacks", None)  # futures of asyncio have it, in C and in Python
    if callbacks is None or len(callbacks) != 1:
        waiter.set_result(None)
        return
    run, context = callbacks[0]
    waiter.remove_done_callback(run)
    waiter.set_result(None)
    context.run(run, waiter)


class PushTransport(Transport):
    """`receive`, `watch` and `unwatch` over bytes that arrive.  Those who derive from it read on, write and close."""

    __slots__ = (
        "_ahead",
        "_budget",
        "_codec",
        "_drainer",
        "_failure",
        "_gone",
        "_inbound",
        "_interrupted",
        "_loop",
        "_mute",
        "_paused",
        "_receiver",
        "_write_limit",
        "congested",
    )

    def __init__(self, config: ServerConfig, loop: Loop) -> None:
        self._loop = loop
        self._budget = max(1, config.limits.read_ahead)
        self._write_limit = config.limits.write_buffer
        self._ahead = b""
        self._inbound = Inbound.OPEN
        self._failure: Exception | None = None
        self._gone: Callable[[], None] | None = None
        self._receiver: Waiter | None = None
        self._interrupted = False
        self._drainer: Waiter | None = None
        #: The loop does not read: the budget is used up, or nobody has asked yet.
        self._paused = False
        #: Our side has ended: what is written now has nowhere to go.
        self._mute = False
        #: For `TlsLayer` only, which cannot have slots of its own beside those of another base.
        self._codec: TlsCodec | None = None
        self.known = NOTHING_KNOWN
        self.congested = False

    @abstractmethod
    def _read_on(self) -> None:
        """Have the loop read; clears `_paused`."""

    def _look(self) -> bool:
        """Look for bytes without the loop; False where that is not possible, or was done before."""
        return False

    @abstractmethod
    def _stop_reading(self) -> None:
        """Have the loop not read; called when `_paused` was set."""

    # What `write`, `send_eof`, `aclose` and `get_extra_info` are without TLS.

    @abstractmethod
    def _put(self, data: bytes) -> None: ...

    @abstractmethod
    async def _fin(self) -> None: ...

    @abstractmethod
    async def _finish(self) -> None: ...

    @abstractmethod
    def _info(self, name: str, default: Any) -> Any: ...  # Any: each name has its own type

    def _arrived(self, data: bytes) -> None:
        """Take what the loop has read."""
        self._ahead = self._ahead + data if self._ahead else data
        size = len(self._ahead)
        # A task that waits takes all this in a moment: no need to stop for it.
        if size >= self._budget and not self._paused and (self._receiver is None or size > RECEIVE_MOST):
            self._paused = True
            self._stop_reading()
        receiver = self._receiver
        if receiver is not None and not receiver.done():
            receiver.set_result(None)

    def _end_inbound(self, how: Inbound, failure: Exception | None = None) -> None:
        """Record the end of the peer's side, and tell all who wait for it."""
        if self._inbound is _OPEN or how is Inbound.CLOSED:
            self._inbound = how
            self._failure = failure or self._failure  # a FIN that is read late does not mend what writing found broken
        wake(self._receiver)
        gone, self._gone = self._gone, None
        if gone is not None and how is not Inbound.CLOSED:
            gone()

    def expect(self) -> Awaitable[None] | None:
        """Return what to await for bytes, as the base class has it."""
        if self._ahead or self._paused or self._inbound is not _OPEN:
            return None
        receiver: Waiter = self._loop.create_future()
        self._receiver = receiver
        return receiver

    def expected(self) -> bytes:
        """Return the bytes that are there, as the base class has it."""
        self._receiver = None
        interrupted, self._interrupted = self._interrupted, False
        if self._paused or len(self._ahead) > RECEIVE_MOST:
            return b""
        if interrupted and not self._ahead:
            raise InterruptedError("receive() was interrupted")
        data, self._ahead = self._ahead, b""
        return data

    async def receive(self) -> bytes:
        """Return the next bytes, as the base class has it."""
        while not self._ahead:
            if self._inbound is not _OPEN:
                return self._inbound.end(self._failure)
            if self._paused:
                if not self._look():
                    self._read_on()
                continue
            self._receiver = receiver = self._loop.create_future()
            try:
                await receiver
            finally:
                self._receiver = None
            if self._interrupted:
                self._interrupted = False
                if not self._ahead:
                    raise InterruptedError("receive() was interrupted")
        data, self._ahead = self._ahead, b""
        if len(data) > RECEIVE_MOST:
            data, self._ahead = data[:RECEIVE_MOST], data[RECEIVE_MOST:]
        if self._paused and self._gone is not None and self._inbound is _OPEN and len(self._ahead) < self._budget:
            self._read_on()  # so that the watch goes on
        return data

    def interrupt(self) -> None:
        """Wake the task in `receive`, as the base class has it."""
        if self._receiver is not None and not self._receiver.done():
            self._interrupted = True
            self._receiver.set_result(None)

    def watch(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the peer is gone, as the base class has it."""
        if self._inbound is not _OPEN:
            gone()
            return
        self._gone = gone
        if self._paused and len(self._ahead) < self._budget:
            self._read_on()

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side in good order."""
        return self._inbound is Inbound.ENDED

    def unwatch(self) -> None:
        """Forget the callback."""
        self._gone = None

    async def _until_not_congested(self) -> None:
        while self.congested:
            self._drainer = drainer = self._loop.create_future()
            try:
                await drainer
            finally:
                self._drainer = None


class TlsLayer(PushTransport):
    """Stands before a `PushTransport`: encrypts what is written and decrypts what arrives, after the handshake."""

    __slots__ = ()

    async def secure(self, context: ssl.SSLContext, timeout: float) -> None:
        """Shake hands.  Raises as `tls.handshake` does."""
        self._codec = await handshake(self, context, timeout)
        data, self._ahead = self._ahead, b""
        self._arrived(data)

    def _arrived(self, data: bytes) -> None:
        """Take what the loop has read, decrypted."""
        codec = self._codec
        if codec is None:
            super()._arrived(data)
            return
        try:
            plain = codec.decrypt(data)
        except ssl.SSLError as exc:
            self._end_inbound(Inbound.BROKEN, exc)
            plain = b""
        if reply := codec.outgoing():
            self._put(reply)
        if plain:
            super()._arrived(plain)
        if codec.ended:
            self._end_inbound(Inbound.ENDED)

    @property
    def ended(self) -> bool:
        """Whether the peer has said goodbye: a FIN without close_notify is no good order."""
        return self._inbound is Inbound.ENDED and (self._codec is None or self._codec.ended)

    def write(self, data: bytes) -> None:
        """Encrypt `data` and send it."""
        codec = self._codec
        if codec is None:
            self._put(data)
            return
        try:
            data = codec.encrypt(data)
        except ssl.SSLError:
            return  # TLS broke: the reading side has told
        self._put(data)

    # Through TLS, the bytes of a file have to be read: the loop of the base class.
    sendfile = Transport.sendfile

    async def send_eof(self) -> None:
        """Say farewell, then send a FIN."""
        self._say_farewell()
        await self._fin()

    async def aclose(self) -> None:
        """Say farewell, wait until the kernel has everything, then close."""
        self._say_farewell()
        await self._finish()

    def _say_farewell(self) -> None:
        if self._codec is not None and not self._mute:
            self._put(self._codec.farewell())

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what is known about the socket and its TLS, else `default`."""
        info = self._info(name, None)
        if info is None and self._codec is not None:
            return tls_info(self._codec.tls, name, default)
        return default if info is None else info
