"""Writing to a peer: what a handler learns when nobody is there any more."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange, ExchangeHandler
from structweb._server.upgrade import UpgradedStream
from tests.server.links import PipePeer, SocketPeer, socket_pair, turns
from tests.server.peers import FIELDS, GET, serving

pytestmark = pytest.mark.anyio

#: A FIN is no departure: only writing tells.
SERVE = ServerConfig(half_close="serve")


@asynccontextmanager
async def asking(
    kind: str, folder: Path, handler: ExchangeHandler, config: ServerConfig | None = None
) -> AsyncGenerator[SocketPeer]:
    """Lend a peer that has asked over a socket, and wait for the handler to end."""
    ended = anyio.Event()

    async def noted(exchange: Exchange) -> None:
        await handler(exchange)
        ended.set()

    async with serving(noted, config) as site:
        client, server = socket_pair(kind, folder)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            await peer.send(GET)
            yield peer
            with fail_after(5):
                await ended.wait()
        finally:
            peer.vanish()


@asynccontextmanager
async def receiving(
    kind: str, folder: Path, handler: ExchangeHandler, ask: bytes = GET
) -> AsyncGenerator[SocketPeer | PipePeer]:
    """Lend a peer that has asked over a socket, or over a pipe in memory."""
    async with serving(handler) as site:
        peer: SocketPeer | PipePeer
        if kind == "pipe":
            peer = PipePeer(16384)
            site.group.start_soon(site.engine.serve_stream, peer.server_end)
        else:
            client, server = socket_pair(kind, folder)
            peer = SocketPeer(client)
            site.engine._admit(None, server, None)
        try:
            await peer.send(ask)
            yield peer
        finally:
            peer.vanish()


async def tick(exchange: Exchange) -> None:
    """Stream until the peer is gone."""
    await exchange.start(200, "OK", FIELDS)
    with pytest.raises(ConnectionResetError):
        while True:
            await exchange.write(b"tick\n")
            await anyio.sleep(0.005)


async def test_a_stream_ends_with_its_peer_though_a_fin_is_no_departure() -> None:
    """An endless stream whose client left must not go on for nobody."""
    ended = anyio.Event()

    async def handler(exchange: Exchange) -> None:
        await tick(exchange)
        ended.set()

    async with serving(handler, SERVE) as site:
        client = site.connect()
        await client.send(GET)
        await client.receive_until(b"tick\n")
        client.close()
        with fail_after(5):
            await ended.wait()


@pytest.mark.real_backends
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_stream_over_a_socket_ends_with_its_peer(kind: str, tmp_path: Path) -> None:
    """The same over sockets: the kernel refuses the bytes, and small writes never have to wait for it."""
    async with asking(kind, tmp_path, tick, SERVE) as peer:
        assert await peer.receive()
        peer.vanish()


@pytest.mark.real_backends
async def test_after_a_cancelled_write_the_next_one_tells(tmp_path: Path) -> None:
    """A write that was given up broke the response; a handler that goes on hears of it."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS)
        with anyio.move_on_after(0.05):
            await exchange.write(bytes(10_000_000))
        with pytest.raises(ConnectionResetError):
            await exchange.write(b"more")

    async with asking("tcp", tmp_path, handler):
        pass


@pytest.mark.real_backends
async def test_an_upgraded_stream_tells_who_only_sends(tmp_path: Path) -> None:
    """As anyio's streams do, with BrokenResourceError."""

    async def handler(exchange: Exchange) -> None:
        stream = await exchange.upgrade([("Upgrade", "x"), ("Connection", "upgrade")])
        with pytest.raises(anyio.BrokenResourceError):
            while True:
                await stream.send(b"tick")
                await anyio.sleep(0.005)

    async with asking("tcp", tmp_path, handler) as peer:
        assert await peer.receive()
        peer.vanish()


@pytest.mark.real_backends
@pytest.mark.parametrize("ending", ["aclose", "send_eof"])
@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe"])
async def test_an_upgraded_stream_that_is_ended_while_another_task_sends(
    kind: str, ending: str, tmp_path: Path
) -> None:
    """What was being sent arrives once and whole, and the end behind it; and whoever sent it goes on."""
    data = random.Random(1).randbytes(1_000_000)
    sent: list[str] = []
    ends = anyio.Event()

    async def send(stream: UpgradedStream) -> None:
        await stream.send(data)
        sent.append("all of it")

    async def handler(exchange: Exchange) -> None:
        stream = await exchange.upgrade([("Upgrade", "x"), ("Connection", "upgrade")])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, stream)
            await turns(2)
            ends.set()
            await getattr(stream, ending)()

    async with receiving(kind, tmp_path, handler) as peer:
        came = bytearray()
        with fail_after(5):
            await ends.wait()
            await turns(2)
            while piece := await peer.receive():
                came += piece
    assert came.partition(b"\r\n\r\n")[2] == data
    assert sent == ["all of it"]


@pytest.mark.real_backends
@pytest.mark.parametrize("kind", ["tcp", "unix", "pipe"])
async def test_a_writer_that_is_left_behind_ends_with_the_connection(kind: str, tmp_path: Path) -> None:
    """Its response is complete once it has written, so the connection closes, and lingers, while it waits for the peer."""
    size = 1_000_000
    ended: list[str] = []
    ends = anyio.Event()

    async def write(exchange: Exchange) -> None:
        await exchange.write(bytes(size))
        ended.append("written")

    async def handler(exchange: Exchange) -> None:
        exchange.keep_alive = False
        await exchange.start(200, "OK", FIELDS, length=size)
        tasks.start_soon(write, exchange)
        await turns(2)
        await exchange.finish()
        ends.set()

    ask = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    async with anyio.create_task_group() as tasks, receiving(kind, tmp_path, handler, ask) as peer:
        came = bytearray()
        with fail_after(5):
            await ends.wait()
            await turns(2)
            while piece := await peer.receive():
                came += piece
        await peer.aclose()
        with fail_after(5):
            while not ended:  # noqa: ASYNC110 - a task that nobody waits for
                await anyio.sleep(0.005)
    assert came.partition(b"\r\n\r\n")[2] == bytes(size)
    assert ended == ["written"]
