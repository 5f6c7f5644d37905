"""How a connection ends behind its last response: the peer gets all of it."""

from pathlib import Path

import anyio
import pytest
from anyio import fail_after
from anyio.streams.tls import TLSStream

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.reaper import sweep
from structweb._wire.limits import Limits, Timeouts
from structweb.testing import memory_pipe
from tests.server.links import SocketPeer, chunks, client_context, server_context, settled, socket_pair, turns
from tests.server.peers import FIELDS, GET, answering, read_answer, serving

pytestmark = pytest.mark.anyio

#: More than the kernel holds.
MUCH = bytes(1_000_000)


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings for the lane and for h11."""
    return ServerConfig(express=express)


@pytest.fixture
def patient(express: bool) -> ServerConfig:
    """Settings where no handler waits for a slow reader: the close of the connection does."""
    return ServerConfig(express=express, limits=Limits(write_buffer=10_000_000))


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


@pytest.mark.real_backends
async def test_a_slow_reader_gets_all_of_the_last_response(patient: ServerConfig, tmp_path: Path) -> None:
    """What is left to send has the patience of `Timeouts.send`, not the shorter one of lingering."""
    async with serving(answering(MUCH), patient) as site:
        client, server = socket_pair("tcp", tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            await peer.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await turns()
            now = anyio.current_time()
            for seconds in (0, 1, 30, 59):
                sweep(site.engine.connections, now + seconds)
                await turns(3)
            with fail_after(5):
                answer = b"".join([data async for data in chunks(peer.receive)])
        finally:
            peer.vanish()
    assert answer.endswith(b"\r\n\r\n" + MUCH)


@pytest.mark.real_backends
async def test_a_reader_that_has_stalled_is_given_up(patient: ServerConfig, tmp_path: Path) -> None:
    """Nor does it hold the connection for ever."""
    async with serving(answering(MUCH), patient) as site:
        client, server = socket_pair("tcp", tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            await peer.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await turns()
            now = anyio.current_time()
            for seconds in (0, 1, 62, 63, 124):
                sweep(site.engine.connections, now + seconds)
            await settled(lambda: not site.engine.connections)
        finally:
            peer.vanish()


@pytest.mark.real_backends
async def test_a_reader_that_has_stalled_ends_the_close_of_an_upgraded_stream(
    patient: ServerConfig, tmp_path: Path
) -> None:
    """A protocol that closes its stream waits no longer for its peer than HTTP does."""

    async def handler(exchange: Exchange) -> None:
        stream = await exchange.upgrade([("Upgrade", "x"), ("Connection", "upgrade")])
        await stream.send(MUCH)
        await stream.aclose()

    async with serving(handler, patient) as site:
        client, server = socket_pair("tcp", tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            await peer.send(GET)
            await turns()
            now = anyio.current_time()
            for seconds in (0, 1, 62, 63, 124):
                sweep(site.engine.connections, now + seconds)
            await settled(lambda: not site.engine.connections)
        finally:
            peer.vanish()


async def test_a_first_head_has_its_time_where_no_connection_is_kept(express: bool) -> None:
    """keepalive=0 closes behind each response; it does not hurry the request."""
    async with serving(answering(), ServerConfig(express=express, timeouts=Timeouts(keepalive=0))) as site:
        client = site.connect()
        await client.dribble(GET, delay=1)
        assert b"\r\nConnection: close\r\n" in await read_answer(client)
        silent = site.connect()
        with fail_after(80):
            assert await silent.receive_all() == b""


async def test_a_stream_that_waits_for_its_peer_to_close_is_given_up(config: ServerConfig) -> None:
    """TLS of anyio closes when the peer has said goodbye, and this one never does."""
    async with serving(answering(), config) as site:
        client_end, server_end = memory_pipe()

        async def serve() -> None:
            stream = await TLSStream.wrap(server_end, server_side=True, ssl_context=server_context())
            await site.engine.serve_stream(stream)

        site.group.start_soon(serve)
        client = await TLSStream.wrap(client_end, hostname="localhost", ssl_context=client_context())
        await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert await client.receive()
        with fail_after(63):
            await client_end.receive_all()


@pytest.mark.real_backends
async def test_a_response_that_ends_with_the_connection_is_not_cut_short_unnoticed(tmp_path: Path) -> None:
    """An HTTP/1.0 peer takes a FIN for the end of the body: what is incomplete ends in a RST."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS)
        await exchange.write(b"half of it")

    async with serving(handler) as site:
        client, server = socket_pair("tcp", tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            await peer.send(b"GET / HTTP/1.0\r\n\r\n")
            with fail_after(5), pytest.raises(ConnectionResetError):
                while await peer.receive():
                    pass
        finally:
            peer.vanish()
