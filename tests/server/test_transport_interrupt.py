"""Waking the task that waits in `receive`: it loses nothing, and the transport goes on."""

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from tests.conftest import REAL, VIRTUAL
from tests.server.links import KINDS, Link, open_link, turns

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        ("anyio_backend", "kind"),
        [(backend, "stream") for backend in VIRTUAL] + [(backend, kind) for backend in REAL for kind in KINDS],
        indirect=["anyio_backend"],
    ),
]


@pytest.fixture
async def link(kind: str, tmp_path: Path) -> AsyncGenerator[Link]:
    """Connect a transport and its peer."""
    async with open_link(kind, tmp_path) as link:
        yield link


async def interrupted(link: Link) -> bool:
    """Receive; tell whether that was interrupted."""
    try:
        await link.transport.receive()
    except InterruptedError:
        return True
    return False


@pytest.mark.parametrize("watched", [False, True])
async def test_it_wakes_who_waits_and_nothing_is_lost(link: Link, watched: bool) -> None:
    if watched:
        link.transport.watch(lambda: None)
        await turns()
    outcomes = []

    async def wait() -> None:
        outcomes.append(await interrupted(link))

    for _ in range(2):
        link.tasks.start_soon(wait)
        await turns()
        link.transport.interrupt()
        await turns()
    assert outcomes == [True, True]
    await link.peer.send(b"later")
    with anyio.fail_after(10):
        assert await link.transport.receive() == b"later"
    link.transport.write(b"and back")
    await link.transport.drain()
    with anyio.fail_after(10):
        assert await link.peer.receive() == b"and back"


async def test_it_does_nothing_when_nobody_waits(link: Link) -> None:
    link.transport.interrupt()
    await link.peer.send(b"here")
    with anyio.fail_after(10):
        assert await link.transport.receive() == b"here"


async def test_an_abort_behind_it_is_an_abort(link: Link) -> None:
    outcomes = []

    async def wait() -> None:
        try:
            outcomes.append(await interrupted(link))
        except ConnectionError:
            outcomes.append("aborted")

    link.tasks.start_soon(wait)
    await turns()
    link.transport.interrupt()
    await turns()
    link.tasks.start_soon(wait)
    await turns()
    link.transport.abort()
    await turns()
    assert outcomes == [True, "aborted"]


async def test_it_does_not_disturb_who_drains(link: Link) -> None:
    """The peer takes nothing at first: a writer waits beside the reader."""
    data = bytes(2_000_000)
    drained = anyio.Event()

    async def drain() -> None:
        link.transport.write(data)
        await link.transport.drain()
        drained.set()

    async def wait() -> None:
        assert await interrupted(link)

    link.tasks.start_soon(drain)
    link.tasks.start_soon(wait)
    await turns()
    assert not drained.is_set()
    link.transport.interrupt()
    await turns()
    assert not drained.is_set()
    taken = 0
    with anyio.fail_after(10):
        while taken < len(data):
            taken += len(await link.peer.receive())
        await drained.wait()


async def expect(link: Link) -> bytes:
    """Receive, without a coroutine of the transport where it has a way."""
    coming = link.transport.expect()
    if coming is not None:
        await coming
    return link.transport.expected() or await link.transport.receive()


async def test_expecting_is_receiving(link: Link) -> None:
    outcomes: list[object] = []

    async def wait() -> None:
        try:
            outcomes.append(await expect(link))
        except InterruptedError:
            outcomes.append("interrupted")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await turns()
            link.transport.interrupt()
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await turns()
            group.cancel_scope.cancel()
        link.transport.interrupt()  # nobody
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await turns()
            await link.peer.send(b"waited for")
        await link.peer.send(b"here")
        outcomes.append(await expect(link))
        await link.peer.half_close()
        outcomes.append(await expect(link))
    assert outcomes == ["interrupted", b"waited for", b"here", b""]
