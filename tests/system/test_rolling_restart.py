"""A rolling restart, as an orchestrator does it: two processes on one socket, and clients that never stop asking."""

import socket
import subprocess
import sys
import threading

import pytest

from tests.system.process import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a socket is handed to a child by its number")

PROGRAM = """
import socket, sys
import anyio
from structweb import web

taken = 0

async def hello(request):
    global taken
    taken += 1
    await anyio.sleep(0.005)
    return web.Response(text="hello")

async def count(app):
    print(taken, flush=True)

app = web.Application()
app.on_cleanup.append(count)
app.add_routes([web.get("/", hello), web.get("/ready", web.readiness)])
sock = socket.socket(fileno=int(sys.argv[1]))
web.run_app(app, sock=sock, drain_delay=0.3, access_log=None, backend=sys.argv[2], print=lambda said: print(said, flush=True))
"""


class Load:
    """Clients that ask one after the other on connections that they keep; as a load balancer's, they open another when told to."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.answers = 0
        self.lost: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        client = None
        while not self.stop.is_set():
            fresh = client is None
            if client is None:
                client = socket.create_connection(self.address, PATIENCE)
            answer = b""
            try:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                while not answer.endswith(b"hello") and (data := client.recv(65536)):
                    answer += data
            except OSError as exc:
                failure = repr(exc)
            else:
                failure = "" if answer.endswith(b"hello") else "the connection ended"
            if failure and (answer or fresh):
                self.lost.append(f"{failure} behind {answer!r}")
            # Else a kept connection has ended without a word: it may at any time, and whoever keeps one asks again on
            # another (RFC 9112, 9.3.1).
            self.answers += not failure
            # Every few requests a new connection, which is how load balancers move on to the new process.
            if failure or b"Connection: close" in answer or self.answers % 5 == 0:
                client.close()
                client = None
        if client is not None:
            client.close()


def started(listener: socket.socket, backend: str) -> subprocess.Popen:
    """Start a process on the socket, and wait until it serves."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(listener.fileno()), backend],
        pass_fds=[listener.fileno()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "Running" in process.stdout.readline()
    return process


def ended(process: subprocess.Popen) -> int:
    """Send SIGTERM, wait for the end, and return how many requests it had taken."""
    process.terminate()
    with process.stdout:
        said = process.stdout.read()
    assert process.wait(PATIENCE) == 0
    return int(said.split()[-1])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_rolling_restart_under_load_loses_no_request(backend):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loads = [Load(listener.getsockname()) for _ in range(4)]
        old = started(listener, backend)
        threads = [threading.Thread(target=load.run) for load in loads]
        for thread in threads:
            thread.start()
        new = started(listener, backend)
        try:
            taken = ended(old)
            before = [load.answers for load in loads]
            while any(load.answers < count + 5 for load, count in zip(loads, before, strict=True)):
                assert not [load.lost for load in loads if load.lost]  # the new one serves alone
                threads[0].join(0.01)
        finally:
            for load in loads:
                load.stop.set()
            for thread in threads:
                thread.join(PATIENCE)
            taken_by_new = ended(new)
    assert [load.lost for load in loads] == [[]] * len(loads)
    assert taken + taken_by_new == sum(load.answers for load in loads)  # each that was taken was answered
    assert all(load.answers > 10 for load in loads)
