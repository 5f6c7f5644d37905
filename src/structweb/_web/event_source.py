"""Server-sent events: `EventSourceResponse`, the event stream of the HTML standard (section 9.2)."""

import math
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio

from structweb._web.headers import CONTENT_TYPE, LooseHeaders
from structweb._web.streaming import Bytes, Stage, StreamResponse
from structweb._wire.reply import bodiless

if TYPE_CHECKING:
    from structweb._server.notice import ShutdownNotice
    from structweb._web.request import BaseRequest

#: Seconds of silence that proxies tolerate: the standard's authors found "every 15 seconds or so" to be enough.
PING_INTERVAL: Final = 15.0
#: The milliseconds over which the clients of a server that shuts down are spread.
SHUTDOWN_RETRY: Final = (1000, 10000)

_PING: Final = b": ping\n\n"
# What ends a line of an event stream.  str.splitlines() knows more, and clients do not.
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_FORBIDDEN: Final = re.compile(r"[\r\n\0]")


def _one_line(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r}")
    if _FORBIDDEN.search(value):
        raise ValueError(f"{name} must not contain CR, LF or NUL, got {value!r}")
    return f"{name}: {value}\n"


def _event(data: str | None, id: str | None, event: str | None, retry: int | None) -> bytes:
    """Return an event in the standard's format, its blank line included; see `EventSourceResponse.send`."""
    lines = []
    if id is not None:
        lines.append(_one_line("id", id))
    if event is not None:
        lines.append(_one_line("event", event))
    if data is not None:
        if not isinstance(data, str):
            raise TypeError(f"data must be a str or None, got {data!r}")
        # Clients take away one space behind the colon: without it, they would take one of the data's own.
        lines += [f"data: {line}\n" for line in _LINE_END.split(data)]
    if retry is not None:
        if not isinstance(retry, int):
            raise TypeError(f"retry must be an int, in milliseconds, got {retry!r}")
        if retry < 0:
            raise ValueError(f"retry must be 0 or more milliseconds, got {retry!r}")
        lines.append(f"retry: {retry:d}\n")
    if not lines:
        raise ValueError("an event must have one of data, id, event and retry, got none")
    lines.append("\n")
    return "".join(lines).encode()


class EventSourceResponse(StreamResponse):
    """A stream of events to a browser's EventSource: `prepare` it, and `send` inside ``async with response:``.

    The block is where the stream lives.  In it, a comment is sent whenever `ping_interval` seconds have passed without
    an event (None: never), which keeps proxies from giving up.  The block is ended (what it awaits is cancelled, and
    the program goes on behind it) when a shutdown begins, after a last ``retry:`` of random length from
    `shutdown_retry` (lowest and highest milliseconds), so that not all clients come back at the same moment; by
    `stop_streaming`; and at once where there is no body (HEAD, 204).  When the client leaves, the handler is
    cancelled; one with ``disconnect="finish"`` gets ConnectionResetError at the next event or comment, out of the block.

    `headers` may replace the default Cache-Control and X-Accel-Buffering, not Content-Type.  Nothing is compressed
    unless `enable_compression` is called.  Raises ValueError for intervals that cannot be, TypeError
    for milliseconds that are not whole.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        reason: str | None = None,
        headers: LooseHeaders | None = None,
        ping_interval: float | None = PING_INTERVAL,
        shutdown_retry: tuple[int, int] = SHUTDOWN_RETRY,
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        if ping_interval is not None and not 0 < ping_interval < math.inf:
            raise ValueError(f"ping_interval must be a finite number greater than 0, or None, got {ping_interval!r}")
        low, high = map(index, shutdown_retry)
        if not 0 <= low <= high:
            raise ValueError(f"shutdown_retry must be two numbers, 0 <= lowest <= highest, got {shutdown_retry!r}")
        self.headers[CONTENT_TYPE] = "text/event-stream"
        self.headers.setdefault("Cache-Control", "no-cache, no-store")
        # nginx, and what learnt from it, would collect events until a buffer is full.
        self.headers.setdefault("X-Accel-Buffering", "no")
        self._interval = math.inf if ping_interval is None else ping_interval
        self._shutdown_retry = (low, high)
        self._last_event_id: str | None = None
        self._request: BaseRequest | None = None
        #: Held while an event is on its way.  Who is cancelled waiting for it has sent nothing.
        self._turn = anyio.Lock()
        #: The scope around the block; None before it.
        self._block: anyio.CancelScope | None = None
        #: The scope of the task beside it.
        self._attendance = anyio.CancelScope()
        self._over = anyio.Event()
        self._ping_at = math.inf
        #: What a comment found out: that nobody is there.
        self._lost: ConnectionResetError | None = None

    async def prepare(self, request: "BaseRequest") -> Self | None:
        """Send status and headers; see `StreamResponse.prepare`."""
        if self._request is None:
            self._last_event_id = request.headers.get("Last-Event-ID")
        prepared = await super().prepare(request)
        self._request = request
        return prepared

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that the client has got before it came back; None for a client that is new.

        Raises RuntimeError before `prepare`.
        """
        self._prepared_request("last_event_id")
        return self._last_event_id

    def is_connected(self) -> bool:
        """Whether the block is open: entered, and neither ended nor left."""
        return self._block is not None and not self._over.is_set()

    async def send(
        self,
        data: str | None,
        id: str | None = None,
        event: str | None = None,
        retry: int | None = None,
    ) -> None:
        r"""Send an event; wait while the client is slow, and for its turn: many tasks may send.

        `data` is split into lines at CR LF, CR and LF; clients get it with LF.  With None, they get no event, and take
        `id` and `retry` all the same.  `id` is what `last_event_id` is when the client comes back.  `event` is the name
        to listen to, "message" unless given.  After `retry` milliseconds a client comes back.

        Raises ValueError, with nothing sent, for CR, LF or NUL in `id` and `event`, for a negative `retry`, and for
        no field at all; TypeError for other types; and what `StreamResponse.write` raises: RuntimeError before
        `prepare` and behind the end, ConnectionResetError when the client has left.
        """
        encoded = _event(data, id, event, retry)
        async with self._turn:
            await self._write_event(encoded)

    async def _write_event(self, encoded: bytes) -> None:
        """Send what is complete; the turn must be held."""
        self._ping_at = anyio.current_time() + self._interval
        try:
            await self.write(encoded)
        finally:
            self._end_if_over()

    def _end_if_over(self) -> None:
        """Do what `stop_streaming` has put off; with the turn still held, those who wait for it in the block go, too."""
        if self._block is not None and self._over.is_set():
            self._block.cancel()

    async def write_eof(self, data: Bytes = b"") -> None:
        """End the body; see `StreamResponse.write_eof`.  What is on its way goes first, and no comment follows."""
        async with self._turn:
            try:
                await super().write_eof(data)
            finally:
                self._end_if_over()

    def stop_streaming(self) -> None:
        """End the block, from whichever task; an event that is on its way gets there whole before.

        Raises RuntimeError before the block.
        """
        block = self._entered_block("stop_streaming()")
        self._over.set()
        if not self._turn.locked():  # a write that is cancelled half-way ends the connection
            block.cancel()

    async def wait(self) -> None:
        """Wait until the stream ends, while other tasks send.  Raises RuntimeError before the block."""
        self._entered_block("wait()")
        await self._over.wait()

    # -- the block -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        request = self._prepared_request("async with")
        if self._block is not None:
            raise RuntimeError("the block of an EventSourceResponse can be entered once")
        self._block = anyio.CancelScope()
        if bodiless(request._exchange.head.method, self._status):
            self.stop_streaming()
        else:
            self._ping_at = anyio.current_time() + self._interval
            # The request is its owner, and ends it if nobody leaves the block.
            request.spawn(self._attend, request.shutting_down, name="structweb event stream")
        self._block.__enter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        block = self._entered_block("leaving the block")
        self._over.set()
        ended = bool(block.__exit__(exc_type, exc, traceback))
        try:
            if exc is None or ended:
                await self._say_when_to_return(self._prepared_request("leaving the block").shutting_down)
        finally:
            self._attendance.cancel()
        return ended

    async def _say_when_to_return(self, notice: "ShutdownNotice") -> None:
        """Send what a shutdown owes the client; a comment that is on its way goes first, whole."""
        async with self._turn:
            if self._lost is not None:
                raise self._lost
            if notice and self._stage is Stage.STARTED:
                retry = random.randint(*self._shutdown_retry)  # noqa: S311 - spreads load, keeps no secret
                await self._write_event(_event(None, None, None, retry))

    async def _attend(self, notice: "ShutdownNotice") -> None:
        """Send comments into the silence, until a shutdown begins: then end the block."""
        with self._attendance:
            try:
                while not notice:
                    with anyio.move_on_after(self._ping_at - anyio.current_time()):
                        await notice.wait()
                    if not notice and anyio.current_time() >= self._ping_at:
                        await self._ping()
            except ConnectionResetError as exc:
                self._lost = exc  # raised where the block is left
            self.stop_streaming()

    async def _ping(self) -> None:
        self._ping_at = anyio.current_time() + self._interval
        # With an event on its way there is no silence, and behind write_eof() nothing to say.
        if not self._turn.locked() and self._stage is Stage.STARTED:
            async with self._turn:
                await self._write_event(_PING)

    def _prepared_request(self, what: str) -> "BaseRequest":
        if self._request is None:
            raise RuntimeError(f"{what} must come after prepare(), {self!r} is not there")
        return self._request

    def _entered_block(self, what: str) -> anyio.CancelScope:
        if self._block is None:
            raise RuntimeError(f"{what} must come after `async with response:` was entered")
        return self._block


@asynccontextmanager
async def sse_response(
    request: "BaseRequest",
    *,
    status: int = 200,
    reason: str | None = None,
    headers: LooseHeaders | None = None,
    ping_interval: float | None = PING_INTERVAL,
    shutdown_retry: tuple[int, int] = SHUTDOWN_RETRY,
) -> AsyncIterator[EventSourceResponse]:
    """Make an `EventSourceResponse`, prepare it, and enter its block: ``async with web.sse_response(request) as response:``.

    The handler has to return the response.  Takes, and raises, what `EventSourceResponse` does.
    """
    response = EventSourceResponse(
        status=status, reason=reason, headers=headers, ping_interval=ping_interval, shutdown_retry=shutdown_retry
    )
    await response.prepare(request)
    async with response:
        yield response
