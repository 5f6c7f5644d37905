"""A handler that reads the request in one task while it writes the response in another."""

import anyio
import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._wire.limits import Timeouts
from structweb.testing import ClientEnd
from tests.server.peers import FIELDS, serving

pytestmark = pytest.mark.anyio

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
#: More than the pipe holds.
MUCH = bytes(20_000)


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings with short patience; time is virtual."""
    return ServerConfig(express=express, timeouts=Timeouts(keepalive=30, body=20, send=20, linger=10))


async def read_all(exchange: Exchange) -> None:
    """Read the body to its end."""
    while await exchange.body.receive():
        pass


async def end_a_read_during_a_write(client: ClientEnd) -> None:
    """Ask, and send the body two seconds later."""
    await client.send(POST)
    await anyio.sleep(2)
    await client.send(b"0123456789")


async def test_it_may_take_its_time_afterwards(config: ServerConfig) -> None:
    """A wait that ended inside another one leaves no deadline behind."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all, exchange)
            await anyio.sleep(1)
            await exchange.write(MUCH)
        await anyio.sleep(100)
        await exchange.finish()

    async with serving(handler, config) as site:
        client = site.connect(1000)
        await end_a_read_during_a_write(client)
        await anyio.sleep(5)
        with fail_after(200):
            assert (await client.receive_until(b"\r\n0\r\n\r\n")).count(b"\0") == len(MUCH)


async def test_a_stalled_reader_is_noticed_though_a_read_has_ended_meanwhile(config: ServerConfig) -> None:
    """The end of a read does not lift the deadline of a write that still waits."""
    ended = anyio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all, exchange)
            await anyio.sleep(1)
            with pytest.raises(ConnectionResetError):
                await exchange.write(MUCH)
        ended.set()

    async with serving(handler, config) as site:
        client = site.connect(1000)
        await end_a_read_during_a_write(client)
        with fail_after(25):
            await ended.wait()


async def test_a_stalled_body_is_noticed_though_a_write_has_ended_meanwhile(config: ServerConfig) -> None:
    """Nor does the end of a write lift the deadline of a read."""

    async def handler(exchange: Exchange) -> None:
        async def write() -> None:
            await anyio.sleep(1)
            await exchange.write(MUCH)

        await exchange.start(200, "OK", FIELDS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await read_all(exchange)

    async with serving(handler, config) as site:
        client = site.connect(1000)
        await client.send(POST)
        with fail_after(25):
            await client.receive_all()


async def test_a_departure_is_noticed_afterwards(config: ServerConfig) -> None:
    """The watch is armed again when both waits are over."""
    cancelled = anyio.Event()

    async def handler(exchange: Exchange) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange.start, 200, "OK", FIELDS)
            await read_all(exchange)
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(POST + b"0123456789")
        await client.receive_until(b"\r\n\r\n")
        client.close()
        with fail_after(1):
            await cancelled.wait()
