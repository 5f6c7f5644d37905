"""A listener behind a proxy: who gets in, how long it may take, and what is logged about the others."""

import logging
import socket
import struct
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.listeners import Listener, adopt_socket
from structweb._server.proxied import QUIET, ProxyGate
from structweb._wire.limits import Timeouts
from structweb._wire.trust import Trusted
from tests.server.peers import GET

pytestmark = pytest.mark.anyio

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 5000, 443)
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 443\r\n"
V2 = SIGNATURE + b"\x21\x11" + struct.pack("!H", 12 + 5) + ADDRESSES + b"\x01\x00\x02h2"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


async def tell(exchange: Exchange) -> None:
    """Answer with what the transport knows of the client."""
    known = exchange.transport.get_extra_info
    header = known("proxy_protocol")
    alpn = None if header is None else header.alpn
    body = f"{known('peername')} {alpn} {known('proxy_peername') is not None} {known('nonsense', 'nothing')}"
    exchange.keep_alive = False
    await exchange.respond(200, "OK", (), body.encode())


class Door:
    """A listening socket whose connections come through a proxy."""

    def __init__(self, engine: Engine, address: object, family: int) -> None:
        self.engine = engine
        self.address = address
        self.family = family

    def connect(self) -> socket.socket:
        sock = socket.socket(self.family)
        sock.connect(self.address)  # type: ignore[arg-type]  # of the socket's own family
        sock.setblocking(False)
        return sock

    async def ask(self, *pieces: bytes) -> bytes:
        """Send `pieces` one by one and return what comes back until the end."""
        with self.connect() as sock:
            for piece in pieces:
                await anyio.wait_writable(sock)
                sock.sendall(piece)
                await anyio.sleep(0.001)
            return await rest(sock)


async def rest(sock: socket.socket) -> bytes:
    received = b""
    while True:
        await anyio.wait_readable(sock)
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            return received
        if not data:
            return received
        received += data


@asynccontextmanager
async def door(trusted: Trusted | None = None, *, unix: Path | None = None) -> AsyncGenerator[Door]:
    config = ServerConfig(timeouts=Timeouts(tls_handshake=5))
    sock = socket.socket() if unix is None else socket.socket(socket.AF_UNIX)
    sock.bind(("127.0.0.1", 0) if unix is None else str(unix))
    plain = adopt_socket(sock)
    listener = Listener(plain.socket, plain.url, gate=ProxyGate(trusted, plain.url))
    async with Engine(tell, config) as engine:
        engine.listen(listener)
        yield Door(engine, sock.getsockname(), sock.family)


def body_of(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[2].decode()


def refusals(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if "Refused a connection" in record.getMessage()]


CLIENT = "('203.0.113.7', 5000)"


@pytest.mark.parametrize(("header", "alpn"), [(V1, "None"), (V2, "b'h2'")])
async def test_the_client_is_who_the_proxy_says(header, alpn):
    async with door() as here:
        assert body_of(await here.ask(header + GET)) == f"{CLIENT} {alpn} True nothing"


async def test_the_header_may_come_in_any_pieces():
    async with door() as here:
        for header in (V1, V2):
            pieces = [header[place : place + 1] for place in range(len(header))]
            assert body_of(await here.ask(*pieces, GET)).startswith(CLIENT)
            assert body_of(await here.ask(header[:-1], header[-1:] + GET)).startswith(CLIENT)


async def test_a_proxy_that_speaks_for_itself_is_the_peer():
    async with door() as here:
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            answer = body_of(await here.ask(header + GET))
            assert answer.startswith("('127.0.0.1', ")
            assert answer.endswith(" None True nothing")


async def test_unix_sockets(tmp_path: Path):
    async with door(Trusted(["unix"]), unix=tmp_path / "s") as here:
        assert body_of(await here.ask(V2 + GET)).startswith(CLIENT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GET, "expected a PROXY protocol header, got b'GET / HTTP/1.1"),
        (b"PROXY TCP4 nonsense\r\n" + GET, "expected 'PROXY TCP4"),
        (b"\x16\x03\x01\x00\xa5", "expected a PROXY protocol header"),
    ],
)
async def test_without_a_header_nobody_is_served(data, reason, caplog):
    async with door() as here:
        assert await here.ask(data) == b""
        assert here.engine.requests_count == 0
    (said,) = refusals(caplog.records)
    assert "127.0.0.1" in said
    assert str(here.address) in said or f":{here.address[1]}" in said
    assert reason in said


async def test_a_header_of_one_who_is_not_trusted_does_not_count(caplog):
    async with door(Trusted(["10.0.0.0/8", "unix"])) as here:
        assert await here.ask(V2 + GET) == b""
        assert here.engine.requests_count == 0
    (said,) = refusals(caplog.records)
    assert "is not among the trusted proxies" in said


async def test_trusted_networks_are_let_in():
    async with door(Trusted(["127.0.0.0/8"])) as here:
        assert body_of(await here.ask(V2 + GET)).startswith(CLIENT)


@pytest.mark.parametrize("start", [b"", V2[:20]])
async def test_a_header_that_does_not_come_in_time(start, caplog):
    async with door() as here:
        with here.connect() as sock:
            sock.sendall(start)
            began = anyio.current_time()
            assert await rest(sock) == b""
            assert anyio.current_time() - began == pytest.approx(5, abs=0.1)
    (said,) = refusals(caplog.records)
    assert "no complete PROXY protocol header for 5 s" in said


async def test_whoever_leaves_without_a_word_is_no_news(caplog):
    """Load balancers look whether the port is open."""
    async with door() as here:
        with here.connect() as sock:
            sock.shutdown(socket.SHUT_WR)
            assert await rest(sock) == b""
    assert refusals(caplog.records) == []


async def test_whoever_leaves_in_the_middle_is(caplog):
    async with door() as here:
        with here.connect() as sock:
            sock.sendall(V2[:20])
            await anyio.sleep(0.001)
            sock.shutdown(socket.SHUT_WR)
            assert await rest(sock) == b""
    (said,) = refusals(caplog.records)
    assert "left in the middle" in said


async def test_the_log_is_not_flooded(caplog):
    async with door() as here:
        for _ in range(20):
            assert await here.ask(GET) == b""
        assert len(refusals(caplog.records)) == 1
        await anyio.sleep(QUIET)
        assert await here.ask(GET) == b""
        assert await here.ask(GET) == b""
    first, second = refusals(caplog.records)
    assert "more" not in first
    assert second.endswith("(19 more since the last such record)")


async def test_a_shutdown_does_not_wait_for_a_header():
    async with door() as here:
        with here.connect() as sock:
            sock.sendall(V2[:20])
            await anyio.sleep(0.01)
            report = await here.engine.shutdown(60)
            assert report.seconds < 1
            assert await rest(sock) == b""


class Hesitant(socket.socket):
    """A listening socket whose connections are readable before there is anything to read, once."""

    def accept(self) -> tuple[socket.socket, object]:
        found, peer = super().accept()
        return Interrupted(fileno=found.detach()), peer


class Interrupted(socket.socket):
    """A socket whose first read is interrupted, and whose second one finds nothing."""

    faults: Iterator[OSError]

    def recv(self, *args: int) -> bytes:
        if not hasattr(self, "faults"):
            self.faults = iter([InterruptedError(), BlockingIOError()])
        for fault in self.faults:
            raise fault
        return super().recv(*args)


async def test_false_alarms_are_waited_out():
    sock = Hesitant()
    sock.bind(("127.0.0.1", 0))
    plain = adopt_socket(sock)
    async with Engine(tell, ServerConfig()) as engine:
        engine.listen(Listener(plain.socket, plain.url, gate=ProxyGate(None, plain.url)))
        assert body_of(await Door(engine, sock.getsockname(), sock.family).ask(V2 + GET)).startswith(CLIENT)
