"""Responses to a peer that is known to have left: they fail, and are counted as 499."""

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.departures import ClientConnectionResetError
from structweb._server.exchange import Exchange
from tests.server.peers import FIELDS, GET, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["respond", "respond in pieces", "start"])
def way(request: pytest.FixtureRequest) -> str:
    """How a handler answers."""
    return str(request.param)


@pytest.fixture
def config(express: bool) -> ServerConfig:
    return ServerConfig(express=express, disconnect="finish")


async def answer(exchange: Exchange, way: str) -> None:
    if way == "start":
        await exchange.start(200, "OK", FIELDS, length=2)
        await exchange.write(b"ok")
        await exchange.finish()
    else:
        await exchange.respond(200, "OK", FIELDS, b"ok" if way == "respond" else b"x" * 100_000)


async def test_a_peer_that_left_meanwhile(config: ServerConfig, way: str) -> None:
    """Also when the handler finishes its work in spite of that."""
    waits, go_on, seen = anyio.Event(), anyio.Event(), []

    async def handler(exchange: Exchange) -> None:
        waits.set()
        await go_on.wait()
        with pytest.raises(ClientConnectionResetError, match="the peer is gone"):
            await answer(exchange, way)
        seen.append((exchange.status, exchange.keep_alive))

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        await waits.wait()
        client.close()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert seen == [(499, False)]
        assert not site.engine.connections


async def test_a_peer_whose_departure_the_head_of_the_response_finds_out(config: ServerConfig) -> None:
    seen = []

    async def handler(exchange: Exchange) -> None:
        with pytest.raises(ClientConnectionResetError):
            await exchange.start(200, "OK", FIELDS, length=2)
        seen.append(exchange.status)

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        client.close()
        await anyio.wait_all_tasks_blocked()
        assert seen == [499]


@pytest.mark.parametrize("way", ["respond", "respond in pieces"])
async def test_what_was_asked_before_the_peer_ended_its_side_is_answered(config: ServerConfig, way: str) -> None:
    """Several requests and a FIN, as from a script: no handler waits, so nobody is taken for gone."""

    async def handler(exchange: Exchange) -> None:
        await answer(exchange, way)

    async with serving(handler, config) as site:
        client = site.connect(capacity=1_000_000)
        await client.send(GET + GET.replace(b"GET", b"HEAD") + GET)
        await client.half_close()
        assert (await client.receive_all()).count(b"HTTP/1.1 200 OK\r\n") == 3


async def test_and_so_is_what_was_malformed(config: ServerConfig) -> None:
    async def handler(exchange: Exchange) -> None:
        status = 200 if exchange.refusal is None else exchange.refusal.status
        await exchange.respond(status, "", FIELDS, b"")

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET + b"nonsense\r\n\r\n")
        await client.half_close()
        received = await client.receive_all()
        assert b"HTTP/1.1 200 " in received
        assert b"HTTP/1.0 400 " in received
