"""Receiving and sending over a WebSocket, and what may go wrong with one message."""

import json
import logging
import zlib

import anyio
import pytest

import structweb
from structweb import web
from structweb.testing import Sequencer
from tests.web.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    close,
    connect,
    frame,
    meeting,
    text,
)
from tests.web.served import get, serving
from tests.web.talk import app_of

pytestmark = pytest.mark.anyio


class Room:
    """A handler that hands its WebSocket to the test, and stays until the test lets it go."""

    def __init__(self, **options: object) -> None:
        self.options = options
        self.ready = anyio.Event()
        self.done = anyio.Event()
        self.ws: web.WebSocketResponse

    async def __call__(self, request: web.Request) -> web.WebSocketResponse:
        """Wait."""
        self.ws = web.WebSocketResponse(**self.options)
        await self.ws.prepare(request)
        self.ready.set()
        await self.done.wait()
        return self.ws


async def collect(ws: web.WebSocketResponse) -> list[tuple[str, object, str | None]]:
    """Receive up to and with the message that ends it."""
    seen = []
    while True:
        message = await ws.receive()
        seen.append((message.type.name, message.data, message.extra))
        if message.type in (web.WSMsgType.CLOSE, web.WSMsgType.CLOSING, web.WSMsgType.CLOSED, web.WSMsgType.ERROR):
            return seen


def collecting(seen: list[object], **options: object):
    """Return a handler that notes what it receives."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(**options)
        await ws.prepare(request)
        seen.extend(await collect(ws))
        seen.append((ws.close_code, type(ws.exception())))
        return ws

    return handler


def test_an_attribute_of_the_past_names_its_replacement():
    with pytest.raises(AttributeError, match="'WebSocketResponse' object has no attribute 'receive_msg': .*receive()"):
        web.WebSocketResponse().receive_msg()


async def test_each_type_of_message():
    """With its data and, for a close frame, its reason.  Fragments are one message."""
    seen: list[object] = []
    async with meeting(collecting(seen)) as peer:
        await peer.send(text("a"), frame(BINARY, b"b"), frame(TEXT, b"c", fin=False), frame(PING, b"p"))
        assert await peer.next() == (PONG, b"p", 0)
        await peer.send(frame(CONTINUATION, b"d"), frame(PONG, b"x"), frame(CLOSE, b"\x03\xe9bye"))
        assert (await peer.next()).code == 1000
        assert await peer.rest() == b""
    assert seen == [
        ("TEXT", "a", ""),
        ("BINARY", b"b", ""),
        ("TEXT", "cd", ""),
        ("CLOSE", 1001, "bye"),
        (1001, type(None)),
    ]


async def test_pings_and_pongs_for_whoever_wants_them():
    """With autoping off they are messages, and nobody answers."""
    seen: list[object] = []
    async with meeting(collecting(seen, autoping=False)) as peer:
        await peer.send(frame(PING, b"1"), frame(PONG, b"2"))
        await peer.close()
    assert seen[:2] == [("PING", b"1", ""), ("PONG", b"2", "")]


async def test_text_as_bytes():
    """With decode_text off nothing is checked."""
    seen: list[object] = []
    async with meeting(collecting(seen, decode_text=False)) as peer:
        await peer.send(frame(TEXT, b"\xff"))
        await peer.close()
    assert seen[0] == ("TEXT", b"\xff", "")


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(TEXT, b"a", mask=None), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(BINARY, b"x" * 101), 1009),
        (frame(BINARY, b"x" * 60, fin=False) + frame(CONTINUATION, b"x" * 60), 1009),
        (frame(3, b"a"), 1002),
        (frame(TEXT, b"a", rsv=4), 1002),
        (frame(PING, b"a", fin=False), 1002),
        (frame(PING, b"a" * 126), 1002),
        (frame(CONTINUATION, b"a"), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xed"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
    ids=[
        "unmasked",
        "utf-8",
        "long",
        "fragments",
        "opcode",
        "rsv",
        "fragmented-ping",
        "long-ping",
        "stray",
        "close-1-byte",
        "close-1005",
        "reason",
    ],
)
async def test_what_breaks_the_rules(bad: bytes, code: int):
    """The handler gets the error, the peer its code, and the connection ends, although the peer goes on."""
    seen: list[object] = []
    async with meeting(collecting(seen, max_msg_size=100)) as peer:
        await peer.send(text("fine"), bad, text("more"))
        assert (await peer.next()).code == code
        assert await peer.rest() == b""
    assert seen[0] == ("TEXT", "fine", "")
    kind, error, _ = seen[1]
    assert (kind, type(error), error.code) == ("ERROR", structweb.WebSocketError, code)
    assert seen[2] == (code, structweb.WebSocketError)


async def test_what_inflates_too_much_is_refused():
    """Long before it is inflated."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(bytes(10_000_000)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    seen: list[object] = []
    async with meeting(collecting(seen, max_msg_size=1000), "Sec-WebSocket-Extensions: permessage-deflate") as peer:
        await peer.send(frame(BINARY, bomb[:-4], rsv=4))
        assert (await peer.next()).code == 1009


async def test_compression_both_ways():
    """And a message that is not to be compressed."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        data = await ws.receive_str()
        await ws.send_str(data)
        await ws.send_bytes(b"plain" * 50, compress=9)
        return ws

    squeeze, words = zlib.compressobj(9, zlib.DEFLATED, -15), b"over and over " * 100
    sent = (squeeze.compress(words) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]
    async with meeting(echo, "Sec-WebSocket-Extensions: permessage-deflate") as peer:
        await peer.send(frame(TEXT, sent, rsv=4))
        answer = await peer.next()
        inflate = zlib.decompressobj(-15)
        assert (answer.rsv, inflate.decompress(answer.payload + b"\0\0\xff\xff")) == (4, words)


async def test_typed_receiving():
    """Raises for another type than was asked for."""
    failures = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        assert await ws.receive_str() == "s"
        assert await ws.receive_bytes() == b"b"
        assert await ws.receive_json() == {"a": 1}
        assert (await ws.receive()).json() == [2]
        for receive in (ws.receive_str, ws.receive_bytes, ws.receive_json):
            with pytest.raises(structweb.WSMessageTypeError) as caught:
                await receive()
            failures.append(caught.value)
        return ws

    async with meeting(handler) as peer:
        await peer.send(text("s"), frame(BINARY, b"b"), text('{"a": 1}'), text("[2]"))
        await peer.send(frame(BINARY, b"b"), text("s"), frame(BINARY, b"b"))
        assert (await peer.next()).code == 1000
    assert all(isinstance(failure, TypeError) for failure in failures)


async def test_iterating_over_one_type():
    """To the end; another type is an error, and so is what breaks the WebSocket."""
    seen: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        try:
            kinds = {"/text": ws.iter_text, "/bytes": ws.iter_bytes, "/json": ws.iter_json}
            async for item in kinds[request.path]():
                seen.append(item)  # noqa: PERF401 - one by one, up to the error
        except (structweb.WSMessageTypeError, structweb.WebSocketError) as exc:
            seen.append(type(exc))
        return ws

    async with serving(app_of(handler)) as served:
        for path, good, bad in (
            ("/text", text("a"), frame(BINARY, b"")),
            ("/bytes", frame(BINARY, b"b"), text("")),
            ("/json", text("[1]"), frame(CONTINUATION)),
        ):
            peer = await connect(served, path=path)
            await peer.send(good)
            await peer.close()
            peer = await connect(served, path=path)
            await peer.send(good, bad)
            await peer.next()
    wrong = structweb.WSMessageTypeError
    assert seen == ["a", "a", wrong, b"b", b"b", wrong, [1], [1], structweb.WebSocketError]


async def test_all_that_can_be_sent():
    """Each makes one frame, in order."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str("ä")
        await ws.send_bytes(bytearray(b"1"))
        await ws.send_bytes(memoryview(b"2"))
        await ws.send_json({"a": 1})
        await ws.send_json_bytes([1], dumps=lambda data: json.dumps(data).encode())
        await ws.send_frame(b"f", web.WSMsgType.TEXT)
        await ws.send_frame(b"g", web.WSMsgType.PONG)
        await ws.ping(b"h")
        await ws.pong("i")
        return ws

    async with meeting(handler) as peer:
        frames = [await peer.next() for _ in range(9)]
    assert [(kind, payload) for kind, payload, _ in frames] == [
        (TEXT, "ä".encode()),
        (BINARY, b"1"),
        (BINARY, b"2"),
        (TEXT, b'{"a": 1}'),
        (BINARY, b"[1]"),
        (TEXT, b"f"),
        (PONG, b"g"),
        (PING, b"h"),
        (PONG, b"i"),
    ]


async def test_what_cannot_be_sent():
    """Nothing of it is, and the WebSocket can still be used."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with pytest.raises(TypeError):
            await ws.send_str(b"bytes")
        with pytest.raises(TypeError):
            await ws.send_bytes("str")
        with pytest.raises(ValueError, match="125"):
            await ws.ping(b"x" * 126)
        with pytest.raises(ValueError, match="close"):
            await ws.send_frame(b"", web.WSMsgType.CLOSE)
        with pytest.raises(ValueError, match="code"):
            await ws.close(code=1006)
        with pytest.raises(RuntimeError, match="write"):
            await ws.write(b"")
        await ws.send_str("still here")
        return ws

    async with meeting(handler) as peer:
        assert (await peer.next()).payload == b"still here"


async def test_one_task_receives():
    """A second one is told so; the first one is not disturbed."""
    room = Room()
    got = []
    async with meeting(room) as peer, anyio.create_task_group() as group:
        await room.ready.wait()

        async def first() -> None:
            got.append((await room.ws.receive()).data)

        group.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="Concurrent"):
            await room.ws.receive()
        await peer.send(text("one"))
        await anyio.wait_all_tasks_blocked()
        assert got == ["one"]
        room.done.set()


@pytest.mark.parametrize("how", ["argument", "default"])
async def test_a_timeout_leaves_it_usable(how: str):
    """Nothing is lost."""
    outcomes = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(receive_timeout=5 if how == "default" else None)
        await ws.prepare(request)
        try:
            await ws.receive(timeout=5 if how == "argument" else None)
        except TimeoutError:
            outcomes.append("timeout")
        await ws.send_str("now")
        outcomes.append(await ws.receive_str())
        return ws

    async with meeting(handler) as peer:
        assert (await peer.next()).payload == b"now"
        await peer.send(text("late"))
        await peer.next()
    assert outcomes == ["timeout", "late"]


async def test_a_cancelled_receive_loses_nothing():
    """Wherever in a message it is cancelled."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        data = None
        while data is None:
            with anyio.move_on_after(1):
                data = await ws.receive_str()
        await ws.send_str(data)
        return ws

    async with meeting(handler) as peer:
        for byte in text("piece by piece"):
            await peer.send(bytes((byte,)))
            await anyio.sleep(1.5)
        assert (await peer.next()).payload == b"piece by piece"


async def test_pings_are_answered_while_the_handler_is_busy():
    """It never receives, it sleeps."""
    room = Room()
    async with meeting(room) as peer:
        for number in range(50):
            await peer.send(frame(PING, b"%d" % number))
            assert await peer.next() == (PONG, b"%d" % number, 0)
        room.done.set()
        assert (await peer.next()).code == 1000


async def test_messages_that_came_while_the_handler_was_busy():
    """Are there, in order, with those behind them, whoever reads."""
    seen = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await anyio.sleep(10)
        for number in range(6):
            seen.append(await ws.receive_str())
            if number == 3:
                await anyio.sleep(10)
        return ws

    async with meeting(handler) as peer:
        await peer.send(text("0"), text("1"))
        await anyio.sleep(11)
        await peer.send(text("2"), text("3"))
        await anyio.sleep(5)
        await peer.send(text("4"), text("5"))
        await peer.next()
    assert seen == list("012345")


async def test_a_task_of_the_handler_may_receive():
    """While the handler sends: pings are answered whenever neither of them looks."""
    seen = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)

        async def listen() -> None:
            async for message in ws:
                seen.append(message.data)
                await anyio.sleep(10)

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await ws.send_str("hello")
        return ws

    async with meeting(handler) as peer:
        assert (await peer.next()).payload == b"hello"
        await peer.send(text("a"))
        await anyio.sleep(1)
        await peer.send(frame(PING, b"?"))
        assert await peer.next() == (PONG, b"?", 0)
        await peer.send(text("b"))
        await peer.close()
        await anyio.sleep(30)
    assert seen == ["a", "b"]


async def test_frames_of_many_tasks_do_not_interleave():
    """However slowly the peer reads."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(writer_limit=1000)
        await ws.prepare(request)

        async def send(letter: str) -> None:
            for _ in range(20):
                await ws.send_str(letter * 20_000)

        async with anyio.create_task_group() as group:
            for letter in "abcde":
                group.start_soon(send, letter)
        return ws

    async with meeting(handler) as peer:
        payloads = [(await peer.next()).payload for _ in range(100)]
        assert (await peer.next()).opcode == CLOSE
    assert sorted(payloads) == sorted(letter * 20_000 for letter in (b"a", b"b", b"c", b"d", b"e") for _ in range(20))


async def test_a_flood_leaves_room_for_others():
    """Neither pings nor messages keep the rest of the server waiting."""
    sequence = Sequencer()
    other = 0

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async with sequence(0):
            pass
        async for _ in ws:
            pass
        return ws

    async with meeting(handler) as peer, anyio.create_task_group() as group:

        async def neighbour() -> None:
            nonlocal other
            async with sequence(1):
                pass
            while True:
                await anyio.lowlevel.checkpoint()
                other += 1

        group.start_soon(neighbour)
        await peer.send(text("") * 2000 + frame(PING) * 2000)
        for _ in range(2000):
            await peer.next()
        group.cancel_scope.cancel()
    assert other > 100


async def test_one_line_in_the_access_log_when_it_is_over(caplog: pytest.LogCaptureFixture):
    """With the bytes of the head and of every frame."""
    caplog.set_level(logging.INFO, logger="structweb.access")
    sizes = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sizes.append(ws.body_length)
        await ws.send_str("four")
        sizes.append(ws.body_length)
        await ws.receive()
        return ws

    async with meeting(handler, access_log_format='"%r" %s %b') as peer:
        assert (await peer.next()).payload == b"four"
        assert not caplog.records
        await peer.send(close())
        await peer.rest()
    (record,) = caplog.records
    assert sizes[1] == sizes[0] + 2 + 4
    assert record.getMessage() == f'"GET / HTTP/1.1" 101 {sizes[1] + 2 + 2}'


async def test_on_response_prepare_sees_it():
    async def name(request: web.Request, response: web.StreamResponse) -> None:
        assert isinstance(response, web.WebSocketResponse)
        response.headers["X-Name"] = response.headers["Upgrade"]

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        return ws

    app = app_of(handler)
    app.on_response_prepare.append(name)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get("/", *UPGRADE))
        assert (await connection.answer()).headers["x-name"] == "websocket"
