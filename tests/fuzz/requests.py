"""A generator of request streams: plain ones, valid ones with state, attacks, and mutations of all of them."""

from collections.abc import Callable
from random import Random

METHODS = (
    [b"GET"] * 8 + [b"POST"] * 4 + [b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PURGE", b"M-SEARCH", b"CONNECT"]
)
BAD_METHODS = [b"get", b"G\x01T", b"GE T", b"", b"G(T", b"PRI", b"\x16\x03\x01"]
TARGETS = [b"/"] * 4 + [
    b"/a/b?x=1&y=%20",
    b"/#f",
    b"//x",
    b"/%zz",
    b"/'\"<>|~",
    b"*",
    b"http://h/p",
    b"https://u@h:80?x",
    b"h:80",
]
# The longest ones exceed the limits of aiohttp, and with them ours.
LONG_TARGETS = [b"/" + b"x" * size for size in (24, 25, 26, 27, 30, 40, 8174, 8175, 8176, 8177, 8178, 9000)]
BAD_TARGETS = [
    b"",
    b"x",
    b"/a b",
    b"/\xc3\xa9",
    b"/\x7f",
    b"?q",
    b"http:///p",
    b"http:h",
    b"//\x00",
    b"http://h:99999/",
    b"h:x",
]
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0"] * 3
BAD_VERSIONS = [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"http/1.1", b"HTTP/1.10", b"HTTP/11", b"", b"HTTP/1.1 "]
HOSTS = [b"a"] * 4 + [
    b"localhost:8080",
    b"www.example.com",
    b"127.0.0.1:80",
    b"[::1]:8080",
    b"",
    b"a_b",
    b"x%41",
    b"a:",
    b"h:65535",
]
BAD_HOSTS = [
    b"a b",
    b"a,b",
    b"a/b",
    b"a@b",
    b"a:x",
    b"[::1",
    b"[zz]",
    b"\xc3\xa9",
    b"a:65536",
    b"%",
    b"a\x00",
    b"a:80:80",
]

PLAIN = [
    b"User-Agent: curl/8.5.0",
    b"Accept: */*",
    b"Accept-Encoding: gzip, deflate, br",
    b"accept-language: en;q=0.9",
    b"Cookie: a=b; c=d",
    b"Cookie: e=f",
    b"Content-Type: text/plain",
    b"X-Empty:",
    b"X-Tab:\ta\tb \t ",
    b"X-Bytes: \xc3\xa9\xff\x80",
    b"X!#$%&'*+-.^_`|~9: 1",
    b"Authorization: Basic eA==",
    b"Connection: keep-alive",
    b"connection: Keep-Alive ",
    b"Connection: close",
    b"Range: bytes=0-",
]
STATEFUL = [
    b"Expect: 100-continue",
    b"Expect: x",
    b"Upgrade: websocket",
    b"Upgrade: h2c, websocket",
    b"Connection: upgrade",
    b"Connection: keep-alive, Upgrade",
    b"Connection: close, keep-alive",
    b"Connection: foo",
    b"Connection:",
    b"TE: trailers",
]
ATTACKS = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked ",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked",
    b"Content-Length: 3",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Content-Length: -1",
    b"Content-Length: 0x3",
    b"Content-Length: 3 3",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999",
    b"Content-Length : 3",
    b"Content-Type: a",
    b"User-Agent: b",
    b"Host: b",
    b"Etag: a\r\nETag: a",
    b"X: a\r\n folded",
    b"X: a\r\n\tfolded",
    b"X: a\nY: b",
    b"X: a\rY: b",
    b"X: \x01",
    b"X: \x00",
    b"X: \x7f",
    b": x",
    b"X",
    b"X y: z",
    b"X\xe9: z",
    b"X(: z",
    b"X: " + b"a" * 70,
    b"X: " + b"a" * 9000,
    b"\r\nX: y",
]
CHUNKS = [
    b"3\r\nabc\r\n",
    b"003\r\nabc\r\n",
    b"A\r\n0123456789\r\n",
    b"1;a=b\r\nx\r\n",
    b'1;a="b;\\"c"\r\nx\r\n',
    b"2;x\r\n\r\n\r\n",
    b"00000003\r\nabc\r\n",
    b"000000003\r\nabc\r\n",
    b"d\r\n0\r\n\r\n3\r\nab\r\n\r\n",
    b"1388\r\n" + b"x" * 5000 + b"\r\n",
]
BAD_CHUNKS = [
    b"3\r\nabc\rX",
    b"00000000\r\n",
    b"3\nabc\r\n",
    b"3\r\nabc\n",
    b"3\r\nabcd\r\n",
    b"3 \r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"-3\r\nabc\r\n",
    b"\r\n",
    b"g\r\n",
    b"3;\r\nabc\r\n",
    b"3;\x01\r\nabc\r\n",
    b"3;a\nb\r\nabc\r\n",
    b"3;" + b"x" * 9000 + b"\r\nabc\r\n",
    b"fffffffffffffffff\r\n",
]
TRAILERS = [b"X: y\r\n", b"ETag: a\r\nX: \xff\r\n", b"Digest:\r\n"]
BAD_TRAILERS = [
    b"X: y\n",
    b" X: y\r\n",
    b"Content-Length: 3\r\n",
    b"Host: b\r\n",
    b"X\r\n",
    b"X: \x01\r\n",
    b"X: y\r\n z\r\n",
]
SPECIAL_BYTES = [bytes((value,)) for value in b"\r\n\0\t :,;\x01\x0b\x7f\x80\xff0aA/*"] + [
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
]


def stream(rng: Random) -> bytes:
    """Return the bytes of a few requests, as one peer might send them."""
    shared = some_fields(rng) if rng.random() < 0.5 else None
    calm = rng.random() < 0.5
    data = b"".join(message(rng, shared, calm=calm) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = rng.choice(MUTATIONS)(rng, data)
    return data


def some_fields(rng: Random) -> list[bytes]:
    """Return field lines that may stand together in one request."""
    return rng.sample(PLAIN, rng.randrange(6))


def message(rng: Random, shared: list[bytes] | None, *, calm: bool) -> bytes:
    """Return one request, mostly valid; `shared` field lines are what its peer repeats, `calm` peers do not attack."""
    wild = 1.0 if calm else rng.random()
    line = b" ".join(
        (
            rng.choice(BAD_METHODS if wild < 0.03 else METHODS),
            rng.choice(BAD_TARGETS if 0.03 < wild < 0.06 else TARGETS),
            rng.choice(BAD_VERSIONS if 0.06 < wild < 0.09 else VERSIONS),
        )
    )
    if rng.random() < 0.03:
        line = b"GET %b HTTP/1.1" % rng.choice(LONG_TARGETS)
    elif calm or rng.random() < 0.4:
        line = rng.choice((b"GET / HTTP/1.1", b"POST /path?q=1 HTTP/1.1"))
    host = rng.choice(BAD_HOSTS if 0.09 < wild < 0.12 else HOSTS)
    fields = [] if 0.12 < wild < 0.16 else [rng.choice((b"Host: ", b"host:", b"HOST:\t")) + host]
    fields += shared if shared is not None else some_fields(rng)
    if rng.random() < 0.1:
        fields += [rng.choice(STATEFUL) for _ in range(rng.randrange(1, 3))]
    if wild < 0.3:
        fields.insert(rng.randrange(len(fields) + 1), rng.choice(ATTACKS))
    if 0.3 < wild < 0.34:
        fields += [b"X: y"] * rng.choice((5, 120, 130))
    body = b""
    kind = rng.random()
    if kind < 0.25:
        body = rng.choice((b"", b"abc", b"a\r\n\r\nb", b"GET / HTTP/1.1\r\n\r\n", b"x" * 300))
        fields.append(b"Content-Length: %d" % len(body))
    elif kind < 0.4:
        body = chunked(rng)
        fields.append(b"Transfer-Encoding: chunked")
    leading = b"\r\n" * rng.choice((1, 2, 9)) if rng.random() < 0.05 else b""
    return leading + b"\r\n".join((line, *fields, b"", body))


def chunked(rng: Random) -> bytes:
    """Return a chunked body, mostly valid."""
    # More than the lane takes at once, now and then.
    count = rng.choice((0, 1, 2, 3, 3, 6, 9, 140))
    bad = rng.choice((0.04, 0.1 / (count + 1)))
    chunks = [rng.choice(BAD_CHUNKS if rng.random() < bad else CHUNKS) for _ in range(count)]
    trailers = b"".join(
        rng.choice(BAD_TRAILERS if rng.random() < 0.2 else TRAILERS) for _ in range(rng.choice((0, 0, 0, 1, 2)))
    )
    return b"".join(chunks) + rng.choice((b"0", b"0", b"000", b"0;a")) + b"\r\n" + trailers + b"\r\n"


def _insert(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(SPECIAL_BYTES) + data[at:]


def _replace(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(SPECIAL_BYTES) + data[at + 1 :]


def _delete(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 1, 2, 8)) :]


def _truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    end = at + rng.randrange(40)
    return data[:end] + data[at:]


def _bare_lf(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    return b"\r\n".join(lines[: at + 1]) + b"\n" + b"\r\n".join(lines[at + 1 :])


def _swap_lines(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"\r\n".join(lines)


def _attack_line(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(ATTACKS + STATEFUL))
    return b"\r\n".join(lines)


def _change_case(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at : at + 8].swapcase() + data[at + 8 :]


MUTATIONS: list[Callable[[Random, bytes], bytes]] = [
    _insert,
    _replace,
    _delete,
    _truncate,
    _repeat,
    _bare_lf,
    _swap_lines,
    _attack_line,
    _change_case,
]
