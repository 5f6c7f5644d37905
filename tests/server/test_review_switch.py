"""Answers behind which HTTP is over: no byte that follows may be read as a request."""

import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.peers import FIELDS, GET, answering, serving, status_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings for the lane and for h11."""
    return ServerConfig(express=express)


@pytest.mark.parametrize("status", [101, 102, 103, 199])
async def test_an_interim_status_as_the_only_answer_ends_the_connection(config: ServerConfig, status: int) -> None:
    """A client waits for the final response behind it, and would take the next request's for that."""
    async with serving(answering(b"", status), config) as site:
        client = site.connect()
        with fail_after(5):
            await client.send(GET + GET)
            await client.half_close()
            assert (await client.receive_all()).count(b"HTTP/1.1 ") == 1


async def test_behind_a_connect_that_was_granted_nothing_is_a_request(config: ServerConfig) -> None:
    """RFC 9110 section 9.3.6: what follows the head belongs to the tunnel."""
    async with serving(answering(b"", 200), config) as site:
        client = site.connect()
        with fail_after(5):
            await client.send(b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n" + GET)
            await client.half_close()
            assert (await client.receive_all()).count(b"HTTP/1.1 ") == 1


async def test_a_connect_that_was_declined_is_an_ordinary_request(config: ServerConfig) -> None:
    """No tunnel: what follows is the next request."""
    async with serving(answering(b"no", 405), config) as site:
        client = site.connect()
        with fail_after(5):
            await client.send(b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n" + GET)
            await client.half_close()
            assert (await client.receive_all()).count(b"HTTP/1.1 ") == 2


async def test_an_upgrade_over_an_unread_body_is_refused_before_a_byte_is_sent(config: ServerConfig) -> None:
    """RFC 9110 section 7.8: the request comes first.  The handler can still answer something else."""

    async def handler(exchange: Exchange) -> None:
        with pytest.raises(RuntimeError, match="body"):
            await exchange.upgrade([("Upgrade", "x"), ("Connection", "upgrade")])
        await exchange.respond(400, "Bad Request", FIELDS, b"")

    async with serving(handler, config) as site:
        client = site.connect()
        with fail_after(5):
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc"
            )
            await client.half_close()
            assert status_of(await client.receive_all()) == 400
