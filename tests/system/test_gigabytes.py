"""A gigabyte up and down: the memory of the server stays flat within 8 MB.  Runs with ``-m gigabytes`` only."""

import socket

import pytest

from tests.system.process import BACKENDS, Server, can_measure_memory, get, read_until

pytestmark = [
    pytest.mark.gigabytes,
    pytest.mark.skipif(not can_measure_memory(), reason="this system does not tell the memory of a process"),
]

MB = 1024 * 1024
GB = 1024 * MB
FLAT = 8 * MB
HEAD = b'--limit\r\nContent-Disposition: form-data; name="it"; filename="it"\r\n\r\n'
TAIL = b"\r\n--limit--\r\n"
FORM = "Content-Type: multipart/form-data; boundary=limit"
#: What the kernel keeps for a client that reads slowly.
LITTLE = 16384


@pytest.fixture(params=BACKENDS)
def server(request, tmp_path):
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    for name, size in (("large", GB), ("warm", MB)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)  # nothing on the disk
    with Server(request.param, tmp_path) as server:
        # What is loaded and cached at the first request does not count.
        server.ask("/files/warm")
        server.ask("/pieces/16")
        send_form(server, MB)
        yield server
        code = server.end().code
        assert code == 0


def send_form(server: Server, size: int) -> None:
    fields = (FORM, f"Content-Length: {len(HEAD) + size + len(TAIL)}")
    piece = bytes(MB)
    with server.connect(get("/parts", *fields, method="POST") + HEAD) as client:
        for _ in range(size // MB):
            client.sendall(piece)
        client.sendall(TAIL)
        assert read_until(client, b"\r\n\r\n%d" % size).startswith(b"HTTP/1.1 200 ")


def take(server: Server, client: socket.socket, size: int, *, slow: bool) -> None:
    """Read `size` bytes and more; a slow client takes a hundred breaks, in which the server does other things."""
    buffer = bytearray(256 * 1024)
    received, pause = 0, size // 100
    while received < size:
        count = client.recv_into(buffer)
        assert count, f"the connection ended behind {received} bytes"
        received += count
        if slow and received > pause:
            pause += size // 100
            for _ in range(5):
                server.ask("/ping")


def grown(server: Server, before: int, what: str) -> int:
    growth = server.peak() - before
    print(f"{what}: {growth / MB:.1f} MB more than before")  # noqa: T201 - the figure is what is asked for
    return growth


@pytest.mark.parametrize("pace", ["fast", "slow"])
@pytest.mark.parametrize("path", ["/files/large", f"/pieces/{GB // 65536}"], ids=["file", "stream"])
def test_a_gigabyte_down(server, path, pace):
    before = server.peak()
    slow = pace == "slow"
    with server.connect(get(path), buffer=LITTLE if slow else None) as client:
        take(server, client, GB, slow=slow)
    assert grown(server, before, f"{path} {pace}") < FLAT


def test_a_gigabyte_up(server):
    before = server.peak()
    send_form(server, GB)
    assert grown(server, before, "form") < FLAT


def test_a_gigabyte_up_from_a_slow_client(server):
    """It sends a little at a time, so that pieces of every size arrive."""
    before = server.peak()
    fields = (FORM, f"Content-Length: {len(HEAD) + GB + len(TAIL)}")
    view = memoryview(bytes(MB))
    with server.connect(get("/parts", *fields, method="POST") + HEAD, buffer=LITTLE) as client:
        for number in range(GB // MB):
            for start in range(0, MB, 65537):
                client.sendall(view[start : start + 65537])
            if not number % 10:
                server.ask("/ping")
        client.sendall(TAIL)
        assert read_until(client, b"\r\n\r\n%d" % GB).startswith(b"HTTP/1.1 200 ")
    assert grown(server, before, "form, slow") < FLAT
