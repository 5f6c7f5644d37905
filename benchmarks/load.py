"""The client: raw blocking sockets; a batch of requests out, a batch of answers in."""

import re
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
#: What browsers offer.
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def connect(port: int) -> socket.socket:
    """Connect to a server on this machine."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections to a server."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(count)]


def read_answer(sock: socket.socket) -> bytes:
    """Read one answer with a length, or a chunked one, and check that it is a success."""
    data = bytearray()
    head = length = None
    while True:
        more = sock.recv(65536)
        if not more:
            raise EOFError(f"connection ended behind {bytes(data[:100])!r}")
        data += more
        if head is None:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                continue
            head = bytes(data[:end])
            if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                raise ValueError(f"expected a 200, got {head!r}")
            length = _LENGTH.search(head)
        body = len(data) - len(head) - 4
        if (length and body >= int(length[1])) or (not length and data.endswith(b"0\r\n\r\n")):
            return bytes(data)


def keep_alive(sockets: Sequence[socket.socket], request: Callable[[int], bytes], rounds: int) -> int:
    """Send one request on each socket, read the answers, and again; return the number of requests."""
    n = 0
    for sock in sockets:
        sock.sendall(request(n))
    size = [len(read_answer(sock)) for sock in sockets]
    pairs = list(zip(sockets, size, strict=True))
    for _ in range(rounds):
        for sock in sockets:
            n += 1
            sock.sendall(request(n))
        for sock, expected in pairs:
            got = 0
            while got < expected:
                more = len(sock.recv(65536))
                if not more:
                    raise EOFError("the server closed a connection that it should keep")
                got += more
    return n + len(sockets)


def open_websocket(sock: socket.socket, *, deflated: bool = False) -> None:
    """Shake hands, as the RFC's own example does; if `deflated`, insist on compression."""
    sock.sendall(HANDSHAKE % (DEFLATE if deflated else b""))
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += sock.recv(1)
    if not data.startswith(b"HTTP/1.1 101") or b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in data:
        raise ValueError(f"expected a 101, got {data!r}")
    if deflated and b"permessage-deflate" not in data:
        raise ValueError(f"expected permessage-deflate, got {data!r}")


def read_echo(sock: socket.socket, payload: bytes) -> int:
    """Read one binary message, check that it is the one that was sent, and return the size of its frame."""
    size = len(payload)
    expected = bytes([0x82, size] if size < 126 else [0x82, 126, size >> 8, size & 255]) + payload
    data = b""
    while len(data) < len(expected):
        data += sock.recv(len(expected) - len(data))
    if data != expected:
        raise ValueError(f"expected the message back, got {data[:20]!r}...")
    return size + (2 if size < 126 else 4)


def echo(sockets: Sequence[socket.socket], message: bytes, size: int, rounds: int) -> int:
    """Send one message on each WebSocket, read it back, and again; return the number of messages."""
    for _ in range(rounds):
        for sock in sockets:
            sock.sendall(message)
        for sock in sockets:
            got = 0
            while got < size:
                more = len(sock.recv(size - got))
                if not more:
                    raise EOFError("the server closed a WebSocket")
                got += more
    return rounds * len(sockets)


def _frame_size(data: bytes) -> int:
    """Return the size of the unmasked frame below 64 KB that begins with `data`; 4 if too little of it is there."""
    if len(data) < 4 or data[1] == 126:
        return 4 + int.from_bytes(data[2:4], "big")
    return 2 + data[1]


def read_deflated(sock: socket.socket) -> bytes:
    """Read one compressed binary message below 64 KB; return what it holds."""
    data = b""
    while len(data) < _frame_size(data):
        more = sock.recv(65536)
        if not more:
            raise EOFError("the server closed a WebSocket")
        data += more
    if data[0] != 0xC2:
        raise ValueError(f"expected a compressed message, got {data[:20]!r}...")
    return data[4 if data[1] == 126 else 2 :]


def deflated_echo(sockets: Sequence[socket.socket], message: bytes, payload: bytes, rounds: int) -> int:
    """Do what `echo` does with compressed messages, whose size varies; check what comes at first."""
    for sock in sockets:
        sock.sendall(message)
        if zlib.decompressobj(-15).decompress(read_deflated(sock) + b"\0\0\xff\xff") != payload:
            raise ValueError("expected the message back, compressed")
    for _ in range(rounds):
        for sock in sockets:
            sock.sendall(message)
        for sock in sockets:
            read_deflated(sock)
    return (rounds + 1) * len(sockets)


def churn(port: int, request: Callable[[int], bytes], count: int, batch: int = 16) -> int:
    """Open `batch` connections, send a request on each, read to the end, and again; return the number of requests."""
    done = 0
    while done < count:
        sockets = [connect(port) for _ in range(batch)]
        for sock in sockets:
            sock.sendall(request(done))
        for sock in sockets:
            while sock.recv(65536):
                pass
            sock.close()
        done += batch
    return done
