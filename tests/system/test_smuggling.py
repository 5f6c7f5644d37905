"""One request hidden inside another, and whatever else must be refused: through a whole server.

Whatever is wrong, there is one answer, a refusal, then the connection ends, and what stands behind never reaches a
handler.  What exactly is accepted is shown in tests/wire.
"""

import pytest

from structweb import web
from tests.system.answers import take_apart
from tests.system.house import open_house
from tests.wire.test_smuggling import ATTACKS

pytestmark = pytest.mark.anyio

DECOY = b"GET /decoy HTTP/1.1\r\nHost: a\r\n\r\n"
SOUND = b"GET /sound HTTP/1.1\r\nHost: a\r\n\r\n"


def head(*lines: bytes, line: bytes = b"POST /first HTTP/1.1", host: bytes | None = b"a") -> bytes:
    fields = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([line, *fields, *lines, b"", b""])


def body(coded: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked") + coded


#: Row by row: what is refused with 400.
BAD = {
    "W-167": [
        head(line=b"GET"), head(line=b"GET /"), head(line=b"GET  / HTTP/1.1"), head(line=b"get / HTTP/1.1"),
        head(line=b"G\x00T / HTTP/1.1"), head(line=b"GET /\x01 HTTP/1.1"), head(line=b"GET /\xff HTTP/1.1"),
        head(line=b"GET / HTTP/1.1 "), head(line=b"GET / XTTP/1.1"), head(line=b"GET / HTTP/1"), head(b"X"),
        head(b": x"), head(b"X : y"), head(b"X\t: y"), head(b"X y: z"), head(b"X(: y"), head(b"X: a\r\n b"),
        head(b"X: a\r\n\tb"), head(b"X: \x00"), head(b"X: \x1f"), head(b"X: \x7f"), head(b"X: a\rb"), head(host=None),
    ],
    "W-168": [
        head(b"Content-Length: 1", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n",
        head(b"Content-Length: 1", b"Content-Length: 1") + b"x", head(b"Content-Length: 1, 1") + b"x",
        head(b"Content-Length: +1") + b"x", head(b"Content-Length: -1"), head(b"Content-Length: 1 1"),
        head(b"Content-Length:"), head(b"Content-Length: " + b"9" * 30), head(b"Transfer-Encoding: gzip"),
        head(b"Transfer-Encoding: chunked, gzip"), head(b"Transfer-Encoding: chunked, chunked"),
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), head(b"Transfer-Encoding: identity"),
        head(b"Transfer-Encoding: chunked", line=b"POST /first HTTP/1.0"),
        body(b"g\r\n"), body(b"-1\r\n"), body(b"+1\r\nx\r\n0\r\n\r\n"), body(b"0x1\r\nx\r\n0\r\n\r\n"), body(b"\r\n"),
        body(b"1 \r\nx\r\n0\r\n\r\n"), body(b"1\r\nxy\r\n0\r\n\r\n"), body(b"1\r\nx\n0\r\n\r\n"),
        body(b"1\nx\r\n0\r\n\r\n"), body(b"1;a\nb\r\nx\r\n0\r\n\r\n"), body(b"1;\x00\r\nx\r\n0\r\n\r\n"),
        body(b"f" * 17 + b"\r\n"), body(b"0\r\nX: \x01\r\n\r\n"), body(b"0\r\nX\r\n\r\n"), body(b"0\r\nX: a\r\n b\r\n\r\n"),
        body(b"0\r\nContent-Length: 9\r\n\r\n"), body(b"0\r\nX: y\n\r\n"), body(b"0\r\nHost: b\r\n\r\n"),
    ],
    "W-169": [
        head(name + b": x", name.lower() + b": x")
        for name in (
            b"Content-Location", b"Content-Range", b"Content-Type", b"ETag", b"Max-Forwards", b"Server", b"User-Agent",
        )
    ] + [head(b"Host: a")],
    "W-174": [
        head(line=b"GET * HTTP/1.1"), head(line=b"GET x HTTP/1.1"), head(line=b"GET h:80 HTTP/1.1"),
        head(line=b"GET http:/x HTTP/1.1"), head(line=b"GET http:///x HTTP/1.1"), head(line=b"CONNECT / HTTP/1.1"),
        head(line=b"GET ?x HTTP/1.1"),
    ],
    "W-176": [
        head(line=b"GET / HTTP/0.9"), head(line=b"GET / HTTP/1.2"), head(line=b"GET / HTTP/2.0"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\nHost: a\n\n", head(b"X: a\nY: b"), b"GET /\r\n\r\n",
        head(b"X: \x01"), head(b"X: \x08"), b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    "W-177": [head(b"Transfer-Encoding: gzip, chunked")],
    "Host": [
        head(host=each)
        for each in (b"a b", b"a,b", b"a/b", b"a@b", b"a:x", b"[::1", b"[zz]", b"\xc3\xa9", b"a:65536", b"a:80:80")
    ],
}  # fmt: skip
#: W-166, W-178: what is longer or more than allowed, whole or without end.
LONG = {
    "a request line": (414, head(line=b"GET /" + b"x" * 9000 + b" HTTP/1.1")),
    "a request line without end": (414, b"GET /" + b"x" * 100_000),
    "a method without end": (414, b"x" * 100_000),
    "a field": (431, head(b"X: " + b"x" * 9000)),
    "a name": (431, head(b"x" * 9000 + b": y")),
    "a field without end": (431, head()[:-2] + b"X: " + b"x" * 100_000),
    "200 fields": (431, head(*[b"X: y"] * 200)),
    "fields without end": (431, head()[:-2] + b"X: y\r\n" * 20_000),
    "a trailer": (431, body(b"0\r\nX: " + b"x" * 9000 + b"\r\n\r\n")),
    "200 trailers": (431, body(b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n")),
    "a chunk extension": (400, body(b"1;" + b"x" * 100_000)),
    "a chunk size": (400, body(b"0" * 100_000)),
}


class Seen:
    """An application that notes which targets came to it, with their bodies."""

    def __init__(self, *, reads: bool) -> None:
        self.targets: list[str] = []
        self.reads = reads
        self.app = web.Application()
        self.app.router.add_route("*", "/{tail:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        self.targets.append(request.path)
        return web.Response(body=await request.read() if self.reads else b"unread")


async def refused(data, *, express, status=400, reads=True, leave=False):
    """Send `data` with a decoy behind it; return the targets that handlers saw."""
    seen = Seen(reads=reads)
    async with open_house(seen.app, express=express, half_close="serve", lingering_time=1) as house:
        answers = take_apart(await house.talk(data + DECOY, leave=leave))
    assert "/decoy" not in seen.targets
    if not reads and answers[-1].status == 200:
        # The head was sound, so the handler has answered before the body was looked at.
        assert [answer.status for answer in answers] == [200] * len(seen.targets)
        return seen.targets
    assert [answer.status for answer in answers[:-1]] == [200] * (len(answers) - 1)
    assert answers[-1].status == status
    assert answers[-1].closes
    assert answers[-1].complete
    return seen.targets


def cases(rows):
    return [
        pytest.param(data, id=f"{row}-{index}") for row, all_of in rows.items() for index, data in enumerate(all_of)
    ]


@pytest.mark.parametrize("data", cases(BAD))
async def test_what_is_malformed_is_answered_once(data, express):
    await refused(data, express=express)


@pytest.mark.parametrize("data", cases(BAD))
async def test_also_behind_a_sound_request(data, express):
    """A connection that has served a request is no less strict, and has answered that one."""
    assert (await refused(SOUND + data, express=express))[0] == "/sound"


@pytest.mark.parametrize("data", cases({"W-168": BAD["W-168"]}))
async def test_also_when_nobody_reads_the_body(data, express):
    """What the server drops for the handler is framed no less strictly."""
    await refused(data, express=express, reads=False)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_the_decoy_stays_inside(attack, express):
    for reads in (True, False):
        await refused(b"POST /first HTTP/1.1\r\nHost: a\r\n" + attack, express=express, reads=reads)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_byte_by_byte(attack, express):
    seen = Seen(reads=True)
    data = b"POST /first HTTP/1.1\r\nHost: a\r\n" + attack + DECOY
    async with open_house(seen.app, express=express, lingering_time=1) as house:
        answers = take_apart(await house.talk(*(bytes((byte,)) for byte in data), leave=False))
    assert "/decoy" not in seen.targets
    assert [answer.status for answer in answers] == [400]


@pytest.mark.parametrize(("status", "data"), LONG.values(), ids=LONG.keys())
async def test_what_is_too_long(status, data, express):
    assert await refused(data, express=express, status=status) in ([], ["/first"])
    assert (await refused(SOUND + data, express=express, status=status))[0] == "/sound"


async def test_limits_can_be_set(express):
    options = {"express": express, "max_line_size": 50, "max_field_size": 40, "max_headers": 3}
    for data, status in [
        (head(line=b"GET /" + b"x" * 36 + b" HTTP/1.1"), 200),
        (head(line=b"GET /" + b"x" * 37 + b" HTTP/1.1"), 414),
        (head(b"X: " + b"x" * 37), 200),
        (head(b"X: " + b"x" * 38), 431),
        (head(b"X: y", b"X: y"), 200),
        (head(b"X: y", b"X: y", b"X: y"), 431),
    ]:
        seen = Seen(reads=True)
        async with open_house(seen.app, half_close="serve", **options) as house:
            (answer,) = take_apart(await house.talk(data))
        assert answer.status == status, data


async def test_tls_on_a_plain_port(express):
    """W-171."""
    async with open_house(express=express) as house:
        (answer,) = take_apart(await house.talk(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", leave=False))
    assert (answer.status, answer.body) == (400, b"Received HTTPS traffic on an HTTP port")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" + SOUND + b"\r\n\r\n" + SOUND,  # W-170, W-177: empty lines before a request
        head(b"Connection: close", line=b"GET /sound HTTP/1.1") + DECOY,  # W-170: data behind the last request
        head(line=b"GET /sound HTTP/1.0") + DECOY,
    ],
)
async def test_what_is_ignored(data, express):
    seen = Seen(reads=True)
    async with open_house(seen.app, express=express, half_close="serve") as house:
        answers = take_apart(await house.talk(data))
    assert {answer.status for answer in answers} == {200}
    assert set(seen.targets) == {"/sound"}
    assert len(answers) == len(seen.targets)


# -- the other way: what handlers say ------------------------------------------------------------------------------

SPLITS = ["a\r\nSet-Cookie: x=y", "a\nb", "a\rb", "a\0b", "a\x01b", "a\x7fb", "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]


def in_a_value(evil: str) -> web.Response:
    return web.Response(headers={"X": evil})


def in_a_name(evil: str) -> web.Response:
    return web.Response(headers={evil: "x"})


def in_the_reason(evil: str) -> web.Response:
    response = web.Response()
    response.set_status(200, evil)
    return response


def in_the_content_type(evil: str) -> web.Response:
    return web.Response(headers={"Content-Type": evil})


def in_the_location(evil: str) -> web.Response:
    raise web.HTTPFound("/x", headers={"X-Back": evil})


def in_a_cookie(evil: str) -> web.Response:
    response = web.Response()
    response.set_cookie("c", "v", path=evil)
    return response


@pytest.mark.parametrize("evil", SPLITS)
@pytest.mark.parametrize(
    "make", [in_a_value, in_a_name, in_the_reason, in_the_content_type, in_the_location, in_a_cookie]
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_responses_cannot_be_split(make, evil, streamed, express):
    """W-180.  Such a response is a 500, and not a byte of what was inserted is sent."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = make(evil)
        if not streamed:
            return response
        stream = web.StreamResponse(status=response.status, reason=response.reason, headers=response.headers)
        stream.cookies.update(response.cookies)
        await stream.prepare(request)
        return stream

    app = web.Application()
    app.router.add_get("/", handle)
    async with open_house(app, faulty=True, express=express, half_close="serve") as house:
        (answer,) = take_apart(await house.talk(head(line=b"GET / HTTP/1.1")))
        assert len(house.log.complaints) == 1
    assert answer.status == 500
    assert not {"set-cookie", "x"} & answer.fields.keys()
    assert evil.encode() not in answer.body
