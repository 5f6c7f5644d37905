"""How a connection ends behind its last response: the peer gets all of it."""

import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.peers import FIELDS, GET, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings for the lane and for h11."""
    return ServerConfig(express=express)


async def test_requests_behind_the_last_response_are_read_and_dropped(config: ServerConfig) -> None:
    """A peer that pipelines on is not answered with a RST, which could take the response with it."""

    async def last(exchange: Exchange) -> None:
        exchange.keep_alive = False
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(last, config) as site:
        client = site.connect(4096)
        with fail_after(5):
            await client.send(GET * 10_000)
            await client.half_close()
            answer = await client.receive_all()
    assert answer.count(b"HTTP/1.1 200") == 1
