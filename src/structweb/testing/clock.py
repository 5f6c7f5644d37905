"""Virtual time on both backends: waiting costs nothing, and a timeout of an hour passes in no time.

Whenever every task waits and no I/O is ready, the clock jumps to the next deadline.  The jump does not see
worker threads, nor bytes that are still on their way through the kernel: tests that use threads or real
sockets want the real clock.
"""

import asyncio
import selectors
from typing import Any, Final

BACKENDS: Final = ("asyncio", "trio")


class _Clock:
    """The time of one loop, in seconds from its creation; moved only by jumps."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that, instead of waiting for a deadline, moves the clock there."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # No deadline to jump to: only real I/O or another thread can go on from here.
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._clock.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time: it jumps to the next timer when nothing else is left to do.

    `time` starts at 0 and moves only in jumps.  With no timer pending the loop waits for real I/O, as any loop.
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(_JumpingSelector(self._clock))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._clock.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads of the default executor, however long: `timeout` would be over before they can end."""
        await super().shutdown_default_executor()


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:  # Any: what each backend's runner takes
    """Return the backend `name` ("asyncio" or "trio") with options for virtual time.

    The pair is what a fixture named ``anyio_backend`` returns, and its parts are what `anyio.run` takes as
    ``backend`` and ``backend_options``.  Call it once for each run: a trio clock belongs to one run at a time.
    """
    match name:
        case "asyncio":
            return "asyncio", {"loop_factory": VirtualTimeLoop}
        case "trio":
            # Here and not above: an asyncio program that uses this module needs no trio.
            from trio.testing import MockClock

            return "trio", {"clock": MockClock(autojump_threshold=0)}
        case _:
            raise ValueError(f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {name!r}")
