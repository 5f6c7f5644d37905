"""The sequencer runs the blocks of several tasks in the order of their numbers."""

import anyio
import pytest

from structweb.testing import SequenceBrokenError, Sequencer

pytestmark = pytest.mark.anyio


async def test_blocks_run_in_order() -> None:
    seq = Sequencer()
    order: list[int] = []

    async def run(*positions: int) -> None:
        for position in positions:
            async with seq(position):
                await anyio.lowlevel.checkpoint()
                order.append(position)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, 2, 4)
        tasks.start_soon(run, 0, 5)
        tasks.start_soon(run, 1, 3)
    assert order == list(range(6))


async def test_a_block_that_fails_lets_the_next_one_run() -> None:
    seq = Sequencer()
    with pytest.raises(ZeroDivisionError):
        async with seq(0):
            raise ZeroDivisionError
    async with seq(1):
        pass


async def test_a_cancelled_wait_breaks_the_sequence_for_all() -> None:
    seq = Sequencer()
    broken = 0

    async def wait_for(position: int) -> None:
        nonlocal broken
        try:
            async with seq(position):
                pytest.fail("ran in spite of a broken sequence")
        except SequenceBrokenError:
            broken += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for, 2)
        with anyio.move_on_after(1):
            async with seq(1):
                pytest.fail("nobody left block 0")
    await wait_for(3)
    assert broken == 2


async def test_a_number_is_used_once() -> None:
    seq = Sequencer()
    async with seq(0):
        pass
    with pytest.raises(ValueError, match="position 0 has been used already"):
        async with seq(0):
            pass
    with pytest.raises(ValueError, match="must be 0 or more, got -1"):
        async with seq(-1):
            pass
