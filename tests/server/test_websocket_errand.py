"""A piece of work that is done when somebody asks for it."""

import anyio
import pytest

from structweb._server.websocket_errand import Errand

pytestmark = pytest.mark.anyio


class Work:
    """Counts how often it was done; waits in between when it is held."""

    def __init__(self) -> None:
        self.done = 0
        self.gate = anyio.Event()

    async def __call__(self) -> None:
        await self.gate.wait()
        self.done += 1


async def test_it_is_done_once_for_each_time_it_is_roused():
    work = Work()
    work.gate.set()
    async with anyio.create_task_group() as group:
        errand = Errand(group, work, "an errand")
        for times in range(1, 4):
            errand.rouse()
            await anyio.wait_all_tasks_blocked()
            assert work.done == times
        group.cancel_scope.cancel()


async def test_roused_while_it_works_it_begins_again_once():
    work = Work()
    async with anyio.create_task_group() as group:
        errand = Errand(group, work, "an errand")
        errand.rouse()
        await anyio.wait_all_tasks_blocked()
        errand.rouse()
        errand.rouse()
        work.gate.set()
        await anyio.wait_all_tasks_blocked()
        assert work.done == 2
        group.cancel_scope.cancel()


async def test_never_roused_it_has_no_task():
    """The group ends though nobody cancels it."""
    async with anyio.create_task_group() as group:
        Errand(group, Work(), "an errand")
