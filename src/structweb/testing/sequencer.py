"""A fixed order for the steps of several tasks, after trio's tool of the same name, on both backends."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio


class SequenceBrokenError(RuntimeError):
    """A step was cancelled or failed while it waited, so the steps behind it cannot come in order."""


class Sequencer:
    """Runs blocks of code of different tasks in the order of their numbers.

    ``async with seq(0): ...`` starts at once; ``async with seq(n): ...`` when block n - 1 has been left, in
    whatever way.  Each number is used once::

        seq = Sequencer()
        # in one task                       # in another
        async with seq(0):                  async with seq(1):
            await ws.send("a")                  await ws.close()
    """

    def __init__(self) -> None:
        self._turns: dict[int, anyio.Event] = {}
        self._claimed: set[int] = set()
        self._broken = False

    @asynccontextmanager
    async def __call__(self, position: int) -> AsyncGenerator[None]:
        """Wait until the block before `position` has ended, then run this one.

        Raises `SequenceBrokenError` when another wait was cancelled: then no later block may run.
        """
        if position < 0:
            raise ValueError(f"a position must be 0 or more, got {position}")
        if position in self._claimed:
            raise ValueError(f"position {position} has been used already; each block needs a number of its own")
        self._claimed.add(position)
        if position > 0 and not self._broken:
            await self._wait(position)
        if self._broken:
            raise SequenceBrokenError(f"block {position} cannot run: the wait of another block was cancelled")
        try:
            yield
        finally:
            self._turn(position + 1).set()

    async def _wait(self, position: int) -> None:
        try:
            await self._turn(position).wait()
        except BaseException:
            self._broken = True
            for turn in self._turns.values():
                turn.set()
            raise

    def _turn(self, position: int) -> anyio.Event:
        turn = self._turns.get(position)
        if turn is None:
            turn = self._turns[position] = anyio.Event()
        return turn
