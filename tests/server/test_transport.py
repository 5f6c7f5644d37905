"""One suite for all transports: whatever carries the bytes, a connection sees the same behaviour."""

import logging
import random
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
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

MEGABYTE = random.Random(1).randbytes(1_000_000)


@pytest.fixture
async def link(kind: str, tmp_path: Path) -> AsyncGenerator[Link]:
    """Connect a transport and its peer."""
    async with open_link(kind, tmp_path) as link:
        yield link


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail when anything is logged: what peers do is no news for a log."""
    yield
    for record in caplog.get_records("call"):
        assert record.levelno < logging.INFO, record.getMessage()


class Notice:
    """Counts how often the transport has called it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


async def send_then_close(link: Link, data: bytes) -> None:
    await link.peer.send(data)
    await link.peer.half_close()


# Bytes


async def test_bytes_arrive_in_order(link: Link) -> None:
    link.tasks.start_soon(send_then_close, link, MEGABYTE)
    assert await link.receive_all() == MEGABYTE


async def test_bytes_leave_in_order(link: Link) -> None:
    async def write() -> None:
        for start in range(0, len(MEGABYTE), 3000):
            link.transport.write(MEGABYTE[start : start + 3000])
            if link.transport.congested:
                await link.transport.drain()
        await link.transport.aclose()

    link.tasks.start_soon(write)
    assert await link.peer_receives_all() == MEGABYTE


async def test_a_big_write_leaves_whole(link: Link) -> None:
    link.transport.write(MEGABYTE)
    assert link.transport.congested
    link.tasks.start_soon(link.transport.aclose)
    assert await link.peer_receives_all() == MEGABYTE


async def test_both_directions_flow_at_once(link: Link) -> None:
    async def echo() -> None:
        while data := await link.transport.receive():
            link.transport.write(data)
            await link.transport.drain()
        await link.transport.aclose()

    link.tasks.start_soon(echo)
    link.tasks.start_soon(send_then_close, link, MEGABYTE)
    assert await link.peer_receives_all() == MEGABYTE


async def test_a_receive_returns_a_bounded_piece(link: Link) -> None:
    link.transport.watch(Notice())
    link.tasks.start_soon(send_then_close, link, MEGABYTE)
    await turns()
    sizes = []
    while data := await link.transport.receive():
        sizes.append(len(data))
    assert sum(sizes) == len(MEGABYTE)
    assert max(sizes) <= 262144


# The ends of a connection


async def test_the_end_is_told_each_time(link: Link) -> None:
    await send_then_close(link, b"last words")
    assert await link.receive_all() == b"last words"
    assert await link.transport.receive() == b""


async def test_a_peer_that_ended_its_side_is_still_answered(link: Link) -> None:
    await send_then_close(link, b"ping")
    assert await link.receive_all() == b"ping"
    link.transport.write(b"pong")
    await link.transport.aclose()
    assert await link.peer_receives_all() == b"pong"


async def test_our_side_can_end_first(link: Link) -> None:
    link.transport.write(b"enough")
    await link.transport.send_eof()
    assert await link.peer_receives_all() == b"enough"
    await send_then_close(link, b"the rest")
    assert await link.receive_all() == b"the rest"


async def test_a_reset_raises(link: Link) -> None:
    link.transport.write(b"never read")  # a Unix socket knows a reset only from bytes that were not read
    link.peer.reset()
    with pytest.raises(ConnectionError):
        await link.transport.receive()


async def test_a_reset_wakes_the_receiver(link: Link) -> None:
    link.transport.write(b"never read")

    async def reset() -> None:
        link.peer.reset()

    link.tasks.start_soon(reset)
    with pytest.raises(ConnectionError):
        await link.transport.receive()


async def test_writing_to_a_lost_peer_is_silent_and_draining_tells(link: Link) -> None:
    link.peer.reset()
    await turns()
    for _ in range(20):
        link.transport.write(b"into the void")
    with pytest.raises(ConnectionError):
        await link.transport.drain()
    link.transport.write(b"again")


async def test_a_peer_that_closes_with_bytes_unread_is_noticed_by_draining(link: Link) -> None:
    link.peer.vanish()
    with pytest.raises(ConnectionError):
        for _ in range(1000):
            link.transport.write(bytes(10_000))
            await link.transport.drain()
            await turns(1)


# Backpressure


def _congested(link: Link) -> bool:
    return link.transport.congested


async def test_drain_waits_until_the_peer_reads(link: Link) -> None:
    link.transport.write(MEGABYTE)
    drained = anyio.Event()

    async def drain() -> None:
        await link.transport.drain()
        drained.set()

    link.tasks.start_soon(drain)
    await turns()
    assert _congested(link)
    assert link.transport.unsent() > 0
    assert not drained.is_set()
    received = 0
    while not drained.is_set():
        received += len(await link.peer.receive())
    assert not _congested(link)
    assert received > len(MEGABYTE) / 2


async def test_an_endless_stream_to_a_stalled_peer_costs_little(link: Link) -> None:
    written = 0

    async def stream() -> None:
        nonlocal written
        while True:
            link.transport.write(bytes(2000))
            written += 2000
            if link.transport.congested:
                await link.transport.drain()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream)
        await turns()
        assert link.transport.unsent() < 100_000
        assert written < 500_000
        tasks.cancel_scope.cancel()


async def test_small_pieces_that_wait_cost_no_more_than_they_are(link: Link) -> None:
    """Frames of a WebSocket, say."""
    transport, pieces = link.transport, [MEGABYTE[at : at + 100] for at in range(0, 700_000, 100)]
    pieces[3000] = MEGABYTE[300_000:500_000]
    del pieces[3001:5000]
    transport.write(MEGABYTE[700_000:])
    waited = transport.unsent()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for piece in pieces:
        transport.write(bytes(bytearray(piece)))  # one that nobody else holds
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held - before < 2 * (transport.unsent() - waited)
    link.tasks.start_soon(transport.aclose)
    assert await link.peer_receives_all() == MEGABYTE[700_000:] + MEGABYTE[:700_000]


async def test_progress_shows_in_what_is_unsent(link: Link) -> None:
    link.transport.write(MEGABYTE)
    link.tasks.start_soon(link.transport.aclose)
    await turns()
    before = link.transport.unsent()
    received = 0
    while received < 500_000:
        received += len(await link.peer.receive())
    await turns()
    assert link.transport.unsent() < before


async def test_a_cancelled_drain_leaves_a_transport_that_can_be_aborted(link: Link) -> None:
    link.transport.write(MEGABYTE)
    with anyio.move_on_after(0.01) as scope:
        await link.transport.drain()
    assert scope.cancelled_caught
    link.transport.abort()
    with pytest.raises(ConnectionAbortedError):
        await link.transport.drain()


async def test_what_an_abort_cuts_off_breaks_at_the_peer(link: Link, kind: str) -> None:
    link.transport.write(MEGABYTE)
    await turns()
    link.transport.abort()
    if kind in ("stream", "unix"):  # neither knows RST
        assert len(await link.peer_receives_all()) < len(MEGABYTE)
    else:
        with pytest.raises((ConnectionResetError, anyio.BrokenResourceError)):
            await link.peer_receives_all()


# Closing


async def test_closing_and_aborting_can_be_repeated(link: Link) -> None:
    await link.transport.aclose()
    await link.transport.aclose()
    link.transport.abort()
    link.transport.abort()
    await link.transport.aclose()


async def test_a_closed_transport_refuses_to_receive_and_to_drain(link: Link) -> None:
    await link.peer.send(b"unread")
    await link.transport.aclose()
    link.transport.write(b"dropped")
    with pytest.raises(ConnectionAbortedError):
        await link.transport.drain()
    with pytest.raises(ConnectionAbortedError):
        while await link.transport.receive():
            pass


async def test_an_abort_wakes_the_receiver(link: Link) -> None:
    async def abort() -> None:
        await turns()
        link.transport.abort()

    link.tasks.start_soon(abort)
    with pytest.raises(ConnectionAbortedError):
        await link.transport.receive()


async def test_an_abort_wakes_who_drains(link: Link) -> None:
    async def abort() -> None:
        await turns()
        link.transport.abort()

    link.transport.write(MEGABYTE)
    link.tasks.start_soon(abort)
    with pytest.raises(ConnectionAbortedError):
        await link.transport.drain()


async def test_closing_waits_for_a_slow_peer_and_gives_up_when_cancelled(link: Link) -> None:
    link.transport.write(MEGABYTE)
    with anyio.move_on_after(0.01) as scope:
        await link.transport.aclose()
    assert scope.cancelled_caught
    await link.transport.aclose()
    assert link.transport.unsent() == 0


async def test_closing_after_the_peer_broke_is_silent(link: Link) -> None:
    link.transport.write(MEGABYTE)
    link.peer.reset()
    await link.transport.aclose()


# Cancellation


@pytest.mark.parametrize("watched", [False, True])
async def test_a_cancelled_receive_loses_no_bytes(link: Link, watched: bool) -> None:
    received = []

    async def receive() -> None:
        received.append(await link.transport.receive())

    for step in range(40):
        async with anyio.create_task_group() as tasks:
            if watched:
                link.transport.watch(Notice())
            tasks.start_soon(receive)
            for _ in range(step % 5):
                await anyio.lowlevel.checkpoint()
            await link.peer.send(b"%03d," % step)
            for _ in range(step % 7):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        link.transport.unwatch()
    await link.peer.half_close()
    assert b"".join([*received, await link.receive_all()]) == b"".join(b"%03d," % step for step in range(40))
