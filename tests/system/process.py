"""A server in a process of its own, from the command line; and its clients, where no event loop runs."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.examples.program import BACKEND_OPTIONS, Program

PATIENCE = 20  # seconds before a test that waits for a server fails
BACKENDS = tuple(BACKEND_OPTIONS)
#: Seconds past its budgets in which a server has to end, the end of its interpreter included.
LEEWAY = 0.3
#: Seconds that count as at once, against a patience of 60; a busy machine takes some of them to end an interpreter.
AT_ONCE = 1.0
#: The machine may be busy with other things: the best of so many attempts counts.
ATTEMPTS = 5

_TELLS_STARVATION = os.path.exists("/proc/self/schedstat")  # noqa: PTH110 - a question, not a path to work with


@dataclass
class Ending:
    """How a server ended: its exit code, and the seconds from SIGTERM to then."""

    code: int = -1
    took: float = 0.0
    #: Without those for which it was ready to run, and others had all processors: these are the machine's.
    own: float = 0.0


class Server(Program):
    """``structweb serve`` with the application of `program_app`, or with that of another `entry` and its arguments."""

    def __init__(
        self, backend: str, folder: Path, *options: str, cleanup: float = 0, entry: Sequence[str] = ()
    ) -> None:
        entry = entry or ("tests.system.program_app:make_app", str(folder), str(cleanup))
        super().__init__(
            "-m", "structweb", "serve", "-H", "127.0.0.1", "-P", "0", "--no-access-log",
            *BACKEND_OPTIONS[backend], *options, *entry,
        )  # fmt: skip
        self.address = "127.0.0.1", self.port()
        self.wait_for("Press CTRL+C")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @contextmanager
    def ending(self) -> Iterator["Ending"]:
        """Send SIGTERM, and wait for the end behind the block; what is yielded is filled in then."""
        ended = os.pidfd_open(self._process.pid) if _TELLS_STARVATION else None
        try:
            ending = Ending()
            before, start = self._starved(), time.monotonic()
            self.send(signal.SIGTERM)
            yield ending
            if ended is None:
                self._process.wait(PATIENCE)
            else:
                assert select.select([ended], [], [], PATIENCE)[0], "it does not end"
            ending.took = time.monotonic() - start
            # It can be read until somebody waits for the process.
            ending.own = ending.took - (self._starved() - before)
            ending.code = self._process.wait(PATIENCE)
        finally:
            if ended is not None:
                os.close(ended)

    def end(self) -> "Ending":
        """Send SIGTERM, wait for the end, and return how it was."""
        with self.ending() as ending:
            pass
        return ending

    def _starved(self) -> float:
        """Return for how many seconds of its life it was ready to run and had no processor; 0 where nobody can tell."""
        if not _TELLS_STARVATION:
            return 0.0
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[1]) / 1e9

    def output(self) -> str:
        """Wait for the end, and return everything it has printed and logged."""
        self.ended()
        return self.said

    def memory(self) -> int:
        """Return the bytes that the process holds in memory now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Return the most bytes that the process has ever held."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith(name + ":")]
        return int(line.split()[1]) * 1024

    def connect(self, sent: bytes = b"", *, buffer: int | None = None) -> socket.socket:
        """Connect and send; `buffer` bounds what our kernel keeps for us."""
        client = socket.socket()
        client.settimeout(PATIENCE)
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        client.connect(self.address)
        client.sendall(sent)
        return client

    def ask(self, path: str) -> bytes:
        """Return the answer to one request, on a connection of its own."""
        with self.connect(get(path, "Connection: close")) as client:
            return read_all(client)

    def await_waiting(self, count: int) -> None:
        """Ask until `count` handlers wait."""
        deadline = time.monotonic() + PATIENCE
        while not self.ask("/ping").endswith(b"\r\n%d waiting" % count):
            assert time.monotonic() < deadline

    def offer(self, client: socket.socket, data: memoryview) -> int:
        """Send what the server takes of `data` while it is busy otherwise; return how much that was.

        The server has got its turn many times, answering others, when this gives up.
        """
        client.setblocking(False)
        sent = turns = 0
        while turns < 20 and sent < len(data):
            if select.select([], [client], [], 0)[1]:
                sent += client.send(data[sent : sent + 1_000_000])
                turns = 0
            else:
                assert self.ask("/ping")
                turns += 1
        client.settimeout(PATIENCE)
        return sent


def best_of(attempt: Callable[[], float], bound: float) -> None:
    """Fail unless one of a few attempts takes fewer seconds than the bound."""
    took = [attempt()]
    while min(took) >= bound and len(took) < ATTEMPTS:
        took.append(attempt())
    assert min(took) < bound, took


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    """Return the bytes of a request."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", "")).encode()


def read_all(client: socket.socket) -> bytes:
    """Read to the end of the connection, if need be a broken one."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def read_until(client: socket.socket, mark: bytes) -> bytes:
    """Read until `mark` has come."""
    received = b""
    while mark not in received:
        data = client.recv(65536)
        assert data, f"the connection ended behind {received!r}"
        received += data
    return received


def can_measure_memory() -> bool:
    """Tell whether the system says how much memory a process holds."""
    return os.path.exists("/proc/self/status")  # noqa: PTH110 - a question, not a path to work with
