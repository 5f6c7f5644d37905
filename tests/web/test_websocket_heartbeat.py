"""Heartbeats, and peers that are slow: what is alive lives, what is dead goes, and nobody costs more than his share."""

import tracemalloc

import anyio
import pytest

from structweb import ClientConnectionResetError, web
from tests.web.frames import CLOSE, PING, PONG, TEXT, close, connect, frame, meeting, text
from tests.web.served import serving
from tests.web.talk import app_of
from tests.web.test_websocket_messages import Room

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("receives", [True, False])
async def test_a_silent_peer_is_asked_and_then_dropped(receives: bool):
    """A ping after an interval; without a pong the end after half of one more, within two in all."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=8)
        await ws.prepare(request)
        start = anyio.current_time()
        try:
            if receives:
                message = await ws.receive()
                outcomes.append((message.type, type(message.data)))
            else:
                await anyio.sleep(100)
        finally:
            outcomes.append((anyio.current_time() - start <= 16, ws.close_code, type(ws.exception()), ws.closed))
        return ws

    async with meeting(handler) as peer:
        start = anyio.current_time()
        assert await peer.next() == (PING, b"", 0)
        assert 8 <= anyio.current_time() - start <= 10
        assert await peer.rest() == b""
        assert 12 <= anyio.current_time() - start <= 16
    told = [(web.WSMsgType.ERROR, TimeoutError)] if receives else []
    assert outcomes == [*told, (True, 1006, TimeoutError, True)]


async def test_a_handler_that_only_sends_lives_through_ten_heartbeats():
    """Its peer answers the pings; nobody calls receive."""
    sent = 0

    async def handler(request: web.Request) -> web.WebSocketResponse:
        nonlocal sent
        ws = web.WebSocketResponse(heartbeat=2)
        await ws.prepare(request)
        for _ in range(5):
            await ws.send_str("tick")
            sent += 1
            await anyio.sleep(5)
        return ws

    async with meeting(handler) as peer:
        pings = 0
        while (came := await peer.next()).opcode != CLOSE:
            if came.opcode == PING:
                pings += 1
                await peer.send(frame(PONG))
    assert (sent, pings >= 8) == (5, True)


async def test_any_byte_counts():
    """A peer that talks is not asked."""
    room = Room(heartbeat=4)
    async with meeting(room) as peer:
        for _ in range(20):
            await anyio.sleep(2)
            await peer.send(text("x")[:1] if _ == 0 else frame(PING))
            if _ == 0:
                await peer.send(text("x")[1:])
            else:
                assert (await peer.next()).opcode == PONG
        room.done.set()
        assert (await peer.next()).code == 1000


async def test_a_full_inbox_is_no_death():
    """The peer's pong is behind what the handler does not take; nothing is lost, and it is asked again later."""
    seen = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=2)
        await ws.prepare(request)
        await anyio.sleep(100)
        seen.extend([len(message.data) async for message in ws])
        return ws

    async with meeting(handler) as peer, anyio.create_task_group() as group:
        # More than the inbox and the pipe hold: the peer cannot get its pongs through.
        group.start_soon(peer.send, *[text("x" * 10_000)] * 40, close())
        while (await peer.next()).opcode != CLOSE:
            pass
        assert anyio.current_time() >= 100
    assert seen == [10_000] * 40


async def test_a_peer_that_goes_behind_a_full_inbox_is_noticed():
    """What it sent is not taken; it is dropped within two intervals all the same, and its handler is told."""
    told = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=8)
        await ws.prepare(request)
        start = anyio.current_time()
        try:
            await anyio.sleep(100)
        finally:
            told.append((8 < anyio.current_time() - start <= 16, ws.close_code, type(ws.exception())))
        return ws

    async with meeting(handler) as peer:
        await peer.send(*[text("x" * 1000)] * 80)  # the inbox holds 64 KiB
        assert await peer.next() == (PING, b"", 0)
        assert await peer.rest() == b""
    assert told == [(True, 1006, TimeoutError)]


async def test_a_peer_that_answers_behind_a_full_inbox_lives():
    """And all it sent is there, in order, when somebody asks; its end, too."""
    seen = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=2)
        await ws.prepare(request)
        await anyio.sleep(100)
        seen.extend([message.data[:4] async for message in ws])
        return ws

    async with meeting(handler) as peer:
        await peer.send(*[text(f"{number:04}" * 250) for number in range(80)])
        pings = 0
        while pings < 10:
            assert (await peer.next()).opcode == PING
            await peer.send(frame(PONG))
            pings += 1
        await peer.send(text("last"))
        await peer.stream.send_eof()
        await peer.rest()
    assert seen == [*(f"{number:04}" for number in range(80)), "last"]


@pytest.mark.parametrize("heartbeat", [None, 8])
async def test_unread_messages_are_bounded(heartbeat):
    """The peer is held back by TCP."""
    room = Room(heartbeat=heartbeat)
    async with meeting(room) as peer, anyio.create_task_group() as group:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await peer.send(text("x" * 1000))
                sent += 1000

        group.start_soon(flood)
        await anyio.sleep(10)
        # 64 KiB in the inbox, as many in the wire (with a heartbeat twice as many), as many in the pipe.
        assert sent < (300_000 if heartbeat is None else 370_000)
        group.cancel_scope.cancel()
        room.done.set()


async def test_waiting_for_a_slow_peer():
    """The default: a send waits, and what waits is bounded however many tasks send."""
    room = Room(writer_limit=10_000)
    async with meeting(room) as peer, anyio.create_task_group() as group:
        await room.ready.wait()
        peer.stream.stall()
        for _ in range(100):
            group.start_soon(room.ws.send_bytes, bytes(5_000))
        await anyio.wait_all_tasks_blocked()
        assert 10_000 < room.ws.queued <= 15_100
        peer.stream.resume()
        for _ in range(100):
            assert len((await peer.next()).payload) == 5_000
        assert room.ws.queued == 0
        room.done.set()


async def test_a_cancelled_send_has_sent_nothing():
    """And the WebSocket goes on."""
    room = Room(writer_limit=1000)
    async with meeting(room) as peer:
        await room.ready.wait()
        peer.stream.stall()
        await room.ws.send_bytes(bytes(100_000))
        with anyio.move_on_after(1) as scope:
            await room.ws.send_str("never")
        assert scope.cancelled_caught
        peer.stream.resume()
        assert len((await peer.next()).payload) == 100_000
        await room.ws.send_str("at last")
        assert (await peer.next()).payload == b"at last"
        room.done.set()


async def test_a_send_timeout():
    """Then the peer counts as gone."""
    room = Room(writer_limit=1000, send_timeout=5)
    async with meeting(room) as peer:
        await room.ready.wait()
        peer.stream.stall()
        await room.ws.send_bytes(bytes(100_000))
        start = anyio.current_time()
        with pytest.raises(ClientConnectionResetError) as caught:
            await room.ws.send_str("never")
        assert anyio.current_time() - start == pytest.approx(5)
        assert isinstance(caught.value.__cause__, TimeoutError)
        assert (room.ws.close_code, type(room.ws.exception())) == (1006, TimeoutError)
        room.done.set()


async def test_dropping_messages_for_a_slow_peer():
    """They are counted; the peer gets whole messages, and what comes later."""
    room = Room(writer_limit=10_000, on_slow="drop")
    async with meeting(room) as peer:
        await room.ready.wait()
        peer.stream.stall()
        for number in range(100):
            await room.ws.send_bytes(b"%05d" % number * 1000)
        assert (room.ws.queued <= 15_100, room.ws.dropped >= 97) == (True, True)
        peer.stream.resume()
        for number in range(100 - room.ws.dropped):
            assert (await peer.next()).payload == b"%05d" % number * 1000
        await room.ws.send_str("later")
        assert (await peer.next()).payload == b"later"
        room.done.set()


async def test_closing_on_a_slow_peer():
    """With 1008, behind what it has not taken yet."""
    room = Room(writer_limit=10_000, on_slow="close")
    async with meeting(room) as peer:
        await room.ready.wait()
        peer.stream.stall()
        with pytest.raises(ClientConnectionResetError):
            for _ in range(100):
                await room.ws.send_bytes(bytes(5_000))
        assert room.ws.queued <= 15_200
        peer.stream.resume()
        while (came := await peer.next()).opcode != CLOSE:
            pass
        assert came.code == 1008
        room.done.set()


@pytest.mark.parametrize("policy", ["wait", "drop", "close"])
async def test_a_peer_that_takes_nothing_at_all(policy: str):
    """Its connection ends, its memory is bounded, and its neighbour is served without delay."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(on_slow=policy, timeout=5)
        await ws.prepare(request)
        while True:
            await ws.send_bytes(bytes(20_000))
            await anyio.sleep(0.01)

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/flood", handler)
    app.router.add_get("/echo", echo)
    async with serving(app) as served:
        stalled = await connect(served, path="/flood")
        stalled.stream.stall()
        peer = await connect(served, path="/echo")
        tracemalloc.start()
        for _ in range(70):
            await anyio.sleep(1)
            start = anyio.current_time()
            await peer.send(text("hello"))
            assert await peer.next() == (TEXT, b"hello", 0)
            assert anyio.current_time() - start < 0.1
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 2_000_000
        assert len(served.engine.connections) == 1  # the stalled one is gone, by Timeouts.send at the latest


async def test_pongs_for_a_peer_that_does_not_read_are_bounded():
    """It is answered with the last one when there is room again."""
    room = Room(writer_limit=1000)
    async with meeting(room) as peer:
        await room.ready.wait()
        peer.stream.stall()
        await room.ws.send_bytes(bytes(100_000))
        for number in range(100):
            await peer.send(frame(PING, b"%0100d" % number))
        await anyio.wait_all_tasks_blocked()
        assert room.ws.queued < 101_000
        peer.stream.resume()
        assert len((await peer.next()).payload) == 100_000
        assert await peer.next() == (PONG, b"%0100d" % 99, 0)
        room.done.set()


async def test_a_peer_that_is_behind_but_reads_is_alive():
    """Our ping reaches it late: what it takes meanwhile counts."""
    room = Room(writer_limit=10_000_000, heartbeat=2)
    async with serving(app_of(room)) as served:
        peer = await connect(served)
        await room.ready.wait()
        await room.ws.send_bytes(bytes(1_000_000))
        for _ in range(15):
            await anyio.sleep(1)
            await peer.stream.receive_exactly(60_000)
        assert not room.ws.closed
        await peer.stream.receive_exactly(1_000_010 - 15 * 60_000)
        await peer.send(frame(PONG))
        room.done.set()
        while (await peer.next()).opcode != CLOSE:
            pass
