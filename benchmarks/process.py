"""CPU time and memory of a server, its threads and its children, as Linux accounts for them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the seconds that a process, its threads and its children have spent on a processor."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for member in _family(pid)
        for task in Path(f"/proc/{member}/task").iterdir()
    )


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children, in bytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) * page for member in _family(pid))


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int, core: int) -> Iterator[int]:
    """Run a server pinned to a core until the block ends; yield its process id once it answers on `port`."""

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    paths = (str(HERE / "apps"), os.environ.get("PYTHONPATH"))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with subprocess.Popen(
        command,
        cwd=HERE / "apps",
        env=environ,
        preexec_fn=pin,  # noqa: PLW1509 - no threads run here
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        try:
            _wait_for(server, port)
            yield server.pid
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def _wait_for(server: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(200):
        if server.poll() is not None:
            assert server.stderr is not None
            sys.exit(f"server ended with {server.returncode}:\n{server.stderr.read().decode()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"no server on port {port} after 20 seconds")
