"""A client leaves while its handler waits: over real sockets, with real clocks, in every way there is."""

import ssl
from contextlib import suppress
from time import perf_counter

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.tls import TLSAttribute, TLSStream

from structweb import web
from tests.server.links import SocketPeer
from tests.system.places import KINDS, PATIENCE, open_place, read_all

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

#: Seconds from a client's leaving to the cancellation of its handler.
BOUND = 0.1
#: The machine may be busy with other things for longer than that: the best of so many attempts counts.
ATTEMPTS = 3
WAYS = ("half_close", "vanish", "reset", "aclose")
GET = b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Waiting:
    """A handler that waits, and what becomes of it."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.cancelled = anyio.Event()
        self.cancelled_at = 0.0
        self.go_on = anyio.Event()
        self.finished = anyio.Event()

    async def __call__(self, request: web.Request) -> web.Response:
        self.entered.set()
        try:
            await self.go_on.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled_at = perf_counter()
            self.cancelled.set()
            raise
        self.finished.set()
        return web.Response(text="waited")

    def app(self, **options: object) -> web.Application:
        app = web.Application(**options)
        app.router.add_route("*", "/wait", self)
        return app


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


async def leave(peer: SocketPeer, way: str) -> None:
    """End the connection from the client's side."""
    match way:
        case "half_close":
            await peer.half_close()
        case "aclose":
            await peer.aclose()
        case "vanish":
            peer.vanish()
        case _:
            peer.reset()


async def end_sending(peer: SocketPeer) -> None:
    """Tell the server that no more comes; over TLS that is close_notify, which goes out when `peer` is read next."""
    if isinstance(peer.stream, TLSStream):
        with suppress(ssl.SSLWantReadError):
            peer.stream.extra(TLSAttribute.ssl_object).unwrap()
    else:
        await peer.half_close()


async def seconds_to_cancel(kind, folder, way, sent=GET):
    """Return the time between a client's leaving and the cancellation of its handler."""
    waiting = Waiting()
    async with open_place(kind, folder, waiting.app()) as place, place.visit() as peer:
        await peer.send(sent)
        with anyio.fail_after(PATIENCE):
            await waiting.entered.wait()
            await anyio.wait_all_tasks_blocked()
            left_at = perf_counter()
            await leave(peer, way)
            await waiting.cancelled.wait()
        assert not waiting.finished.is_set()
    return waiting.cancelled_at - left_at


@pytest.mark.parametrize("way", WAYS)
async def test_a_handler_that_waits_is_cancelled_within_100_ms(kind, tmp_path, way):
    took = [BOUND]
    while min(took) >= BOUND and len(took) <= ATTEMPTS:
        took.append(await seconds_to_cancel(kind, tmp_path, way))
    assert min(took) < BOUND, took


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(GET + GET, id="a pipelined request behind it"),
        pytest.param(b"POST" + GET[3:-2] + b"Content-Length: 9\r\n\r\nnine", id="half of its body"),
        pytest.param(
            b"POST" + GET[3:-2] + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + GET[:9], id="half a head"
        ),
    ],
)
async def test_also_when_it_has_said_more(kind, tmp_path, sent):
    """What is read ahead must not hide the end behind it."""
    took = [BOUND]
    while min(took) >= BOUND and len(took) <= ATTEMPTS:
        took.append(await seconds_to_cancel(kind, tmp_path, "vanish", sent))
    assert min(took) < BOUND, took


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["server", "application"])
async def test_a_handler_may_finish_all_the_same(kind, tmp_path, way, where):
    waiting = Waiting()
    app = waiting.app(**({"disconnect": "finish"} if where == "application" else {}))
    options = {"disconnect": "finish"} if where == "server" else {}
    async with (
        open_place(kind, tmp_path, app, **options) as place,
        place.visit() as peer,
        anyio.create_task_group() as group,
    ):
        await peer.send(GET)
        with anyio.fail_after(PATIENCE):
            await waiting.entered.wait()
            await anyio.wait_all_tasks_blocked()
            group.start_soon(leave, peer, way)  # over TLS a polite client waits for the server's farewell
            assert place.runner.server is not None
            (connection,) = place.runner.server.connections
            while not connection.gone:
                await anyio.lowlevel.checkpoint()
            assert not waiting.cancelled.is_set()
            waiting.go_on.set()
            await waiting.finished.wait()
    assert not waiting.cancelled.is_set()


async def test_a_half_closed_client_is_served_where_that_is_asked_for(kind, tmp_path):
    waiting = Waiting()
    answers = b""

    async def read() -> None:
        nonlocal answers
        answers = await read_all(peer)

    async with (
        open_place(kind, tmp_path, waiting.app(), half_close="serve") as place,
        place.visit() as peer,
        anyio.create_task_group() as group,
    ):
        await peer.send(GET + GET)
        with anyio.fail_after(PATIENCE):
            await waiting.entered.wait()
            await end_sending(peer)
            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            waiting.go_on.set()
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answers.endswith(b"waited")


async def test_a_reset_is_a_departure_even_there(kind, tmp_path):
    if kind == "unix":
        pytest.skip("a Unix socket knows no reset: its peer's close is an end like any other")
    waiting = Waiting()
    async with open_place(kind, tmp_path, waiting.app(), half_close="serve") as place, place.visit() as peer:
        await peer.send(GET)
        with anyio.fail_after(PATIENCE):
            await waiting.entered.wait()
            peer.reset()
            await waiting.cancelled.wait()


async def test_a_writer_notices_too(kind, tmp_path):
    """A stream that never waits for anything but its client."""
    ended = anyio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 1000)
        finally:
            ended.set()

    app = web.Application()
    app.router.add_get("/wait", stream)
    async with open_place(kind, tmp_path, app) as place, place.visit() as peer:
        await peer.send(GET)
        assert await peer.receive()
        peer.vanish()
        with anyio.fail_after(PATIENCE):
            await ended.wait()
