"""SIGTERM against clients that will not leave: a server in a process of its own, started from the command line."""

import signal
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from tests.system.process import (
    AT_ONCE,
    BACKENDS,
    LEEWAY,
    PATIENCE,
    Server,
    best_of,
    get,
    read_all,
    read_until,
)

TIMEOUT = 0.5


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return request.param


class Crowd(ExitStack):
    """Clients of a server, closed at the end."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def _connect(self, sent: bytes = b"", **options: int) -> socket.socket:
        return self.enter_context(self.server.connect(sent, **options))

    def quiet(self) -> list[socket.socket]:
        """Nobody waits for these: an idle connection, a silent one, one in mid-head, one in its second head."""
        idle, half = self._connect(get("/ping")), self._connect(get("/ping"))
        for client in (idle, half):
            read_until(client, b"waiting")
        half.sendall(b"GET /ping HT")
        return [idle, half, self._connect(), self._connect(b"GET /pi")]

    def stubborn(self) -> tuple[socket.socket, ...]:
        """A stalled reader of an endless stream, one that reads on, and a slow upload."""
        stalled, reading = self._connect(get("/endless"), buffer=4096), self._connect(get("/endless"))
        for client in (stalled, reading):
            read_until(client, b"x" * 1000)
        slow = self._connect(get("/upload", "Content-Length: 1000", method="POST") + b"some of it")
        return stalled, reading, slow


def test_hostile_clients_cannot_hold_it(backend, tmp_path):
    """A stalled reader, an endless stream, a slow upload, and connections without a request: all at once."""

    def attempt() -> float:
        (tmp_path / "cleaned").unlink(missing_ok=True)
        with Server(backend, tmp_path, "--shutdown-timeout", str(TIMEOUT)) as server, Crowd(server) as crowd:
            quiet = crowd.quiet()
            _, reading, slow = crowd.stubborn()
            server.await_waiting(3)
            reader = threading.Thread(target=read_all, args=(reading,))
            reader.start()
            ended = server.end()
            reader.join(PATIENCE)
            assert not reader.is_alive()
            assert [read_all(client) for client in quiet] == [b""] * len(quiet)
            assert read_all(slow) == b""
            said = server.output()
        assert ended.code == 0
        assert (tmp_path / "cleaned").exists()
        assert ended.took >= TIMEOUT
        assert "Traceback" not in said, said
        assert "3 cancelled" in said, said
        return ended.own

    best_of(attempt, TIMEOUT + LEEWAY)


def test_nobody_waits_for_quiet_clients(backend, tmp_path):
    """With idle and silent connections only, it ends at once, whatever its patience."""

    def attempt() -> float:
        (tmp_path / "cleaned").unlink(missing_ok=True)
        with Server(backend, tmp_path, "--shutdown-timeout", "60") as server, Crowd(server) as crowd:
            quiet = crowd.quiet()
            ended = server.end()
            assert [read_all(client) for client in quiet] == [b""] * len(quiet)
        assert ended.code == 0
        assert (tmp_path / "cleaned").exists()
        return ended.own

    best_of(attempt, AT_ONCE)


def test_a_request_under_way_is_finished(backend, tmp_path):
    """Even if its body is still to come; it is told that it was the last one."""
    uploading = get("/upload", "Content-Length: 4", method="POST")
    with Server(backend, tmp_path, "--shutdown-timeout", "60") as server:
        with server.connect(uploading) as client, server.connect() as silent:
            server.await_waiting(1)
            server.send(signal.SIGTERM)
            assert silent.recv(1) == b""  # the shutdown is under way
            client.sendall(b"body" + get("/ping"))
            answer = read_all(client)
        assert server.ended() == 0
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("hangs", ["a client", "a clean-up"])
def test_a_second_signal_ends_it_at_once(backend, tmp_path, hangs):
    def attempt() -> float:
        (tmp_path / "cleaning").unlink(missing_ok=True)
        cleanup = 60 if hangs == "a clean-up" else 0
        with Server(backend, tmp_path, "--shutdown-timeout", "60", cleanup=cleanup) as server, Crowd(server) as crowd:
            if hangs == "a client":
                crowd.stubborn()
                server.await_waiting(3)
                silent = server.connect()
            server.send(signal.SIGINT)
            if hangs == "a client":
                with silent:
                    assert silent.recv(1) == b""  # the shutdown is under way
            else:
                deadline = time.monotonic() + PATIENCE
                while not (tmp_path / "cleaning").exists():
                    assert time.monotonic() < deadline
            ended = server.end()
            assert ended.code == 0
            assert "Traceback" not in server.output()
        assert (tmp_path / "cleaning").exists()
        assert not (tmp_path / "cleaned").exists()  # it awaits something: clean-up has no time any more
        return ended.own

    best_of(attempt, AT_ONCE)


def test_a_clean_up_that_hangs_is_cut_and_named(backend, tmp_path):
    def attempt() -> float:
        options = ("--shutdown-timeout", "60", "--cleanup-timeout", str(TIMEOUT))
        with Server(backend, tmp_path, *options, cleanup=60) as server:
            ended = server.end()
            said = server.output()
        assert ended.code == 0
        assert ended.took >= TIMEOUT
        assert "cut short: context tests.system.program_app.make_app.<locals>.house, after 0.5 s, at " in said, said
        assert "program_app.py:" in said
        assert not (tmp_path / "cleaned").exists()
        return ended.own

    best_of(attempt, TIMEOUT + LEEWAY)
