"""Where a suspended coroutine waits."""

import types

import anyio
import pytest

from structweb._server.whereabouts import await_point

pytestmark = pytest.mark.anyio


@types.coroutine
def trap():
    yield


async def inner():
    await trap()


async def outer():
    await inner()


def suspended(coroutine):
    coroutine.send(None)
    return coroutine


def test_the_innermost_await_is_named():
    coroutine = suspended(outer())
    place = await_point(coroutine)
    assert place == f"{__file__}:{trap.__code__.co_firstlineno + 2} in trap"
    coroutine.close()


async def test_the_users_own_line_is_named_not_the_librarys():
    async def handler():
        await anyio.sleep_forever()

    coroutine = handler()

    async def run():
        await coroutine

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        line = handler.__code__.co_firstlineno + 1
        assert await_point(coroutine) == f"{__file__}:{line} in {handler.__qualname__}"
        group.cancel_scope.cancel()


def test_asynchronous_generators_are_looked_into():
    async def numbers():
        await trap()
        yield 1

    async def handler():
        async for _number in numbers():
            pass

    coroutine = suspended(handler())
    assert await_point(coroutine).endswith("in trap")
    coroutine.close()


@pytest.mark.parametrize("what", [None, 1, object()])
def test_what_does_not_wait_has_no_place(what):
    assert await_point(what) is None


def test_a_coroutine_that_has_ended_has_no_place():
    async def nothing():
        pass

    coroutine = nothing()
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert await_point(coroutine) is None
