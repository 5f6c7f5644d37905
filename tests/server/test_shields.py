"""Shields with an owner and a deadline: what they hold back, until when, and who hears of it."""

import math

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.peers import GET, serving

pytestmark = pytest.mark.anyio

#: What a sweep may be late by.
SWEEP = 1.0


class Writes:
    """A handler that writes to two databases, and what became of it."""

    def __init__(self, seconds: float = 5, deadline: float = 30) -> None:
        self.seconds = seconds
        self.deadline = deadline
        self.entered = anyio.Event()
        self.left = anyio.Event()
        self.steps: list[str] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.entered.set()
        try:
            async with exchange.shield(self.deadline):
                for database in ("redis", "postgres"):
                    await anyio.sleep(self.seconds)
                    self.steps.append(database)
            self.steps.append("behind")
            await exchange.respond(200, "OK", (), b"written")
        except anyio.get_cancelled_exc_class():
            self.steps.append("cancelled")
            raise
        finally:
            self.left.set()


async def test_both_writes_happen_though_the_client_leaves():
    writes = Writes()
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        await writes.entered.wait()
        await client.aclose()
        await writes.left.wait()
    assert writes.steps == ["redis", "postgres", "cancelled"]  # and what is behind the block is not begun


async def test_without_a_cancellation_a_shield_is_not_noticed():
    writes = Writes()
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        assert (await client.receive_until(b"written")).startswith(b"HTTP/1.1 200 OK")
        assert not len(site.engine.shields)
    assert writes.steps == ["redis", "postgres", "behind"]


async def test_a_block_does_not_begin_for_a_client_that_has_left():
    steps = []

    async def handler(exchange: Exchange) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            async with exchange.shield(5):
                steps.append("begun")

    async with serving(handler) as site:
        client = site.connect()
        await client.send(GET)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()
        await anyio.wait_all_tasks_blocked()
        assert not site.engine.connections
    assert not steps


async def test_a_shield_is_lifted_at_its_deadline_after_the_client_left(caplog):
    writes = Writes(seconds=60, deadline=3)
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        await writes.entered.wait()
        start = anyio.current_time()
        await client.aclose()
        await writes.left.wait()
        assert 3 <= anyio.current_time() - start <= 3 + SWEEP
    assert writes.steps == ["cancelled"]
    assert "A shield was lifted, its deadline has passed: peer" in caplog.text
    assert "client gone" in caplog.text
    assert f"at {__file__}:" in caplog.text


async def test_past_its_deadline_a_block_goes_on_while_nobody_cancels_it(caplog):
    writes = Writes(seconds=60, deadline=3)
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        await client.receive_until(b"written")
    assert writes.steps == ["redis", "postgres", "behind"]
    assert "lifted" not in caplog.text


async def test_a_shutdown_lets_a_shield_end():
    writes = Writes(seconds=2)
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        await writes.entered.wait()
        start = anyio.current_time()
        report = await site.engine.shutdown(1)
        assert anyio.current_time() - start == pytest.approx(4)
    assert writes.steps == ["redis", "postgres", "cancelled"]
    assert (len(report.cancelled), report.lifted, report.abandoned) == (1, (), ())


@pytest.mark.parametrize(("deadline", "shield_timeout", "lifted_after"), [(300, 5, 1 + 5), (4, 5, 4), (300, 0, 1)])
async def test_a_shutdown_lifts_shields_and_names_them(deadline: float, shield_timeout: float, lifted_after: float):
    writes = Writes(seconds=600, deadline=deadline)
    async with serving(writes, ServerConfig(shield_timeout=shield_timeout)) as site:
        client = site.connect()
        await client.send(GET)
        await writes.entered.wait()
        start = anyio.current_time()
        report = await site.engine.shutdown(1)
        assert lifted_after <= anyio.current_time() - start <= lifted_after + 0.3
    assert writes.steps == ["cancelled"]
    (record,) = report.lifted
    assert (record.request, record.reason) == ("GET /", "server shutdown")
    assert record.waits_at.startswith(f"{__file__}:")
    assert len(report.cancelled) == 1
    assert not report.abandoned


async def test_others_do_not_wait_for_somebody_elses_shield():
    writes = Writes(seconds=600)
    ends = {}

    async def handler(exchange: Exchange) -> None:
        if exchange.head.target == "/":
            await writes(exchange)
            return
        try:
            await exchange.start(200, "OK", ())
            while True:
                await exchange.write(b"x" * 65536)
        finally:
            ends["reader"] = anyio.current_time()

    async with serving(handler, ServerConfig(shield_timeout=50)) as site:
        client, stalled = site.connect(), site.connect()
        await client.send(GET)
        await stalled.send(GET.replace(b" / ", b" /endless "))
        stalled.stall()
        await writes.entered.wait()
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        report = await site.engine.shutdown(1)
        assert ends["reader"] - start < 1.3
        assert anyio.current_time() - start >= 30 - 1
    assert len(report.cancelled) == 2
    assert len(report.lifted) == 1


async def test_a_server_in_a_hurry_lifts_shields_at_once():
    writes = Writes(seconds=600)
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        await writes.entered.wait()
        start = anyio.current_time()
        site.engine.hurry()
        await writes.left.wait()
        assert anyio.current_time() == start
    assert writes.steps == ["cancelled"]


async def test_leaving_a_server_lifts_shields_at_once():
    writes = Writes(seconds=600)
    async with serving(writes) as site:
        client = site.connect()
        await client.send(GET)
        await writes.entered.wait()
        start = anyio.current_time()
    assert anyio.current_time() == start
    assert writes.steps == ["cancelled"]


async def test_what_a_block_raises_comes_out():
    async def handler(exchange: Exchange) -> None:
        with pytest.raises(ZeroDivisionError):
            async with exchange.shield(5):
                raise ZeroDivisionError
        await exchange.respond(200, "OK", (), b"caught")

    async with serving(handler) as site:
        client = site.connect()
        await client.send(GET)
        await client.receive_until(b"caught")
        assert not len(site.engine.shields)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan, None, "5"])
async def test_a_deadline_is_finite(seconds):
    async def handler(exchange: Exchange) -> None:
        with pytest.raises(ValueError, match=r"finite number of seconds greater than 0, got "):
            exchange.shield(seconds)
        await exchange.respond(200, "OK", (), b"refused")

    async with serving(handler) as site:
        client = site.connect()
        await client.send(GET)
        await client.receive_until(b"refused")


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_the_limit_of_a_shutdown_is_finite(seconds: float):
    with pytest.raises(ValueError, match="shield_timeout must be a finite number"):
        ServerConfig(shield_timeout=seconds)
