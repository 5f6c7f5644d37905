"""WebSockets over real sockets: a thousand of them, cut cables, stalled readers, signals."""

import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from structweb import web
from structweb.testing import ClientWebSocket, connect_websocket
from tests.system.process import (
    AT_ONCE,
    BACKENDS,
    LEEWAY,
    Server,
    best_of,
    can_measure_memory,
    get,
    read_all,
    read_until,
)

#: Seconds for what should take none.
PATIENCE = 30

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
CLOSE = b"\x88\x82\0\0\0\0" + (1000).to_bytes(2, "big")
GOING_AWAY = b"\x88\x02" + (1001).to_bytes(2, "big")
#: Bytes of one message of a flood, and how many a stalled reader is sent.
MESSAGE = 65536
FLOOD = 2000
#: Bytes that a flood of 128 MB may cost: the bound of what waits for a peer, and what the interpreter keeps.
BOUND = 8 * 1024 * 1024


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    """Let this process open so many files at once; skip where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{hard} open files are allowed here, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_a_thousand_get_1001_within_one_budget():
    """A second for each backend: a thousand handshakes, and as many farewells."""
    count, budget = 1000, 10

    async def idle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for _ in ws:
            pass
        return ws

    app = web.Application()
    app.router.add_get("/", idle)
    codes: list[int | None] = []

    async def hear(client: ClientWebSocket) -> None:
        async for _ in client:
            pass
        await client.wait_ended()
        codes.append(client.close_code)
        await client.stream.aclose()

    with many_files(2 * count + 200):
        async with anyio.create_task_group() as group:
            async with web.AppRunner(app, access_log=None, shutdown_timeout=budget) as runner:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                host, port = runner.addresses[0][:2]
                for _ in range(count):
                    group.start_soon(hear, await connect_websocket(f"ws://{host}:{port}/"))
                start = time.monotonic()
            took = time.monotonic() - start
    assert codes == [1001] * count
    assert took < budget


@pytest.mark.anyio
@pytest.mark.real_backends
async def test_a_cut_cable_is_noticed():
    """The kernel still takes what is sent, and nobody answers.  In virtual time it is two intervals at most."""
    interval = 0.2
    ended = anyio.Event()

    async def idle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=interval)
        await ws.prepare(request)
        async for _ in ws:
            pass
        assert ws.close_code == 1006
        ended.set()
        return ws

    app = web.Application()
    app.router.add_get("/", idle)
    async with web.AppRunner(app, access_log=None, shutdown_timeout=1) as runner:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with await connect_websocket(f"ws://{host}:{port}/") as client:
            client.stall()
            start = time.monotonic()
            with anyio.fail_after(PATIENCE):
                await ended.wait()
            assert time.monotonic() - start > interval


# -- in a process of its own


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return request.param


def upgrade(server: Server, path: str, *, buffer: int | None = None):
    """Open a WebSocket, by hand."""
    client = server.connect(get(path, *HANDSHAKE), buffer=buffer)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


def read_messages(client: socket.socket, count: int) -> None:
    """Read so many messages of a flood, and not a byte more."""
    left = count * (MESSAGE + 10)
    while left:
        data = client.recv(min(left, 1_000_000))
        assert data, f"the connection ended {left} bytes too early"
        left -= len(data)


@pytest.mark.skipif(not can_measure_memory(), reason="the system does not tell how much memory a process holds")
@pytest.mark.parametrize("policy", ["wait", "drop", "close"])
def test_a_stalled_reader_costs_bounded_memory_and_no_neighbour_a_delay(backend, tmp_path, policy):
    """It is sent 128 MB, and reads nothing; a neighbour is sent 13 MB meanwhile, and gets them."""
    with Server(backend, tmp_path, "--shutdown-timeout", "0.5") as server:
        with upgrade(server, "/flood/wait/20") as warm:
            read_messages(warm, 20)
        server.await_waiting(1)
        before = server.peak()
        with (
            upgrade(server, "/flood/wait/200", buffer=4096) as neighbour,
            upgrade(server, f"/flood/{policy}/{FLOOD}", buffer=4096) as stalled,
        ):
            if policy != "wait":
                server.await_waiting(2)  # it has tried to send everything, and is through with that
            read_messages(neighbour, 200)
            assert server.peak() - before < BOUND
            if policy == "wait":
                read_messages(stalled, FLOOD)
            elif policy == "close":
                assert len(read_until(stalled, b"\x88\x0a" + (1008).to_bytes(2, "big") + b"too slow")) < BOUND
                stalled.sendall(CLOSE)
                assert read_all(stalled) == b""
            else:
                stalled.sendall(CLOSE)
                received = read_all(stalled)
                assert received.endswith(b"\x88\x02" + (1000).to_bytes(2, "big"))
                assert MESSAGE < len(received) < BOUND
            assert server.peak() - before < BOUND
        server.end()
        assert "Traceback" not in server.output()


@pytest.mark.parametrize("answers", [True, False], ids=["a peer that answers", "a deaf peer"])
def test_sigterm_under_idle_websockets(backend, tmp_path, answers):
    """They get 1001; who answers is not waited for any longer, who does not for the shutdown timeout, and is named."""
    patience = 60 if answers else 0.5

    def attempt() -> float:
        (tmp_path / "cleaned").unlink(missing_ok=True)
        with Server(backend, tmp_path, "--shutdown-timeout", str(patience)) as server:
            with upgrade(server, "/idle") as client:
                client.sendall(b"\x81\x81\0\0\0\0x")
                assert read_until(client, b"x") == b"\x81\x01x"
                with server.ending() as ending:
                    assert read_until(client, GOING_AWAY) == GOING_AWAY
                    if answers:
                        client.sendall(CLOSE)
                        assert read_all(client) == b""
            said = server.output()
            assert ending.code == 0
            assert (tmp_path / "cleaned").exists()
            assert "Traceback" not in said, said
        # The handler has ended, so there is no await of its own to name: what is waited for is the peer's goodbye.
        named = re.findall(
            "^  cancelled: peer .*, upgraded, GET /idle, route GET /idle, (?:for .* s, )?server shutdown$",
            said,
            re.MULTILINE,
        )
        assert len(named) == (not answers), said
        return ending.own

    best_of(attempt, AT_ONCE if answers else patience + LEEWAY)  # not the ten seconds of a close handshake
