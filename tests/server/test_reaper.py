"""The reaper: phases that last too long end, in virtual time; the others cost nothing."""

import math
from dataclasses import dataclass

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.patience import INTERVAL
from structweb._server.reaper import sweep
from structweb._wire.limits import Phase, Timeouts
from structweb.testing import memory_pipe

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
TIMEOUTS = Timeouts(keepalive=20, body=30, send=40)
#: A deadline is noticed at the next sweep, and worked out at the one before.
SLACK = 2 * INTERVAL


async def handler(exchange: Exchange) -> None:
    if exchange.head.target == "/big":
        await exchange.respond(200, "OK", (), b"x" * 1_000_000)
    elif exchange.head.target == "/slow":
        await anyio.sleep(1000)
        await exchange.respond(200, "OK", (), b"slow")
    else:
        while await exchange.body.receive():
            pass
        await exchange.respond(200, "OK", (), b"hello")


@pytest.fixture
async def client():
    async with Engine(handler, ServerConfig(timeouts=TIMEOUTS)) as engine, anyio.create_task_group() as group:
        client, server = memory_pipe()
        group.start_soon(engine.serve_stream, server)
        yield client
        client.close()
        group.cancel_scope.cancel()


def about(start: float, patience: float) -> bool:
    return patience <= anyio.current_time() - start <= patience + SLACK


async def test_a_silent_peer(client):
    start = anyio.current_time()
    assert await client.receive_all() == b""
    assert about(start, 20)


async def test_a_head_that_never_ends(client):
    """Dribbling does not help: the patience is for the whole head."""
    start = anyio.current_time()
    async with anyio.create_task_group() as group:

        async def dribble() -> None:
            with pytest.raises(anyio.BrokenResourceError):
                await client.dribble(GET[:-1] + b"x" * 100, delay=1)

        group.start_soon(dribble)
        await client.receive_all()
        assert about(start, 20)


async def test_an_idle_peer_between_requests(client):
    await client.send(GET)
    await client.receive_until(b"hello")
    await anyio.sleep(15)
    await client.send(GET)
    await client.receive_until(b"hello")
    start = anyio.current_time()
    assert await client.receive_all() == b""
    assert about(start, 20)


async def test_a_handler_may_take_its_time(client):
    await client.send(GET.replace(b" / ", b" /slow "))
    assert (await client.receive_until(b"slow")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_peer_that_takes_nothing(client):
    await client.send(GET.replace(b" / ", b" /big "))
    client.stall()
    start = anyio.current_time()
    with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
        while True:
            await client.receive()
    assert about(start, 40)


@dataclass(eq=False)
class Guest:
    """Looks to the sweep like a connection, and counts its visits."""

    deadline: float | None
    phase: Phase = Phase.IDLE
    visits: int = 0
    fault: Exception | None = None

    def sweep(self, now: float) -> None:
        self.visits += 1
        if self.fault is not None:
            raise self.fault

    def describe(self) -> str:
        return "peer somebody"


def test_only_what_is_due_is_visited():
    later, never = Guest(deadline=101.0), Guest(deadline=math.inf)
    due, fresh = Guest(deadline=100.0), Guest(deadline=None)
    sending = Guest(deadline=101.0, phase=Phase.SEND)
    sweep({later, never, due, fresh, sending}, now=100.0)
    assert (later.visits, never.visits) == (0, 0)
    assert (due.visits, fresh.visits, sending.visits) == (1, 1, 1)


def test_a_fault_of_one_leaves_the_others_their_deadlines(caplog):
    faulty = [Guest(deadline=None, fault=ValueError("broken")) for _ in range(2)]
    sound = [Guest(deadline=None) for _ in range(5)]
    sweep({*faulty, *sound}, now=100.0)
    assert all(guest.visits == 1 for guest in (*faulty, *sound))
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, ValueError]
    assert "peer somebody" in caplog.text
