"""What a WebSocket does with frames that its peer does not take: limits, policies, and who waits for what."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest
from anyio.streams.stapled import StapledByteStream

from structweb._server.departures import ClientConnectionResetError
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.websocket import WebSocketSession, open_session
from structweb._server.websocket_inbox import WebSocketState
from structweb._server.websocket_outbox import WebSocketSettings
from structweb._wire.websocket import WebSocketLimits, WebSocketWire
from structweb.testing import ClientEnd, memory_pipe
from tests.server.peers import serving
from tests.web.frames import BINARY, CLOSE, PING, PONG, Frame, Peer, frame

pytestmark = pytest.mark.anyio

UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
ASK = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Meeting:
    """A WebSocket of a handler that does nothing, and its peer, which takes nothing before it is asked to."""

    session: WebSocketSession

    def __init__(self, engine: Engine, client: ClientEnd) -> None:
        self.engine = engine
        self.client = client
        self.peer = Peer(self)
        self.log: list[object] = []

    @property
    def stream(self) -> ClientEnd:
        """What `Peer` reads."""
        return self.client

    async def send(self, payload: bytes) -> None:
        """Send a message, and note what becomes of it."""
        try:
            sent = await self.session.send(self.session.wire.binary, payload)
        except ClientConnectionResetError as exc:
            self.log.append(exc.__cause__)
        else:
            self.log.append(payload if sent else "dropped")

    async def messages(self, count: int) -> list[bytes]:
        """Read as many messages."""
        self.client.resume()
        frames = [await self.peer.next() for _ in range(count)]
        assert {came.opcode for came in frames} == {BINARY}
        return [came.payload for came in frames]

    async def rest(self) -> list[Frame]:
        """Read all frames up to the end."""
        self.client.resume()
        frames = []
        while True:
            try:
                frames.append(await self.peer.next())
            except anyio.IncompleteRead:
                return frames


@asynccontextmanager
async def meeting(*, plain: bool = False, **settings: object) -> AsyncGenerator[Meeting]:
    """Lend a WebSocket whose peer has stalled; with `plain`, over a stream that cannot be closed without waiting."""
    ready, over = anyio.Event(), anyio.Event()

    async def handler(exchange: Exchange) -> None:
        wire = WebSocketWire(limits=WebSocketLimits())
        met.session = await open_session(exchange, UPGRADE, wire, WebSocketSettings(**settings))
        ready.set()
        await over.wait()

    async with serving(handler) as site:
        client, server = memory_pipe()
        met = Meeting(site.engine, client)
        site.group.start_soon(site.engine.serve_stream, StapledByteStream(server, server) if plain else server)
        await client.send(ASK)
        await client.receive_until(b"\r\n\r\n")
        await ready.wait()
        client.stall()
        yield met
        over.set()


async def test_a_limit_is_what_may_wait():
    """What goes just up to it does not; the frame that goes past it is the last one."""
    async with meeting(writer_limit=1000) as met:
        outbox = met.session.outbox
        await met.send(bytes(496))  # 500 bytes with its head
        await met.send(bytes(496))
        assert (outbox.queued, outbox.full) == (1000, False)
        await met.send(bytes(1))
        assert (outbox.queued, outbox.full, outbox.written) == (1003, True, 1003)
        with anyio.move_on_after(10) as scope:
            await met.send(b"too much")
        assert (scope.cancelled_caught, outbox.queued) == (True, 1003)
        assert await met.messages(3) == [bytes(496), bytes(496), bytes(1)]
        await anyio.wait_all_tasks_blocked()
        assert (outbox.queued, outbox.full, outbox.written) == (0, False, 1003)


async def test_those_who_wait_get_their_turn_in_the_order_in_which_they_came():
    async with meeting(writer_limit=0) as met, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(met.send, b"%d" % number * 1000)
            await anyio.wait_all_tasks_blocked()
        assert met.session.outbox.queued < 1100
        assert await met.messages(20) == [b"%d" % number * 1000 for number in range(20)]


@pytest.mark.parametrize("unlucky", [{0}, {1}, {4}, {0, 1, 2}, {0, 2, 4}, {0, 1, 2, 3, 4}], ids=str)
@pytest.mark.parametrize("resumed", [False, True], ids=["", "as room appears"])
async def test_cancelled_waiters_send_nothing_and_the_others_everything(unlucky: set[int], resumed: bool):
    """Also if they are cancelled in the moment in which there is room."""
    scopes = [anyio.CancelScope() for _ in range(5)]

    async def send(number: int) -> None:
        with scopes[number]:
            await met.send(b"%d" % number * 1000)

    async with meeting(writer_limit=100) as met, anyio.create_task_group() as group:
        await met.send(b"first")
        await met.send(bytes(100_000))
        for number in range(5):
            group.start_soon(send, number)
            await anyio.wait_all_tasks_blocked()
        if resumed:
            met.client.resume()
            await met.client.receive(50_000)
        for number in unlucky:
            scopes[number].cancel()
        if not resumed:
            await anyio.wait_all_tasks_blocked()
            assert met.session.outbox.queued < 100_100
            assert (await met.messages(1)) == [b"first"]
            assert len((await met.messages(1))[0]) == 100_000
        else:
            await met.client.receive_exactly(100_017 - 50_000)
        with anyio.move_on_after(1):
            while True:
                met.log.append(("came", (await met.messages(1))[0]))
    noted = [sent for sent in met.log[2:] if isinstance(sent, bytes)]
    came = [sent[1] for sent in met.log if isinstance(sent, tuple)]
    assert came == noted  # what was reported as sent was sent, nothing else
    assert {b"%d" % number * 1000 for number in range(5) if number not in unlucky} <= set(came)
    if not resumed:
        assert len(came) == 5 - len(unlucky)


async def test_a_send_that_is_cancelled_while_it_lets_others_have_their_turn():
    """The 33rd in a row: it has sent nothing."""
    async with meeting() as met:
        met.client.resume()
        for number in range(32):
            await met.send(b"%d" % number)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await met.send(b"never")
        await met.send(b"later")
        assert await met.messages(33) == [*(b"%d" % number for number in range(32)), b"later"]


async def test_one_that_waits_too_long_ends_it_for_all():
    """The peer counts as gone, and those who wait since later do not have to wait for it."""
    async with meeting(writer_limit=100, send_timeout=5) as met:
        await met.send(bytes(1000))
        async with anyio.create_task_group() as group:
            start = anyio.current_time()
            group.start_soon(met.send, b"one")
            await anyio.sleep(3)
            group.start_soon(met.send, b"two")
        assert anyio.current_time() - start == pytest.approx(5)
        assert [type(noted) for noted in met.log[1:]] == [TimeoutError, TimeoutError]
        assert (met.session.state, met.session.close_code) == (WebSocketState.CLOSED, 1006)
        met.session.exchange.disconnect = "finish"


async def test_room_in_time_is_no_reason_to_end_it():
    """Each send has its own time, which begins anew."""
    async with meeting(writer_limit=100, send_timeout=5) as met:
        for number in range(3):
            await met.send(bytes(1000))
            async with anyio.create_task_group() as group:
                group.start_soon(met.send, b"%d" % number)
                await anyio.sleep(4)
                assert await met.messages(2) == [bytes(1000), b"%d" % number]
                met.client.stall()
        assert met.session.state is WebSocketState.OPEN


async def test_what_is_dropped_is_what_finds_no_room():
    async with meeting(writer_limit=100, on_slow="drop") as met:
        for number in range(5):
            await met.send(b"%d" % number * 60)
        assert met.log == [b"0" * 60, b"1" * 60, "dropped", "dropped", "dropped"]
        assert await met.messages(2) == [b"0" * 60, b"1" * 60]
        await anyio.wait_all_tasks_blocked()
        await met.send(b"later")
        assert await met.messages(1) == [b"later"]


async def test_closing_on_a_slow_peer_is_for_all_who_send():
    """And what it was sent before comes before the close frame."""
    async with meeting(writer_limit=100, on_slow="close") as met, anyio.create_task_group() as group:
        await met.send(bytes(1000))
        for number in range(5):
            group.start_soon(met.send, b"%d" % number)
        await anyio.wait_all_tasks_blocked()
        assert met.log == [bytes(1000), *[None] * 5]
        assert await met.messages(1) == [bytes(1000)]
        assert await met.peer.next() == (CLOSE, b"\x03\xf0too slow", 0)
        await met.peer.send(frame(CLOSE, b"\x03\xf0"))
        assert await met.rest() == []
        met.session.exchange.disconnect = "finish"


async def test_a_close_frame_behind_a_pong_that_waits():
    """Nothing comes behind it, not even for those who were waiting for room."""
    async with meeting(writer_limit=100) as met, anyio.create_task_group() as group:
        await met.send(bytes(1000))
        group.start_soon(met.send, b"waits")
        for number in range(3):
            await met.peer.send(frame(PING, b"%d" % number))
        await anyio.wait_all_tasks_blocked()
        assert met.session.outbox.queued < 1100
        met.session.start_close(1001)
        await anyio.wait_all_tasks_blocked()
        assert await met.messages(1) == [bytes(1000)]
        assert [await met.peer.next(), await met.peer.next()] == [(PONG, b"2", 0), (CLOSE, b"\x03\xe9", 0)]
        await met.peer.send(frame(CLOSE, b"\x03\xe9"))
        assert await met.rest() == []
        met.session.exchange.disconnect = "finish"
    assert met.log == [bytes(1000), None]


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_peer_that_goes_ends_all_waits(how: str):
    async with meeting(writer_limit=100) as met, anyio.create_task_group() as group:
        met.session.exchange.disconnect = "finish"
        await met.send(bytes(1000))
        for number in range(5):
            group.start_soon(met.send, b"%d" % number)
        await anyio.wait_all_tasks_blocked()
        getattr(met.client, how)()
        await anyio.wait_all_tasks_blocked()
        assert [type(noted) for noted in met.log[1:]] == [ClientConnectionResetError] * 5


@pytest.mark.parametrize("plain", [False, True], ids=["", "a stream without close"])
async def test_strangers_do_not_wait_for_a_connection_that_was_cancelled(plain: bool):
    """They send or receive in tasks that do not end with the handler."""
    async with anyio.create_task_group() as group, meeting(writer_limit=100, plain=plain) as met:
        ended: list[object] = []

        async def receive() -> None:
            ended.append(await met.session.receive(lambda incoming: incoming))

        await met.send(bytes(1000))
        group.start_soon(met.send, b"never")
        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        (connection,) = met.engine.connections
        connection.scope.cancel()
        await anyio.sleep(100)
        group.cancel_scope.cancel()
        assert (ended, met.log[1:]) == ([None], [None])


async def test_moving_is_taking_something_that_waited():
    async with meeting() as met:
        outbox = met.session.outbox
        assert not outbox.moves()
        await met.send(bytes(200_000))
        await anyio.wait_all_tasks_blocked()
        assert not outbox.moves()
        met.client.resume()
        await met.client.receive_exactly(70_000)
        met.client.stall()
        await anyio.wait_all_tasks_blocked()
        assert outbox.moves()
        assert not outbox.moves()


@pytest.mark.parametrize("on_slow", ["wait", "drop"])
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_senders_and_their_peer_do(seed: int, on_slow: str):
    """What was sent comes whole, once and in the order of its sender; what was cancelled or dropped does not."""
    rng, limit, largest = Random(seed), Random(seed).choice((0, 100, 5000, 100_000)), 30_000
    noted: dict[int, list[bytes]] = {number: [] for number in range(5)}
    came: dict[int, list[bytes]] = {number: [] for number in noted}
    pongs: list[int] = []

    async def send(number: int) -> None:
        session = met.session
        for count in range(20):
            payload = b"%d,%d," % (number, count) + bytes(rng.choice((0, 1, 100, 3000, largest - 10)))
            with anyio.move_on_after(rng.choice((0, 0.5, 3, 100))):
                if (rng.random() < 0.5 and session.post_bytes(payload)) or await session.send(
                    session.wire.binary, payload
                ):
                    noted[number].append(payload)
            assert session.outbox.queued <= limit + largest + 10 + 130  # a pong
            await anyio.sleep(rng.choice((0, 0, 0, 0.1, 1)))

    async def take() -> None:
        while (got := await met.peer.next()).opcode != CLOSE:
            if got.opcode == PONG:
                pongs.append(int(got.payload))
            else:
                came[int(got.payload.partition(b",")[0])].append(got.payload)

    async def dawdle() -> None:
        for number in range(40):
            await met.client.send(frame(PING, b"%0125d" % number))
            met.client.stall() if rng.random() < 0.6 else met.client.resume()
            await anyio.sleep(rng.choice((0, 0.1, 1, 2)))
        met.client.resume()

    async with meeting(writer_limit=limit, on_slow=on_slow) as met, anyio.create_task_group() as group:
        group.start_soon(take)
        async with anyio.create_task_group() as senders:
            senders.start_soon(dawdle)
            for number in noted:
                senders.start_soon(send, number)
        await anyio.wait_all_tasks_blocked()
        met.session.start_close()
    assert came == noted
    assert pongs == sorted(set(pongs))
    assert pongs[-1] == 39
