"""Peers that are slow: in their heads, in their bodies, in taking answers.  In virtual time, through a whole server."""

import anyio
import pytest

from structweb import web
from tests.system.answers import take_apart
from tests.system.house import open_house

pytestmark = pytest.mark.anyio

#: The server's one timer looks once a second, for the beginning of a wait and for its end.
SWEEP = 2
HEAD = b"GET /plain/x HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "dribbled"),
    [
        pytest.param(b"", b"", id="silent from the start"),
        pytest.param(HEAD, b"", id="idle after a request"),
        pytest.param(b"", HEAD * 10, id="a first head, byte by byte"),
        pytest.param(HEAD, HEAD * 10, id="a second head, byte by byte"),
        pytest.param(HEAD + b"GET", b" /" * 100, id="a head behind a pipelined one"),
        pytest.param(b"", b"\r\n" * 100, id="empty lines"),
    ],
)
async def test_a_head_has_its_time(sent, dribbled, express):
    """W-162: not from byte to byte but for all of it; then the connection ends without a word."""
    async with open_house(express=express, keepalive_timeout=10, lingering_time=1) as house:
        client = house.connect()
        start = anyio.current_time()
        async with anyio.create_task_group() as group:
            await client.send(sent)
            group.start_soon(_dribble, client, dribbled)
            answers = take_apart(await client.receive_all())
            assert 10 <= anyio.current_time() - start <= 10 + SWEEP
            group.cancel_scope.cancel()
        client.close()
    assert [answer.status for answer in answers] == [200] * sent.count(HEAD)


async def _dribble(client, data):
    try:
        await client.dribble(data, delay=0.9)
    except anyio.BrokenResourceError:
        pass


async def test_a_new_request_has_new_time(express):
    async with open_house(express=express, keepalive_timeout=10) as house:
        client = house.connect()
        for _ in range(5):
            await anyio.sleep(9)
            await client.send(HEAD)
            assert b"200 OK" in await client.receive()
        client.close()


@pytest.mark.parametrize("sent", [UPLOAD, UPLOAD + b"half", CHUNKED, CHUNKED + b"4\r\nhalf\r\n", CHUNKED + b"4\r\nha"])
async def test_a_stalled_body_is_408(sent, express):
    """W-163."""
    async with open_house(express=express, body_timeout=10, lingering_time=1) as house:
        client = house.connect()
        start = anyio.current_time()
        await client.send(HEAD + sent)
        answers = take_apart(await client.receive_all())
        assert 10 <= anyio.current_time() - start <= 10 + 1 + 2 * SWEEP
        client.close()
    assert [answer.status for answer in answers] == [200, 408]
    assert answers[1].closes
    assert answers[1].complete


async def test_a_stalled_body_breaks_an_answer_off(express):
    """Once its head is out, the status cannot be changed: the client sees that something is missing."""
    async with open_house(express=express, body_timeout=10) as house:
        client = house.connect()
        await client.send(CHUNKED.replace(b"/echo", b"/copy") + b"4\r\nhalf\r\n")
        (answer,) = take_apart(await client.receive_all())
        client.close()
    assert (answer.status, answer.body, answer.complete) == (200, b"half", False)


async def test_a_slow_body_that_goes_on_is_read(express):
    """However long it takes as a whole, where no rate is asked for."""
    async with open_house(express=express, body_timeout=10, min_rate=None) as house:
        client = house.connect()
        await client.send(UPLOAD)
        for byte in range(10):
            await anyio.sleep(8)
            await client.send(b"%d" % byte)
        assert (await client.receive_until(b"\r\n\r\n0123456789")).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()


async def test_an_unread_body_is_dropped_for_so_long(express):
    """W-164: the answer is there at once, and after its lingering time the connection ends."""
    async with open_house(express=express, lingering_time=10, body_timeout=60) as house:
        client = house.connect()
        start = anyio.current_time()
        await client.send(UPLOAD.replace(b"/echo", b"/ignore") + b"half")
        answer = await client.receive_until(b"/ignore")
        assert anyio.current_time() == start
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await client.receive_all() == b""
        assert 10 <= anyio.current_time() - start <= 10 + 2 * SWEEP
        client.close()


def big_app(pieces: int, ended: list[str]) -> web.Application:
    async def whole(request: web.Request) -> web.Response:
        return web.Response(body=bytes(pieces * 100_000))

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(pieces):
                await response.write(bytes(100_000))
        except BaseException as exc:
            ended.append(type(exc).__name__)
            raise
        ended.append("finished")
        return response

    app = web.Application()
    app.add_routes([web.get("/whole", whole), web.get("/stream", stream)])
    return app


@pytest.mark.parametrize("path", [b"/whole", b"/stream"])
async def test_a_reader_that_takes_nothing_is_given_up(path, express):
    """The handler is told in the way of a client that left; nobody calls it an error."""
    ended: list[str] = []
    async with open_house(big_app(5, ended), express=express, send_timeout=10) as house:
        client = house.connect()
        client.stall()
        start = anyio.current_time()
        await client.send(HEAD.replace(b"/plain/x", path))
        assert house.server is not None
        await anyio.sleep(1)
        while house.server.connections:  # noqa: ASYNC110 - it goes without an event
            await anyio.sleep(0.5)
        assert 10 <= anyio.current_time() - start <= 10 + 2 * SWEEP
        client.close()
    assert ended in ([], ["ConnectionResetError"], ["CancelledError"], ["Cancelled"])


@pytest.mark.parametrize("path", [b"/whole", b"/stream"])
async def test_a_slow_reader_is_served(path, express):
    """However long it takes as a whole, as long as it takes something now and then.

    Of a stream that is no socket, 64 KB is the least that a server sees going.
    """
    ended: list[str] = []
    received = b""
    async with open_house(big_app(10, ended), express=express, send_timeout=10) as house:
        client = house.connect(capacity=1000)
        await client.send(HEAD.replace(b"/plain/x", path).replace(b"Host: a", b"Host: a\r\nConnection: close"))
        while len(received) < 1_000_000:
            await anyio.sleep(8)
            received += await client.receive_exactly(100_000)
        (answer,) = take_apart(received + await client.receive_all())
        client.close()
    assert (answer.complete, len(answer.body)) == (True, 1_000_000)
    assert ended in ([], ["finished"])


async def test_a_handler_has_all_the_time_it_wants(express):
    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(1000)
        return web.Response(text="at last")

    app = web.Application()
    app.router.add_get("/plain/x", handler)
    options = {"keepalive_timeout": 10, "body_timeout": 10, "send_timeout": 10, "lingering_time": 1}
    async with open_house(app, express=express, **options) as house:
        client = house.connect()
        await client.send(HEAD)
        assert (await client.receive_until(b"at last")).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()
