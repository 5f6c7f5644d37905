"""Shutdown over real sockets and clocks: TCP, TLS and Unix, against clients that will not leave."""

import errno
import socket
import ssl
from contextlib import AsyncExitStack

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketStream, TaskStatus

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.listeners import Listener, open_tcp, open_unix
from structweb._server.report import ShutdownReport
from tests.server.links import SocketPeer
from tests.system.places import read_all

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

TIMEOUT = 0.2
#: What a shutdown may take longer here, where the clock is real and the machine may be busy with other things.
#: The true bound is shown in virtual time.
LEEWAY = 3


async def handler(exchange: Exchange) -> None:
    match exchange.head.target:
        case "/endless":
            await exchange.start(200, "OK", (), chunked=True)
            while True:
                await exchange.write(b"x" * 1000)
                await anyio.sleep(0.001)
        case "/big":
            await exchange.respond(200, "OK", (), bytes(5_000_000))
        case "/wait":
            await anyio.sleep_forever()
        case _:
            await exchange.respond(200, "OK", (), b"hello")


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return TLS contexts of a server and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.fixture(params=["tcp", "tls", "unix"])
async def place(request, contexts, tmp_path):
    """A listener, and a way to connect to it."""
    if request.param == "unix":
        listener = open_unix(tmp_path / "app.sock")

        async def connect() -> ByteStream:
            return await anyio.connect_unix(tmp_path / "app.sock")
    else:
        tls = request.param == "tls"
        (listener,) = await open_tcp("127.0.0.1", 0, ssl_context=contexts[0] if tls else None)
        address = listener.address

        async def connect() -> ByteStream:
            if tls:
                return await anyio.connect_tcp(
                    *address, tls_hostname="localhost", ssl_context=contexts[1], tls_standard_compatible=False
                )
            return await anyio.connect_tcp(*address)

    yield listener, connect
    listener.close()


async def test_clients_that_will_not_leave(place):
    """A stalled reader, an endless stream, a waiting handler: in time.  Idle, silent, in mid-handshake: at once."""
    listener, connect = place
    async with AsyncExitStack() as stack, Engine(handler, ServerConfig()) as engine:
        engine.listen(listener)
        idle = [await stack.enter_async_context(await connect()) for _ in range(3)]
        await idle[1].send(get("/"))
        await idle[1].receive()
        await idle[2].send(b"GET / HT")
        for target in ("/endless", "/big", "/wait"):
            client = await stack.enter_async_context(await connect())
            await client.send(get(target))
        if listener.ssl_context is not None:
            await stack.enter_async_context(await anyio.connect_tcp(*listener.address))
        with anyio.fail_after(5):
            while engine.requests_count < 4 or len(engine.connections) < 6:
                await anyio.lowlevel.checkpoint()

        start = anyio.current_time()
        ended = []
        async with anyio.create_task_group() as group:

            async def watch(client: ByteStream) -> None:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await client.receive()
                ended.append(client)

            for client in idle:
                group.start_soon(watch, client)
            report = await engine.shutdown(TIMEOUT)
            # Loops measure in milliseconds, and add them up as floats.
            assert TIMEOUT - 0.002 <= anyio.current_time() - start <= TIMEOUT + LEEWAY
            assert set(ended) == set(idle)
    assert anyio.current_time() - start <= TIMEOUT + LEEWAY
    assert len(report.cancelled) == 3
    assert not report.abandoned
    assert not report.finished
    assert report.idle == len(idle) + (listener.ssl_context is not None)


@pytest.mark.parametrize("steps", range(6))
async def test_a_connection_that_is_just_being_taken(place, steps):
    """However far it has come, the shutdown need not wait for it: not even for its TLS handshake."""
    listener, _ = place
    with socket.socket(listener.socket.family) as client:
        client.connect(listener.address)
        async with Engine(handler, ServerConfig()) as engine:
            engine.listen(listener)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            report = await engine.shutdown(5)
            assert report.seconds < LEEWAY
            assert report.clean
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass


class Door(socket.socket):
    """A listening socket that tells when it has given a connection away: whoever is told runs beside its task."""

    def __init__(self) -> None:
        super().__init__()
        self.setblocking(False)
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.given = anyio.Event()

    def accept(self) -> tuple[socket.socket, object]:
        taken = super().accept()
        self.given.set()
        return taken


async def come_as_the_doors_close(sent: bytes, *, hurry: bool = False) -> tuple[bytes, int, ShutdownReport]:
    """Send to an engine that shuts down as soon as it has accepted; return the answer, how often it was asked, a report."""
    async with Engine(handler, ServerConfig()) as engine:
        door = Door()

        async def close(*, task_status: TaskStatus[None]) -> None:
            task_status.started()
            await door.given.wait()
            if hurry:
                engine.hurry()
            reports.append(await engine.shutdown(5))

        reports: list[ShutdownReport] = []
        async with anyio.create_task_group() as group:
            await group.start(close)
            with socket.create_connection(door.getsockname()) as client:
                client.sendall(sent)
                engine.listen(Listener(door, "http://127.0.0.1/"))
                async with await SocketStream.from_socket(client.dup()) as stream:
                    answer = await read_to_end(stream)
    return answer, engine.requests_count, reports[0]


async def read_to_end(stream: ByteStream) -> bytes:
    answer = b""
    try:
        while True:
            answer += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return answer


async def test_who_is_accepted_as_the_doors_close_is_answered():
    """Its request may be lying in our kernel: the doors close before the connection's task has begun.

    On trio, which tosses a coin about which of two tasks begins, it may also be the other way round: both come up here.
    """
    for _ in range(10):
        answer, count, report = await come_as_the_doors_close(get("/"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nhello")
        assert b"\r\nConnection: close\r\n" in answer
        assert count == 1
        assert report.clean


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n"])
async def test_but_nobody_waits_for_one_who_has_not_asked(sent):
    answer, count, report = await come_as_the_doors_close(sent)
    assert (answer, count) == (b"", 0)
    assert report.seconds < LEEWAY
    assert report.clean


async def test_nor_is_anybody_served_in_a_hurry():
    answer, count, _ = await come_as_the_doors_close(get("/"), hurry=True)
    assert (answer, count) == (b"", 0)


@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("open_doors", [True, False])
async def test_what_lies_in_our_kernel_when_it_begins_is_answered(count, open_doors):
    """Requests that nobody has read yet, of clients long connected, and of others that nobody has accepted yet."""
    (listener,) = await open_tcp("127.0.0.1", 0, backlog=count)
    async with AsyncExitStack() as stack, Engine(handler, ServerConfig()) as engine:
        listening = engine.listen(listener)

        def connect() -> SocketPeer:
            return SocketPeer(stack.enter_context(socket.create_connection(listener.address)))

        known = [connect() for _ in range(count)]
        for client in known:
            await client.send(get("/"))
            assert (await client.receive()).endswith(b"hello")
        if not open_doors:
            await listening.stop()
        new = [connect() for _ in range(count * open_doors)]
        # Without a wait, so that the server does not come to look.
        for client in (*known, *new):
            client.raw.sock.send(get("/"))
        report = await engine.shutdown(5)
        answers = [await read_all(client) for client in (*known, *new)]
    assert len(answers) == (2 if open_doors else 1) * count
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nhello")
        assert b"\r\nConnection: close\r\n" in answer
    assert engine.requests_count == count + len(answers)
    assert report.clean


async def test_who_stands_in_the_backlog_of_a_site_that_stops_is_served():
    (listener,) = await open_tcp("127.0.0.1", 0)
    async with Engine(handler, ServerConfig()) as engine:
        listening = engine.listen(listener)
        await anyio.wait_all_tasks_blocked()
        with socket.create_connection(listener.address) as sock:
            await listening.stop()
            client = SocketPeer(sock)
            for _ in range(2):
                await client.send(get("/"))
                assert (await client.receive()).endswith(b"hello")


@pytest.mark.parametrize("trouble", [errno.EMFILE, errno.ECONNABORTED])
async def test_a_backlog_that_cannot_be_taken_does_not_hold_a_shutdown(trouble, caplog):
    class Broken(Door):
        def accept(self) -> tuple[socket.socket, object]:
            if engine.closing:
                raise OSError(trouble, "trouble")
            raise BlockingIOError

    async with Engine(handler, ServerConfig()) as engine:
        with Broken() as door:
            engine.listen(Listener(door, "http://127.0.0.1/"))
            await anyio.wait_all_tasks_blocked()
            assert (await engine.shutdown(5)).clean
    assert ("may be left in the backlog" in caplog.text) is (trouble == errno.EMFILE)
