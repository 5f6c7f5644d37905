"""Reading a request body: who may, what a departure looks like, and what it costs the others."""

import logging
from pathlib import Path

import anyio
import pytest
from anyio import fail_after

from structweb._server.body import Body
from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.links import SocketPeer, socket_pair
from tests.server.peers import FIELDS, GET, answering, read_answer, serving, status_of

pytestmark = pytest.mark.anyio

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


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


async def test_a_body_kept_beyond_its_request_reads_nothing_of_the_next_one(config: ServerConfig) -> None:
    """Behind a proxy the next request is somebody else's."""
    kept: list[Body] = []

    async def handler(exchange: Exchange) -> None:
        if not kept:
            kept.append(exchange.body)
            await exchange.respond(200, "OK", FIELDS, b"ok")
            return
        with pytest.raises(RuntimeError, match="over"):
            await kept[0].receive()
        await exchange.respond(200, "OK", FIELDS, await exchange.body.receive())

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        await read_answer(client)
        with pytest.raises(RuntimeError, match="over"):
            await kept[0].receive()  # the connection waits for its next request
        await client.send(POST + b"0123456789")
        assert (await read_answer(client)).endswith(b"\r\n\r\n0123456789")


@pytest.mark.real_backends
async def test_a_reader_left_behind_by_its_handler_ends_with_it(config: ServerConfig, tmp_path: Path) -> None:
    """It would share the socket with the next request: neither could tell whose bytes come."""
    failures: list[Exception] = []

    async with serving(answering(), config) as site, anyio.create_task_group() as elsewhere:

        async def read(body: Body) -> None:
            try:
                await body.receive()
            except ConnectionResetError as exc:
                failures.append(exc)

        async def handler(exchange: Exchange) -> None:
            elsewhere.start_soon(read, exchange.body)
            await anyio.sleep(0.01)
            await exchange.respond(200, "OK", FIELDS, b"ok")

        site.engine.handler = handler
        client, server = socket_pair("tcp", tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            with fail_after(5):
                await peer.send(POST)
                assert status_of(await peer.receive()) == 200
                assert await peer.receive() == b""
        finally:
            peer.vanish()
    assert len(failures) == 1


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1;a\r\nx\r\n"], ids=["plain", "extended"])
@pytest.mark.parametrize("reading", [True, False], ids=["read", "dropped"])
async def test_many_small_chunks_leave_others_their_turn(config: ServerConfig, reading: bool, chunk: bytes) -> None:
    """A body that has arrived already, in chunks of one byte, is not taken in one go."""
    order: list[str] = []

    async def handler(exchange: Exchange) -> None:
        if exchange.head.target == "/greedy":
            await exchange.body.receive()
            while reading and await exchange.body.receive():
                pass
        if reading or exchange.head.target != "/greedy":
            order.append(exchange.head.target)
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(handler, config) as site:
        greedy, modest = site.connect(), site.connect()
        await greedy.send(b"POST /greedy HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await anyio.sleep(1)
        await greedy.send(chunk * 5000 + b"0\r\n\r\n" + GET.replace(b"/ ", b"/behind "))
        await modest.send(GET.replace(b"/ ", b"/modest "))
        await read_answer(greedy)
        await read_answer(greedy)
    assert order[0] == "/modest"


@pytest.mark.parametrize("count", [1, 63, 64, 65])
async def test_a_reader_that_is_left_behind_gets_nothing_of_the_next_body(config: ServerConfig, count: int) -> None:
    """Wherever it stands when its handler ends, also where it only gives way to others."""
    seen: list[bytes] = []
    bodies: list[bytes] = []

    async def read_on(exchange: Exchange, over: anyio.Event) -> None:
        try:
            while data := await exchange.body.receive():
                seen.append(data)
                if len(seen) == count:
                    over.set()
        except (RuntimeError, ConnectionError):
            pass

    async def handler(exchange: Exchange) -> None:
        if exchange.head.target == "/second":
            while data := await exchange.body.receive():
                bodies.append(data)
            await exchange.respond(200, "OK", FIELDS, b"ok")
        else:
            await exchange.respond(200, "OK", FIELDS, b"ok")
            over = anyio.Event()
            site.group.start_soon(read_on, exchange, over)
            await over.wait()

    async with serving(handler, config) as site:
        client = site.connect()
        # Each is a piece of its own, as it is not plain.
        second = CHUNKED.replace(b"/ ", b"/second ", 1) + b"1;a\r\ny\r\n" * 100 + b"0\r\n\r\n"
        with fail_after(10):
            await client.send(CHUNKED + b"1;a\r\nx\r\n" * 70 + b"0\r\n\r\n" + second)
            await anyio.sleep(1)
    assert b"y" not in seen
    assert b"".join(bodies) == b"y" * 100
