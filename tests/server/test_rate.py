"""Peers that never fall silent, and never get anywhere: the least rate of bodies and responses, in virtual time."""

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.patience import INTERVAL
from structweb._wire.events import Refusal
from structweb._wire.limits import Timeouts
from structweb.testing import ClientEnd
from tests.server.peers import GET, read_answer, serving, status_of

pytestmark = pytest.mark.anyio

TIMEOUTS = Timeouts(body=30, send=40, min_rate=100)
#: A wait is noticed at one sweep and found too long at another.
SLACK = 3 * INTERVAL
BIG = 1_000_000


async def handler(exchange: Exchange) -> None:
    """Read all of the body and answer; or answer with much."""
    if exchange.head.target == "/big":
        await exchange.respond(200, "OK", (), b"x" * BIG)
        return
    if exchange.head.target == "/late":
        await anyio.sleep(1000)
    size = 0
    try:
        while data := await exchange.body.receive():
            size += len(data)
            if exchange.head.target == "/work":
                await anyio.sleep(5)
    except Refusal as refusal:
        await exchange.respond(refusal.status, "", (), refusal.message.encode())
    else:
        await exchange.respond(200, "OK", (), b"%d" % size)


def serving_with(timeouts: Timeouts = TIMEOUTS):
    return serving(handler, ServerConfig(timeouts=timeouts))


async def upload(client: ClientEnd, size: int, target: str = "/") -> None:
    """Send the head of a request with a body of `size` bytes."""
    await client.send(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())


async def trickle(client: ClientEnd, seconds: int, rate: int) -> None:
    """Send `rate` bytes each second; stop when the server answers that it has enough."""
    for _ in range(seconds):
        await anyio.sleep(1)
        try:
            await client.send(b"x" * rate)
        except anyio.BrokenResourceError:
            return


async def answered_while(client: ClientEnd, seconds: int, rate: int) -> tuple[bytes, float]:
    """Send `rate` bytes each second; return the answer that comes meanwhile, and when it came."""
    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(trickle, client, seconds, rate)
        answer = await read_answer(client)
        when = anyio.current_time() - start
        group.cancel_scope.cancel()
    return answer, when


async def test_a_body_that_dribbles():
    async with serving_with() as site:
        client = site.connect()
        await upload(client, 1000)
        answer, when = await answered_while(client, 1000, 1)
        assert status_of(answer) == 408
        assert answer.endswith(b"The body arrived at less than 100 bytes a second")
        assert 30 <= when <= 30 + SLACK
        client.close()


async def test_a_body_that_comes_slowly_enough_to_count():
    async with serving_with() as site:
        client = site.connect()
        await upload(client, 200 * 100)
        await trickle(client, 200, 100)
        assert (await read_answer(client)).endswith(b"20000")
        client.close()


async def test_no_rate_is_asked_for():
    async with serving_with(Timeouts(body=30, min_rate=None)) as site:
        client = site.connect()
        await upload(client, 200)
        await trickle(client, 200, 1)
        assert (await read_answer(client)).endswith(b"200")
        client.close()


async def test_a_body_that_may_take_for_ever():
    async with serving_with(Timeouts(body=None)) as site:
        client = site.connect()
        await upload(client, 200)
        await trickle(client, 200, 1)
        assert (await read_answer(client)).endswith(b"200")
        client.close()


async def test_a_stall_is_made_good_by_bytes():
    async with serving_with() as site:
        client = site.connect()
        await upload(client, 5 * 4000)
        for _ in range(5):
            await anyio.sleep(25)
            await client.send(b"x" * 4000)
        assert (await read_answer(client)).endswith(b"20000")
        client.close()


async def test_a_fast_beginning_does_not_buy_slowness():
    async with serving_with() as site:
        client = site.connect()
        await upload(client, 2 * BIG)
        await client.send(b"x" * BIG)
        answer, when = await answered_while(client, 1000, 1)
        assert status_of(answer) == 408
        assert 30 <= when <= 30 + SLACK
        client.close()


async def test_the_time_of_the_handler_is_not_the_peers():
    """Neither before it reads, nor between two pieces."""
    async with serving_with() as site:
        for target in ("/late", "/work"):
            client = site.connect()
            await upload(client, 100, target)
            for _ in range(10):
                await anyio.sleep(0.5)
                await client.send(b"x" * 10)
            assert (await read_answer(client)).endswith(b"100")
            client.close()


async def test_each_request_begins_without_debt():
    async with serving_with() as site:
        client = site.connect()
        for _ in range(3):
            await upload(client, 20)
            await trickle(client, 20, 1)
            assert (await read_answer(client)).endswith(b"20")
        client.close()


async def taken(client: ClientEnd, rate: int) -> tuple[int, float]:
    """Take `rate` bytes a second until the end; return how many, and how long that went."""
    start, count = anyio.current_time(), 0
    while True:
        await anyio.sleep(1)
        try:
            count += len(await client.receive(rate))
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return count, anyio.current_time() - start


async def test_a_response_that_is_taken_in_drips():
    async with serving_with() as site:
        client = site.connect(capacity=1000)
        await client.send(GET.replace(b" / ", b" /big "))
        start = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(taken, client, 10)
            await anyio.sleep(INTERVAL)
            while site.engine.connections:  # noqa: ASYNC110 - looked at once a second, as the server does
                await anyio.sleep(INTERVAL)
            group.cancel_scope.cancel()
        assert 40 <= anyio.current_time() - start <= 40 + 2 * SLACK


async def test_what_waits_to_be_sent_while_the_body_is_read_is_no_debt():
    """Looked at before and after the reading has ended, between two sweeps."""

    async def both(exchange: Exchange) -> None:
        await exchange.start(200, "OK", (), length=BIG)
        async with anyio.create_task_group() as group:
            group.start_soon(exchange.write, b"x" * BIG)
            await anyio.sleep(INTERVAL / 2)
            await exchange.body.receive()
        await exchange.finish()

    async with serving(both, ServerConfig(timeouts=TIMEOUTS)) as site:
        client = site.connect(capacity=1000)
        await upload(client, 1)
        await anyio.sleep(1.5 * INTERVAL)
        await client.send(b"x")
        await anyio.sleep(5 * INTERVAL)
        await client.receive_until(b"\r\n\r\n")
        assert await client.receive_exactly(BIG) == b"x" * BIG
        client.close()


async def test_a_response_that_is_taken_fast_enough():
    async with serving_with() as site:
        client = site.connect(capacity=20_000)
        await client.send(GET.replace(b" / ", b" /big ").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        count, seconds = await taken(client, 5_000)
        assert count > BIG
        assert seconds > 150
