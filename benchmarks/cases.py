"""The cases: which bytes are sent, and which application answers them."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

BROWSER = (
    b"Host: 127.0.0.1:8080\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n"
    b'sec-ch-ua: "Chromium";v="126", "Not.A/Brand";v="24"\r\nsec-ch-ua-mobile: ?0\r\n'
    b'sec-ch-ua-platform: "Linux"\r\nUpgrade-Insecure-Requests: 1\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
)
BODY = json.dumps({f"key{n:02}": "v" * 26 for n in range(25)}).encode()


def _always(data: bytes) -> Callable[[int], bytes]:
    return lambda n: data


def _varying(n: int) -> bytes:
    return (
        b"GET / HTTP/1.1\r\n%bCookie: session=%032x; theme=dark\r\nX-Request-Id: %032x\r\nX-Forwarded-For: 10.1.%d.%d\r\n\r\n"
        % (BROWSER, n * 7919, n * 104729, n >> 8 & 255, n & 255)
    )


def payload(size: int) -> bytes:
    """Return what a WebSocket message of `size` bytes holds."""
    return bytes(n * 7 & 255 for n in range(size))


def frame(size: int, *, deflated: bool = False) -> bytes:
    """Return a binary message of `size` bytes as a client sends it: masked, and compressed if asked for."""
    key = b"\x12\xa5\x5a\xf0"
    data = payload(size)
    if deflated:
        engine = zlib.compressobj(1, zlib.DEFLATED, -15)
        data = (engine.compress(data) + engine.flush(zlib.Z_SYNC_FLUSH))[:-4]
    masked = bytes(byte ^ key[n & 3] for n, byte in enumerate(data))
    length = bytes([128 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return (b"\xc2" if deflated else b"\x82") + length + key + masked


def _chunked(path: bytes, body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""]])
    return (
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%b"
        % (path, chunks)
    )


_STREAM = b"GET /stream%b HTTP/1.1\r\nHost: localhost\r\n\r\n"
_UPLOAD = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (2**24, bytes(2**24))
_FORM = b'--limit\r\nContent-Disposition: form-data; name="it"; filename="it"\r\n\r\n%b\r\n--limit--\r\n' % bytes(2**24)
_UPLOAD_FORM = (
    b"POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=limit\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_FORM), _FORM)
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    request: Callable[[int], bytes]
    app: str = "plain"
    kind: str = "keep-alive"
    #: What a WebSocket echoes, in bytes.
    size: int = 0
    #: How many times as much as a plain answer it is: a slice has so many fewer requests.
    weight: int = 1
    #: How many connections there are at a time.
    connections: int = 16
    #: Where each server is compared with itself: what it is compared with, and a request for that.
    own: tuple[str, Callable[[int], bytes]] | None = None


CASES = [
    Case("plain text", _always(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    Case("browser headers", _always(b"GET / HTTP/1.1\r\n%b\r\n" % BROWSER)),
    Case("varying headers", _varying),
    Case(
        "JSON, dynamic route of 50", lambda n: b"GET /item/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (100000 + n % 1000)
    ),
    Case(
        "POST 1 KB JSON",
        _always(
            b"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(BODY), BODY)
        ),
    ),
    Case("POST 1 KB JSON, chunked", _always(_chunked(b"/post", BODY, 1024))),
    Case("five middlewares", _always(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), app="onion"),
    Case("suspends once", _always(b"GET /suspend HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    Case("static file, 10 KB", _always(b"GET /files/small.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    Case("static file, 10 KB, browser", _always(b"GET /files/small.bin HTTP/1.1\r\n%b\r\n" % BROWSER)),
    Case("static file, 10 MB", _always(b"GET /files/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n"), weight=50),
    Case("WebSocket echo, 32 bytes", _always(frame(32)), kind="websocket", size=32),
    Case("WebSocket echo, 4 KB", _always(frame(4096)), kind="websocket", size=4096),
    Case("WebSocket echo, 32 bytes, deflated", _always(frame(32, deflated=True)), kind="deflated websocket", size=32),
    Case("WebSocket echo, 4 KB, deflated", _always(frame(4096, deflated=True)), kind="deflated websocket", size=4096),
    Case("stream of 16 MB in chunks of 64 KB", _always(_STREAM % b""), weight=100, connections=1),
    Case("the same, with a length", _always(_STREAM % b"?length"), weight=100, connections=1),
    Case("upload of 16 MB", _always(_UPLOAD), weight=100, connections=4),
    Case(
        "upload of 1 MB in chunks of 100 bytes",
        _always(_chunked(b"/upload", bytes(2**20), 100)),
        weight=100,
        connections=4,
    ),
    Case("upload of 16 MB, multipart", _always(_UPLOAD_FORM), weight=100, connections=4),
    Case(
        "last route of 50",
        _always(b"GET /item/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        kind="against its own",
        own=("first", _always(b"GET /r0/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    ),
    Case("churn", _always(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), kind="churn"),
    Case("memory, idle connection", _always(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), kind="memory"),
]
