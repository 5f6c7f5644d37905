"""The accept loop: what it takes, what it survives, how it ends."""

import errno
import logging
import os
import resource
import socket
from contextlib import ExitStack, contextmanager

import anyio
import pytest

from structweb._server.accept import Listening, accept_forever
from structweb._server.listeners import adopt_socket

pytestmark = pytest.mark.anyio


class Faulty(socket.socket):
    """A listening socket whose next calls of accept fail with `faults`, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[OSError] = []

    def accept(self):
        if self.faults:
            raise self.faults.pop(0)
        return super().accept()


class Guests:
    """Where accepted connections go: they are closed after the test."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.arrived = anyio.Event()

    def admit(self, sock: socket.socket, peer: object) -> None:
        self.sockets.append(sock)
        self.arrived.set()
        self.arrived = anyio.Event()

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(30):
            while len(self.sockets) < count:
                await self.arrived.wait()


@pytest.fixture
def listener():
    with Faulty() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        sock.setblocking(False)
        yield sock


@pytest.fixture
async def guests():
    guests = Guests()
    yield guests
    for sock in guests.sockets:
        sock.close()


@pytest.fixture
def connect(listener):
    """Connect blocking clients: on the loopback, the kernel does so without the server's help."""
    with ExitStack() as stack:

        def connect_() -> socket.socket:
            return stack.enter_context(socket.create_connection(listener.getsockname()))

        yield connect_


@contextmanager
def no_file_descriptors_left():
    """Let the process open no further file, as one that has reached its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def accepting(listener, guests):
    async with anyio.create_task_group() as group:
        group.start_soon(accept_forever, listener, guests.admit)
        yield
        group.cancel_scope.cancel()


@pytest.mark.real_backends
async def test_connections_arrive_non_blocking_with_their_peers(listener, connect):
    peers = {}
    async with anyio.create_task_group() as group:

        def admit(sock, peer):
            peers[peer] = sock.gettimeout()
            sock.close()
            if len(peers) == 3:
                group.cancel_scope.cancel()

        group.start_soon(accept_forever, listener, admit)
        clients = [connect() for _ in range(3)]
        await anyio.sleep_forever()
    assert peers == {client.getsockname(): 0.0 for client in clients}


async def test_a_burst_leaves_room_for_other_tasks(listener, guests, connect):
    """More connections than one batch: another task runs before the last is taken."""
    for _ in range(100):
        connect()
    seen = []
    async with anyio.create_task_group() as group:
        group.start_soon(accept_forever, listener, guests.admit)
        while len(guests.sockets) < 100:
            await anyio.lowlevel.checkpoint()
            seen.append(len(guests.sockets))
        group.cancel_scope.cancel()
    assert any(0 < count < 100 for count in seen)


async def test_running_out_of_file_descriptors_is_survived(listener, guests, connect, accepting, caplog):
    """The loop rests between attempts, says so once, and goes on when there are descriptors again."""
    caplog.set_level(logging.INFO)
    for _ in range(3):
        connect()
    with no_file_descriptors_left():
        await anyio.sleep(60)  # a loop that does not rest would never let virtual time pass
    assert not guests.sockets
    (record,) = caplog.records
    assert record.name == "structweb.server"
    assert record.levelname == "ERROR"
    assert "EMFILE" in record.getMessage()
    assert f"{listener.getsockname()}" in record.getMessage()
    await guests.wait_for(3)
    assert [record.getMessage() for record in caplog.records[1:]] == [
        f"Accepting connections again on {listener.getsockname()}"
    ]


async def test_each_episode_has_its_record(listener, guests, connect, accepting, caplog):
    for count in (1, 2):
        connect()
        with no_file_descriptors_left():
            await anyio.sleep(10)
        await guests.wait_for(count)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


@pytest.mark.parametrize("code", [errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EIO])
async def test_other_shortages_are_survived(listener, guests, connect, caplog, code):
    listener.faults = [OSError(code, os.strerror(code)) for _ in range(5)]
    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(accept_forever, listener, guests.admit)
        connect()
        await guests.wait_for(1)
        group.cancel_scope.cancel()
    assert anyio.current_time() - start == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.0)
    (record,) = caplog.records
    assert errno.errorcode[code] in record.getMessage()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM])
async def test_a_connection_that_fails_before_it_is_taken_costs_the_next_one_nothing(
    listener, guests, connect, caplog, code
):
    listener.faults = [OSError(code, os.strerror(code))]
    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(accept_forever, listener, guests.admit)
        connect()
        await guests.wait_for(1)
        group.cancel_scope.cancel()
    assert anyio.current_time() == start
    assert not caplog.records


@pytest.mark.real_backends
async def test_a_socket_that_somebody_closed_ends_the_loop(listener, guests, caplog):
    listener.close()
    await accept_forever(listener, guests.admit)
    assert "closed by somebody else" in caplog.text


# -- Listening -----------------------------------------------------------------------------------------------------


def refused(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == errno.ECONNREFUSED


@pytest.mark.real_backends
async def test_stop_refuses_connections_when_it_returns(listener, guests, connect):
    listening = Listening(adopt_socket(listener))
    address = listener.getsockname()
    assert listening.name == f"http://127.0.0.1:{address[1]}"
    async with anyio.create_task_group() as group:
        group.start_soon(listening.run, guests.admit)
        connect()
        await guests.wait_for(1)
        await listening.stop()
        assert refused(address)
        await listening.stop()
    assert guests.sockets[0].fileno() >= 0  # what was accepted lives on


@pytest.mark.real_backends
async def test_stop_before_the_task_has_run(listener, guests):
    listening = Listening(adopt_socket(listener))
    address = listener.getsockname()
    async with anyio.create_task_group() as group:
        group.start_soon(listening.run, guests.admit)
        await listening.stop()
        assert refused(address)


async def test_stop_in_a_cancelled_task_closes_all_the_same(listener, guests):
    listening = Listening(adopt_socket(listener))
    address = listener.getsockname()
    async with anyio.create_task_group() as group:
        group.start_soon(listening.run, guests.admit)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await listening.stop()
            assert refused(address)
