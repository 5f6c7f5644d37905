"""Real servers for tests, each in a process and a temporary folder of its own: Redis, memcached, PostgreSQL.

They are taken from the PATH (PostgreSQL also from where Debian puts it), and speak on Unix sockets, so that no port has to
be found.  Where a program is not installed, the test that asks for it is skipped with its name.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Seconds before a server that does not start fails the test.
PATIENCE = 20
#: PostgreSQL refuses to run as root; these may run it instead, the first that exists.
UNPRIVILEGED = ("postgres", "nobody")


@contextmanager
def redis_server() -> Iterator[Path]:
    """Run an empty Redis that keeps nothing; yield the path of its Unix socket."""
    with folder() as home:
        path = home / "redis.sock"
        options = ["--port", "0", "--unixsocket", path, "--dir", home, "--save", "", "--appendonly", "no"]

        def answers() -> bool:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"PING\r\n")
                return client.recv(7) == b"+PONG\r\n"

        with running([program("redis-server"), *options], home, answers):
            yield path


@contextmanager
def memcached_server(port: int | None = None) -> Iterator[tuple[str, int]]:
    """Run an empty memcached; yield its host and port: not every client speaks to Unix sockets."""
    with folder() as home:
        host = "127.0.0.1"
        if port is None:
            with socket.socket() as reserved:
                reserved.bind((host, 0))
                port = reserved.getsockname()[1]
        options = ["-l", host, "-p", str(port), "-U", "0"]
        user = ["-u", UNPRIVILEGED[-1]] if os.geteuid() == 0 else []

        def answers() -> bool:
            with socket.create_connection((host, port)) as client:
                client.sendall(b"version\r\n")
                return client.recv(8) == b"VERSION "

        with running([program("memcached"), *options, *user], home, answers):
            yield host, port


@contextmanager
def postgres_server() -> Iterator[Path]:
    """Run an empty PostgreSQL; yield the folder of its socket, which asks nobody for a password (user ``postgres``)."""
    initdb, postgres = (program(name, "/usr/lib/postgresql/*/bin") for name in ("initdb", "postgres"))
    with folder() as home:
        data = home / "data"
        user = unprivileged()
        if user is not None:
            os.chown(home, user.pw_uid, user.pw_gid)
        made = subprocess.run(
            [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            check=False, capture_output=True, text=True, cwd=home, timeout=PATIENCE, **run_as(user),
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        options = ["-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=20"]

        def answers() -> bool:
            # It listens before it is ready, and says so: an error that begins with E, or a demand (R) for a password.
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(home / ".s.PGSQL.5432"))
                hello = b"\0\3\0\0user\0postgres\0\0"
                client.sendall((len(hello) + 4).to_bytes(4, "big") + hello)
                return client.recv(1) == b"R"

        with running([postgres, *options], home, answers, user, signal.SIGQUIT):
            yield home


def program(name: str, elsewhere: str = "") -> str:
    """Return where a program is, or skip the test."""
    found = shutil.which(name)
    if found is None and elsewhere:
        places = sorted(Path("/").glob(f"{elsewhere.lstrip('/')}/{name}"))
        found = str(places[-1]) if places else None
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder with a path short enough for a Unix socket in it (pytest's own are not)."""
    with tempfile.TemporaryDirectory(prefix="structweb-", ignore_cleanup_errors=True) as home:
        yield Path(home)


def unprivileged() -> pwd.struct_passwd | None:
    """Return who runs what root must not run; None where nobody is root."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return next(known[name] for name in UNPRIVILEGED if name in known)


def run_as(user: pwd.struct_passwd | None) -> dict[str, object]:
    """Return the arguments of `subprocess` that change to a user."""
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def running(
    command: list[object],
    home: Path,
    answers: Callable[[], bool],
    user: pwd.struct_passwd | None = None,
    ends: signal.Signals = signal.SIGKILL,
) -> Iterator[None]:
    """Run a server, wait until it answers, and end it: at once, for what it keeps is thrown away.

    Killed, PostgreSQL would leave shared memory behind: `ends` is its signal for the same.
    """
    log = home / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=home,
            **run_as(user),
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answering(answers):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)  # a process of others has no event to wait for
        yield
    finally:
        process.send_signal(ends)
        process.wait(PATIENCE)


def answering(answers: Callable[[], bool]) -> bool:
    """Tell whether a server answers yet."""
    try:
        return answers()
    except OSError:
        return False
