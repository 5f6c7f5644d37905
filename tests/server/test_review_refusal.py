"""What follows a malformed request: its answer arrives, nothing behind it is served, and the connection ends."""

import logging
from pathlib import Path

import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._wire.events import Refusal
from structweb._wire.limits import Timeouts
from tests.server.links import SocketPeer, server_context, socket_pair
from tests.server.peers import FIELDS, GET, answering, read_answer, serving, status_of

pytestmark = pytest.mark.anyio

BAD_HEAD = b"nonsense\r\n\r\n"
BAD_CHUNK = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings with short patience; time is virtual."""
    return ServerConfig(express=express, timeouts=Timeouts(keepalive=30, body=20, send=20, linger=10))


async def strict(exchange: Exchange) -> None:
    """Answer a bad head and a bad body alike."""
    try:
        if exchange.refusal is not None:
            raise exchange.refusal
        await exchange.body.receive()
    except Refusal as refusal:
        await exchange.respond(refusal.status, "", FIELDS, b"bad")


async def test_a_handler_that_makes_do_with_a_bad_body_loses_the_connection_quietly(
    config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a bad body ends nobody knows: the answer says close, and it is no error of the server's."""

    async def lenient(exchange: Exchange) -> None:
        try:
            await exchange.body.receive()
        except Refusal:
            await exchange.respond(200, "OK", FIELDS, b"never mind")

    with caplog.at_level(logging.INFO):
        async with serving(lenient, config) as site:
            client = site.connect()
            await client.send(BAD_CHUNK + GET)
            await client.half_close()
            with fail_after(5):
                answer = await client.receive_all()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert not caplog.records


@pytest.mark.parametrize("bad", [BAD_HEAD, BAD_CHUNK], ids=["head", "chunk"])
async def test_a_peer_that_goes_on_sending_is_read_until_it_stops(config: ServerConfig, bad: bytes) -> None:
    """Closing over unread bytes resets the connection, and may take the answer with it."""
    async with serving(strict, config) as site:
        client = site.connect(4096)
        with fail_after(5):
            await client.send(bad + b"x" * 1_000_000)
            assert status_of(await read_answer(client)) == 400
            await client.half_close()
            assert await client.receive_all() == b""


async def test_a_peer_that_never_stops_is_read_for_so_long(config: ServerConfig) -> None:
    """Nor does a peer that was refused hold the connection for ever."""
    async with serving(strict, config) as site:
        client = site.connect()
        with fail_after(12):
            await client.send(BAD_HEAD)
            await read_answer(client)
            await client.receive_all()
            await client.taken()


@pytest.mark.real_backends
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_the_answer_arrives_over_sockets(kind: str, tmp_path: Path, config: ServerConfig) -> None:
    """The same where the kernel would send the RST."""
    async with serving(answering(), config) as site:
        client, server = socket_pair(kind, tmp_path)
        peer = SocketPeer(client)
        try:
            site.engine._admit(server_context() if kind == "tls" else None, server, None)
            with fail_after(5):
                if kind == "tls":
                    await peer.shake_hands()
                await peer.send(BAD_HEAD)
                await peer.send(b"x" * 500_000)
                assert status_of(await peer.receive()) == 400
        finally:
            peer.vanish()
