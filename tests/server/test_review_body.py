"""Reading a request body: who may, what a departure looks like, and what it costs the others."""

import logging

import anyio
import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.peers import FIELDS, read_answer, serving

pytestmark = pytest.mark.anyio

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings for the lane and for h11."""
    return ServerConfig(express=express)


async def test_a_reset_in_mid_body_is_a_departure(config: ServerConfig, caplog: pytest.LogCaptureFixture) -> None:
    """A RST is the client's leaving as much as a FIN: the handler is told so, and it is no error of the server's."""
    told: list[bool] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await exchange.body.receive()
        finally:
            told.append(exchange.peer_gone)

    with caplog.at_level(logging.INFO):
        async with serving(handler, config) as site:
            client = site.connect()
            await client.send(POST)
            await anyio.sleep(1)
            client.reset()
            await anyio.sleep(1)
    assert told == [True]
    assert not caplog.records


async def test_one_task_reads_at_a_time(config: ServerConfig) -> None:
    """Two would take bytes from each other, or wait for ever: the second one is refused."""

    async def handler(exchange: Exchange) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange.body.receive)
            await anyio.sleep(1)
            with pytest.raises(RuntimeError, match="another task"):
                await exchange.body.receive()
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(POST)
        await anyio.sleep(2)
        await client.send(b"0123456789")
        with fail_after(5):
            assert (await read_answer(client)).endswith(b"ok")
