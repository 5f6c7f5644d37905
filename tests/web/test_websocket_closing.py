"""How a WebSocket ends: by the peer, by the handler, by another task, by the server, by nobody."""

import logging

import anyio
import pytest

from structweb import ClientConnectionResetError, WSCloseCode, web
from tests.web.frames import CLOSE, TEXT, close, connect, frame, meeting, text
from tests.web.served import serving
from tests.web.talk import app_of
from tests.web.test_websocket_messages import Room, collect, collecting

pytestmark = pytest.mark.anyio


async def test_a_peer_that_closes_without_a_code():
    """Code 0, as in aiohttp."""
    seen: list[object] = []
    async with meeting(collecting(seen)) as peer:
        assert (await peer.close(None)).code == 1000
    assert seen == [("CLOSE", 0, ""), (0, type(None))]


@pytest.mark.parametrize("how", ["close", "half_close", "reset"])
async def test_a_peer_that_leaves_without_a_word(how: str):
    """1006, and the exception says so."""
    seen: list[object] = []
    async with meeting(collecting(seen)) as peer:
        await peer.send(text("a"))
        await peer.stream.taken()
        await anyio.wait_all_tasks_blocked()
        if how == "half_close":
            await peer.stream.half_close()
        else:
            getattr(peer.stream, how)()
        await anyio.wait_all_tasks_blocked()
    assert seen[:2] == [("TEXT", "a", ""), ("CLOSED", None, None)]
    code, failure = seen[2]
    assert code == 1006
    assert issubclass(failure, ConnectionError)


async def test_receiving_behind_the_end():
    """CLOSED four times, then an error: a loop that does not look ends at last."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        outcomes.append((await ws.receive()).type)
        try:
            while True:
                outcomes.append((await ws.receive()).type)
        except RuntimeError as exc:
            outcomes.append(str(exc))
        with pytest.raises(ClientConnectionResetError):
            await ws.send_str("too late")
        assert await ws.close() is False
        return ws

    async with meeting(handler) as peer:
        await peer.close()
    closed = web.WSMsgType.CLOSED
    assert outcomes == [web.WSMsgType.CLOSE, *[closed] * 4, "WebSocket connection is closed."]


async def test_the_handler_closes():
    """It waits for the answer; what comes before that is dropped."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        outcomes.append(await ws.close(code=WSCloseCode.GOING_AWAY, message="see you"))
        outcomes.append((ws.closed, ws.close_code, ws.exception(), await ws.close(), (await ws.receive()).type))
        return ws

    async with meeting(handler) as peer:
        assert await peer.next() == (CLOSE, b"\x03\xe9see you", 0)
        await peer.send(text("dropped"), close(4000))
        assert await peer.rest() == b""
    assert outcomes == [True, (True, 4000, None, False, web.WSMsgType.CLOSED)]


@pytest.mark.parametrize("talkative", [False, True])
async def test_a_peer_that_does_not_answer_a_close(talkative: bool):
    """It is waited for as long as `timeout` says; then it is 1006."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=3)
        await ws.prepare(request)
        start = anyio.current_time()
        await ws.close()
        outcomes.append((anyio.current_time() - start, ws.close_code, type(ws.exception())))
        return ws

    async with meeting(handler) as peer:
        assert (await peer.next()).code == 1000
        for _ in range(10 * talkative):
            await anyio.sleep(0.25)
            await peer.send(text("and another thing"))
        assert await peer.rest() == b""
    assert outcomes == [(pytest.approx(3), 1006, TimeoutError)]


@pytest.mark.parametrize("answers", [True, False])
async def test_closing_wakes_who_receives(answers: bool):
    """At once, whatever the peer does."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=3)
        await ws.prepare(request)

        async def end() -> None:
            await anyio.sleep(1)
            outcomes.append(await ws.close())

        async with anyio.create_task_group() as group:
            group.start_soon(end)
            start = anyio.current_time()
            outcomes.append((await ws.receive()).type)
            outcomes.append(anyio.current_time() - start)
            outcomes.append((await ws.receive()).type)
        outcomes.append(ws.close_code)
        return ws

    async with meeting(handler) as peer:
        assert (await peer.next()).code == 1000
        if answers:
            await peer.send(close())
        await anyio.sleep(5)
    expected = [web.WSMsgType.CLOSING, pytest.approx(1), web.WSMsgType.CLOSED]
    assert sorted(outcomes[:-1], key=str) == sorted([*expected, True], key=str)
    assert outcomes[-1] == (1000 if answers else 1006)


async def test_closing_wakes_who_receives_while_the_attendant_reads():
    """The handler itself is away, so `receive` waits for what the attendant reads."""
    room = Room()
    async with meeting(room) as peer, anyio.create_task_group() as group:
        await room.ready.wait()
        await peer.send(text("read ahead"))
        await anyio.wait_all_tasks_blocked()
        assert (await room.ws.receive()).data == "read ahead"
        got = []

        async def receive() -> None:
            got.append((await room.ws.receive()).type)

        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(room.ws.close)
        await anyio.wait_all_tasks_blocked()
        assert got == [web.WSMsgType.CLOSING]
        await peer.send(close())
        room.done.set()


async def test_without_autoclose_the_handler_answers():
    """Until it does, receiving says CLOSING."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(autoclose=False)
        await ws.prepare(request)
        outcomes.extend([(await ws.receive()).type.name, (await ws.receive()).type.name, ws.closed, ws.close_code])
        outcomes.append(await ws.close(code=4001))
        outcomes.append(ws.closed)
        return ws

    async with meeting(handler) as peer:
        await peer.send(close(1001))
        assert (await peer.next()).code == 4001
        assert await peer.rest() == b""
    assert outcomes == ["CLOSE", "CLOSING", False, 1001, True, True]


@pytest.mark.parametrize("how", ["return", "async with", "other response"])
async def test_a_handler_that_just_ends(how: str):
    """The WebSocket is closed in good order, even if the handler returns something else."""

    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        if how == "async with":
            async with ws:
                await ws.send_str("inside")
            assert ws.closed
        return web.Response() if how == "other response" else ws

    async with meeting(handler) as peer:
        if how == "async with":
            assert (await peer.next()).payload == b"inside"
        assert (await peer.next()).code == (1011 if how == "other response" else 1000)
        await peer.send(close())
        assert await peer.rest() == b""


@pytest.mark.parametrize("inside", [False, True])
async def test_a_handler_that_fails(inside: bool, caplog: pytest.LogCaptureFixture):
    """The peer is told 1011, the log has the error."""

    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        if inside:
            async with ws:
                raise ValueError("oops")
        raise ValueError("oops")

    async with meeting(handler) as peer:
        assert (await peer.next()).code == 1011
        await peer.send(close(1011))
        assert await peer.rest() == b""
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "1011" in record.getMessage()
    assert "oops" in str(record.exc_info[1])


async def test_an_http_error_behind_the_handshake_is_a_failure_too(caplog: pytest.LogCaptureFixture):
    """There is no room for its response any more."""

    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        raise web.HTTPForbidden

    async with meeting(handler) as peer:
        assert (await peer.next()).code == 1011
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_sending_to_a_peer_that_has_closed_is_no_error_of_the_server(caplog: pytest.LogCaptureFixture):
    """The handler may let it out."""
    caplog.set_level(logging.INFO, "structweb.web")

    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.receive()
        while True:
            await ws.send_str("talking to the wall")

    async with meeting(handler) as peer:
        await peer.close()
    assert not [
        record for record in caplog.records if record.levelno >= logging.INFO and record.name != "structweb.server"
    ]


def ending(policy: str, receives: bool, outcomes: list[object]):
    """Return an application whose handler is somewhere else, and a note of how that ended."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        if receives:
            await ws.receive()
        try:
            await anyio.sleep(100)
            outcomes.append("finished")
            outcomes.extend(kind for kind, *_ in await collect(ws))
        except anyio.get_cancelled_exc_class():
            outcomes.append("cancelled")
            raise
        return ws

    app = web.Application(disconnect=policy)
    app.router.add_get("/", handler)
    return app


@pytest.mark.parametrize(
    ("policy", "receives", "closes", "expected"),
    [
        ("cancel", True, False, ["cancelled"]),
        ("cancel", False, False, ["cancelled"]),
        ("cancel", False, True, ["cancelled"]),
        ("cancel", True, True, ["finished", "CLOSE"]),
        ("finish", True, False, ["finished", "CLOSED"]),
        ("finish", False, True, ["finished", "CLOSE"]),
    ],
)
async def test_a_peer_that_goes_while_the_handler_is_elsewhere(
    policy: str, receives: bool, closes: bool, expected: list[str]
):
    """The policy decides; but a handler that receives finds an orderly close by itself."""
    outcomes: list[object] = []
    async with serving(ending(policy, receives, outcomes)) as served:
        peer = await connect(served)
        await peer.send(text("a") if receives else b"")
        await anyio.sleep(1)
        if closes:
            await peer.close()
        peer.stream.close()
        await anyio.sleep(1)
        assert outcomes == (["cancelled"] if expected == ["cancelled"] else [])
        await anyio.sleep(200)
    assert outcomes == expected


async def test_a_handler_that_was_told_may_clean_up():
    """Its peer is gone, it knows, and takes its time."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for _ in ws:
            pass
        await anyio.sleep(5)
        outcomes.append("cleaned up")
        return ws

    async with meeting(handler) as peer:
        peer.stream.close()
        await anyio.sleep(10)
    assert outcomes == ["cleaned up"]


async def test_a_shutdown_says_1001():  # noqa: C901 - three handlers and their peers
    """To each, whatever its handler does, within one budget, to which silent peers make no difference.

    Handlers that receive are told, those that do not are cancelled when the peer has closed.
    """
    done = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(timeout=3)
        await ws.prepare(request)
        match request.path:
            case "/receives":
                async for _ in ws:
                    pass
            case "/sends":
                while True:
                    await ws.send_str("tick")
                    await anyio.sleep(7)
            case "/sleeps":
                await anyio.sleep(1000)
        done.append((request.path, ws.close_code))
        return ws

    async with serving(app_of(handler)) as served:
        paths = ["/receives", "/sends", "/sleeps", "/receives"] * 50
        peers = [await connect(served, path=path) for path in paths]
        await anyio.sleep(1)

        async def part(number: int) -> None:
            peer = peers[number]
            frames = []
            while not frames or frames[-1].opcode != CLOSE:
                frames.append(await peer.next())
            assert {opcode for opcode, *_ in frames[:-1]} <= {TEXT}
            assert frames[-1].code == 1001
            if number % 4 != 3:
                await peer.send(close(1001))
                assert await peer.rest() == b""

        start = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(len(peers)):
                group.start_soon(part, number)
            report = await served.engine.shutdown(20)
        assert anyio.current_time() - start < 8
        assert (len(report.abandoned), report.seconds < 8) == (0, True)
    assert sorted(done) == [("/receives", 1001)] * 100


async def test_a_handshake_during_the_shutdown_is_closed_at_once():
    """Its handler was under way when it began."""
    go = anyio.Event()
    ready = anyio.Event()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ready.set()
        await go.wait()
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        assert (await ws.receive()).type is web.WSMsgType.CLOSED
        return ws

    async with serving(app_of(handler)) as served, anyio.create_task_group() as group:
        connection = None

        async def client() -> None:
            nonlocal connection
            connection = await connect(served)
            assert (await connection.next()).code == 1001
            await connection.send(close())
            assert await connection.rest() == b""

        group.start_soon(client)
        await ready.wait()
        group.start_soon(served.engine.shutdown, 10)
        await anyio.wait_all_tasks_blocked()
        go.set()


async def test_a_cancelled_close_ends_by_itself():
    """Who waits for it has no hand in it."""
    room = Room()
    async with meeting(room) as peer:
        await room.ready.wait()
        with anyio.move_on_after(1) as scope:
            await room.ws.close()
        assert scope.cancelled_caught
        assert (await peer.next()).code == 1000
        await peer.send(close(1000))
        assert await peer.rest() == b""
        assert (room.ws.closed, room.ws.close_code) == (True, 1000)
        room.done.set()


async def test_frames_behind_the_close_frame_do_not_reset_it_away():
    """A peer that broke a rule and goes on reads our close frame all the same."""
    seen: list[object] = []
    async with meeting(collecting(seen)) as peer:
        await peer.send(frame(7), frame(TEXT, b"x" * 60_000))
        assert (await peer.next()).code == 1002
        await peer.send(frame(TEXT, b"x" * 60_000))
        assert await peer.rest() == b""


async def test_sending_behind_our_own_close_is_no_error_of_the_handler(caplog: pytest.LogCaptureFixture):
    """A loop that sends for ever ends with the shutdown, and the log stays quiet."""

    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with anyio.CancelScope(shield=True):
            while True:
                await ws.send_str("tick")
                await anyio.sleep(1)

    async with serving(app_of(handler)) as served, anyio.create_task_group() as group:
        peer = await connect(served)
        assert await peer.next() == (TEXT, b"tick", 0)
        group.start_soon(served.engine.shutdown, 5)
        assert (await peer.next()).code == 1001
        await peer.send(close())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
