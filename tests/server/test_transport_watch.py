"""The notice of departure: every transport tells once, in time, when its peer is gone."""

import random
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from structweb.testing import Sequencer
from tests.conftest import REAL, VIRTUAL
from tests.server.links import CONFIG, KINDS, Link, open_link, settled, turns

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        ("anyio_backend", "kind"),
        [(backend, "stream") for backend in VIRTUAL] + [(backend, kind) for backend in REAL for kind in KINDS],
        indirect=["anyio_backend"],
    ),
]

MEGABYTE = random.Random(2).randbytes(1_000_000)


@pytest.fixture
async def link(kind: str, tmp_path: Path) -> AsyncGenerator[Link]:
    """Connect a transport and its peer."""
    async with open_link(kind, tmp_path) as link:
        yield link


class Notice:
    """Counts how often the transport has called it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


async def test_a_fin_is_noticed_once(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    await turns()
    assert gone.calls == 0
    await link.peer.half_close()
    await settled(lambda: gone.calls > 0)
    assert await link.transport.receive() == b""
    await turns()
    assert gone.calls == 1


async def test_a_reset_is_noticed_once(link: Link) -> None:
    gone = Notice()
    link.transport.write(b"never read")
    link.transport.watch(gone)
    link.peer.reset()
    await settled(lambda: gone.calls > 0)
    with pytest.raises(ConnectionError):
        await link.transport.receive()
    await turns()
    assert gone.calls == 1


async def test_a_peer_that_vanishes_without_a_word_is_noticed(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    link.peer.vanish()
    await settled(lambda: gone.calls == 1)


async def test_a_peer_that_takes_its_leave_is_noticed(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    link.tasks.start_soon(link.peer.aclose)
    await settled(lambda: gone.calls == 1)


async def test_what_came_before_the_end_can_still_be_received(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    await link.peer.send(b"first")
    await turns()
    await link.peer.send(b", then more")
    await link.peer.half_close()
    await settled(lambda: gone.calls == 1)
    assert await link.receive_all() == b"first, then more"


async def test_a_peer_that_is_gone_already_is_told_at_once(link: Link) -> None:
    await link.peer.half_close()
    assert await link.transport.receive() == b""
    for _ in range(2):
        gone = Notice()
        link.transport.watch(gone)
        assert gone.calls == 1


async def test_the_last_watch_counts(link: Link) -> None:
    first, second = Notice(), Notice()
    link.transport.watch(first)
    link.transport.watch(second)
    await link.peer.half_close()
    await settled(lambda: second.calls == 1)
    assert first.calls == 0


async def test_after_unwatch_nobody_is_told(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    await turns()
    link.transport.unwatch()
    await link.peer.half_close()
    assert await link.receive_all() == b""
    assert gone.calls == 0


async def test_our_own_close_is_no_departure(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    await turns()
    await link.transport.aclose()
    await turns()
    assert gone.calls == 0


async def test_our_own_abort_is_no_departure(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    await turns()
    link.transport.abort()
    await turns()
    assert gone.calls == 0


async def test_a_watch_armed_while_a_task_receives(link: Link) -> None:
    gone = Notice()
    seq = Sequencer()
    received = []

    async def receive() -> None:
        async with seq(0):
            pass
        received.append(await link.transport.receive())
        async with seq(2):
            pass

    async def arm() -> None:
        async with seq(1):
            await turns()
            link.transport.watch(gone)
            await turns()
            await link.peer.send(b"body")
        async with seq(3):
            await link.peer.half_close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(arm)
    await settled(lambda: gone.calls == 1)
    assert received == [b"body"]


async def test_a_task_that_receives_while_watched_hears_of_the_end(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)

    async def leave() -> None:
        await turns()
        await link.peer.half_close()

    link.tasks.start_soon(leave)
    assert await link.transport.receive() == b""
    assert gone.calls == 1


async def test_a_cancelled_receive_leaves_the_watch_in_place(link: Link) -> None:
    gone = Notice()
    with anyio.move_on_after(0.005):
        link.transport.watch(gone)
        await link.transport.receive()
    with anyio.move_on_after(0.005):
        await link.transport.receive()
    await link.peer.half_close()
    await settled(lambda: gone.calls == 1)


async def test_many_requests_with_a_watch_each(link: Link) -> None:
    """The life of a keep-alive connection whose handlers all wait."""
    gone = Notice()
    for number in range(50):
        request = b"request %d" % number
        await link.peer.send(request)
        received = await link.transport.receive()
        link.transport.watch(gone)
        await turns(number % 3)
        link.transport.unwatch()
        link.transport.write(received)
        await link.transport.drain()
        answer = await link.peer.receive()
        assert answer == request
    link.transport.watch(gone)
    await link.peer.half_close()
    await settled(lambda: gone.calls == 1)


async def test_a_flooding_peer_is_held_back(link: Link) -> None:
    """While a handler waits, the peer gets rid of the read-ahead budget, one read, and what kernels hold."""
    gone = Notice()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        for start in range(0, len(MEGABYTE), 1000):
            await link.peer.send(MEGABYTE[start : start + 1000])
            sent += 1000
        await link.peer.half_close()

    link.transport.watch(gone)
    link.tasks.start_soon(flood)
    before = -1
    while sent > before:
        before = sent
        await turns()
    assert CONFIG.limits.read_ahead <= sent < 300_000
    assert gone.calls == 0
    assert await link.receive_all() == MEGABYTE
    assert gone.calls == 1


async def test_a_peer_that_leaves_behind_a_used_up_budget_is_noticed_once_it_is_taken(link: Link) -> None:
    gone = Notice()
    link.transport.watch(gone)
    await link.peer.send(bytes(CONFIG.limits.read_ahead))
    await turns()
    await link.peer.half_close()
    await turns()
    assert gone.calls == 0
    assert await link.transport.receive() == bytes(CONFIG.limits.read_ahead)
    await settled(lambda: gone.calls == 1)


async def test_the_notice_may_cancel_a_scope(link: Link) -> None:
    with anyio.CancelScope() as scope:
        link.transport.watch(scope.cancel)
        await link.peer.half_close()
        await anyio.sleep(10)
    assert scope.cancelled_caught
