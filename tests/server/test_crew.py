"""The tasks of a connection beside its own: ended, joined, and answered for."""

import anyio
import pytest

from structweb._server.crew import Crew

pytestmark = pytest.mark.anyio


async def test_without_a_task_there_is_nothing_to_do() -> None:
    """A crew that was never needed costs no wait."""
    async with anyio.create_task_group() as group:
        crew = Crew(group, lambda: None)
        assert not crew.needed
        await crew.dismiss()


async def test_tasks_are_cancelled_and_joined() -> None:
    """When `dismiss` returns, nothing of the crew runs any more."""
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(number)
            ended.append(number)

    async with anyio.create_task_group() as group:
        crew = Crew(group, lambda: None)
        crew.start_soon(work, 2)
        crew.start_soon(work, 1, name="short")
        await anyio.wait_all_tasks_blocked()
        await crew.dismiss()
        assert ended == [1, 2]
        with pytest.raises(RuntimeError, match="a connection is ending"):
            crew.start_soon(work, 3)


async def test_being_cancelled_does_not_shorten_the_wait() -> None:
    """A connection that is cancelled still joins its tasks."""
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            ended = True

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            crew = Crew(group, scope.cancel)
            crew.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await crew.dismiss()
        assert ended


async def test_a_failure_cancels_the_host_and_is_raised() -> None:
    """As a task group would have it; the group of all connections goes on."""

    async def fail() -> None:
        raise LookupError("of a task")

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            crew = Crew(group, scope.cancel)
            crew.start_soon(fail)
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(BaseExceptionGroup) as caught:
            await crew.dismiss()
        assert [str(failure) for failure in caught.value.exceptions] == ["of a task"]
        assert not group.cancel_scope.cancel_called


async def test_tasks_that_end_by_themselves_are_forgotten() -> None:
    """Nothing is left to wait for."""
    async with anyio.create_task_group() as group:
        crew = Crew(group, lambda: None)
        crew.start_soon(anyio.sleep, 1)
        await anyio.sleep(2)
        assert crew.needed
        await crew.dismiss()


async def test_a_stray_cancellation_stays_in_its_task() -> None:
    """A task that raises the backend's cancellation by itself takes nobody along."""

    async def stray() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep(1)
            except anyio.get_cancelled_exc_class() as exc:
                strayed.append(exc)
        raise strayed[0]

    strayed: list[BaseException] = []
    async with anyio.create_task_group() as group:
        crew = Crew(group, lambda: None)
        crew.start_soon(stray)
        await anyio.wait_all_tasks_blocked()
        await crew.dismiss()
        assert not group.cancel_scope.cancel_called
