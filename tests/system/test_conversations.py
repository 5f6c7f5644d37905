"""Many requests on one connection: in order, whatever their answers look like, with 100 Continue and upgrades."""

import itertools

import anyio
import pytest

from structweb import web
from tests.system.answers import CONTINUE, take_apart
from tests.system.house import open_house

pytestmark = pytest.mark.anyio


def ask(path: str, *fields: str, method: str = "GET", body: bytes | None = None, version: str = "1.1") -> bytes:
    length = () if body is None else (f"Content-Length: {len(body)}",)
    return "\r\n".join((f"{method} {path} HTTP/{version}", "Host: a", *fields, *length, "", "")).encode() + (
        body or b""
    )


#: A request of each kind, with the status and the body of its answer.
KINDS = [
    (ask("/plain/x"), 200, b"plain x"),
    (ask("/echo", method="POST", body=b"four"), 200, b"four"),
    (ask("/echo", "Transfer-Encoding: chunked", method="PUT") + b"2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n", 200, b"abc"),
    (ask("/ignore", method="POST", body=b"GET /evil HTTP/1.1\r\n\r\n"), 200, b"ignored the body of /ignore"),
    (ask("/ignore?1", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n0\r\n\r\n", 200, b"ignored the body of /ignore?1"),
    (ask("/taste", method="POST", body=b"abcdef"), 200, b"abc"),
    (ask("/wait?2"), 200, b"waited /wait?2"),
    (ask("/stream"), 200, b"onetwosix"),
    (ask("/stream?length=9"), 200, b"onetwosix"),
    (ask("/stream?status=204"), 204, b""),
    (ask("/stream?status=304"), 304, b""),
    (ask("/stream?status=304&length=9"), 304, b""),
    (ask("/stream", method="HEAD"), 200, b""),
    (ask("/stream?length=9", method="HEAD"), 200, b""),
    (ask("/plain/y", method="HEAD"), 200, b""),
    (ask("/wait", method="HEAD"), 200, b""),
    (ask("/refuse"), 403, b"no"),
    (ask("/refuse", method="HEAD"), 403, b""),
    (ask("/copy", method="POST", body=b"there and back"), 200, b"there and back"),
    (ask("/post-only"), 405, b"405: Method Not Allowed"),
    (ask("/post-only", method="HEAD"), 405, b""),
    (ask("/wait?3", "Connection: keep-alive", version="1.0"), 200, b"waited /wait?3"),
]  # fmt: skip


async def test_a_thousand_pipelined_requests(express):
    """W-165: each kind behind each other kind, sent without waiting for an answer, answered in order."""
    pairs = itertools.chain.from_iterable(itertools.product(range(len(KINDS)), repeat=2))
    kinds = [KINDS[index] for index in pairs]
    kinds += [KINDS[index % len(KINDS)] for index in range(1000 - len(kinds))]
    last = ask("/plain/end", "Connection: close")
    async with open_house(express=express) as house:
        start = anyio.current_time()
        answers = take_apart(await house.talk(b"".join(sent for sent, _, _ in kinds) + last, leave=False))
        assert anyio.current_time() == start
    assert len(kinds) >= 968
    assert [(answer.status, answer.body) for answer in answers] == [(status, body) for _, status, body in kinds] + [
        (200, b"plain end")
    ]
    assert all(answer.complete for answer in answers)


async def test_bodiless_answers_say_how_long_a_body_would_be(express):
    """HEAD gets the fields of GET, streamed or not; 204 and 304 have no body and no framing to mistake for one."""
    sent = [ask(path, method="HEAD") for path in ("/plain/xy", "/stream?length=9", "/stream")]
    sent += [ask(f"/stream?status={status}") for status in (204, 304)]
    async with open_house(express=express, half_close="serve") as house:
        answers = take_apart(await house.talk(b"".join(sent)))
    assert [answer.fields.get("content-length") for answer in answers] == ["8", "9", None, None, None]
    assert [answer.fields.get("transfer-encoding") for answer in answers] == [None] * 5


async def test_versions(express):
    """W-161: HTTP/1.0 is answered in HTTP/1.0, kept alive if it asks for that; a stream ends with the connection."""
    sent = [
        ask("/plain/x", "Connection: keep-alive", version="1.0"),
        ask("/plain/x"),
        ask("/stream", "Connection: keep-alive", version="1.0"),
        ask("/plain/x"),
    ]
    async with open_house(express=express) as house:
        answers = take_apart(await house.talk(*sent, leave=False))
    assert [(answer.version, answer.closes) for answer in answers] == [("1.0", False), ("1.1", False), ("1.0", True)]
    assert answers[-1].body == b"onetwosix"


# -- 100 Continue, W-172 -------------------------------------------------------------------------------------------

EXPECT = "Expect: 100-continue"


@pytest.mark.parametrize("path", ["/echo", "/copy", "/taste", "/ignore", "/"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_one_continue_for_each_request_that_waits(path, framing, express):
    """On one connection, again and again; also for a body that the handler does not read."""
    async with open_house(express=express) as house:
        client = house.connect()
        for _ in range(3):
            if framing == "length":
                await client.send(ask(path, EXPECT, "Content-Length: 6", method="POST"))
                coded = b"abcdef"
            else:
                await client.send(ask(path, EXPECT, "Transfer-Encoding: chunked", method="POST"))
                coded = b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
            assert await client.receive_exactly(len(CONTINUE)) == CONTINUE
            await client.send(coded)
            await client.send(ask("/plain/next"))
            answers = take_apart(await client.receive_until(b"plain next"))
            assert [answer.status for answer in answers] == [200, 200]
        client.close()


async def test_who_does_not_wait_needs_none(express):
    """A body of no bytes, one that is here already, an HTTP/1.0 client."""
    sent = [
        ask("/echo", EXPECT, method="POST", body=b""),
        ask("/echo", EXPECT),
        ask("/echo", EXPECT, method="POST", body=b"1.0", version="1.0"),
    ]
    async with open_house(express=express, half_close="serve") as house:
        answers = await house.talk(*sent)
    assert CONTINUE not in answers
    assert [answer.body for answer in take_apart(answers)] == [b"", b"", b"1.0"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "/post-only", 405), ("POST", "/none", 404), ("POST", "/echo", 417)]
)
async def test_a_final_answer_instead(method, path, status, express):
    """The connection closes: whether the body comes nevertheless cannot be known."""
    expectation = "Expect: something" if status == 417 else EXPECT
    async with open_house(express=express, lingering_time=1) as house:
        client = house.connect()
        await client.send(ask(path, expectation, "Content-Length: 5", method=method))
        (answer,) = take_apart(await client.receive_all())
        client.close()
    assert answer.status == status
    assert answer.closes


async def test_it_comes_before_a_middleware_that_reads(express):
    @web.middleware
    async def reading(request, handler):
        await request.read()
        return await handler(request)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application(middlewares=[reading])
    app.router.add_post("/echo", handler)
    async with open_house(app, express=express) as house:
        client = house.connect()
        await client.send(ask("/echo", EXPECT, "Content-Length: 4", method="POST"))
        assert await client.receive_exactly(len(CONTINUE)) == CONTINUE
        await client.send(b"body")
        assert (await client.receive_until(b"\r\n\r\nbody")).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()


# -- upgrades that nobody wants, W-173 and W-183 -------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "tcp", "websocket, h2c", "foo/2"])
@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade", "upgrade, HTTP2-Settings"])
async def test_a_declined_upgrade_is_an_ordinary_request(protocol, connection, express):
    """With its body, and with the requests behind it."""
    fields = (f"Upgrade: {protocol}", f"Connection: {connection}")
    sent = [
        ask("/plain/a", *fields),
        ask("/echo", *fields, method="POST", body=b"body"),
        ask("/echo", *fields, "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n0\r\n\r\n",
        ask("/plain/b"),
        ask("/plain/c", *fields, method="HEAD"),
        ask("/stream", *fields),
        ask("/plain/d"),
    ]
    async with open_house(express=express, half_close="serve") as house:
        whole = take_apart(await house.talk(b"".join(sent)))
        one_by_one = take_apart(await house.talk(*sent))
    bodies = [b"plain a", b"body", b"a", b"plain b", b"", b"onetwosix", b"plain d"]
    assert [answer.body for answer in whole] == bodies
    assert [answer.body for answer in one_by_one] == bodies
    assert {answer.status for answer in whole} == {200}


async def test_connect_is_a_request_like_any_other(express):
    """W-174: nobody tunnels; what stands behind it is the next request."""
    app = web.Application()

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=405 if request.method == "CONNECT" else 200, text=request.raw_path)

    app.router.add_route("*", "/{tail:.*}", handler)
    sent = b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n" + ask("/next")
    async with open_house(app, express=express, half_close="serve") as house:
        answers = take_apart(await house.talk(sent))
    assert answers[0].status in (404, 405)
    assert all(answer.body == b"/next" for answer in answers[1:])
