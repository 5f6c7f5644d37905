"""Random conversations: a handler, a task of it and a stranger share a WebSocket; its peer sends in bits and pieces."""

from random import Random

import anyio
import pytest

from structweb import ClientConnectionResetError, web
from tests.web.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, close, connect, frame
from tests.web.served import serving
from tests.web.talk import app_of

pytestmark = pytest.mark.anyio

MESSAGES = 40


class Conversation:
    """What is said, by whom ever, and what is heard."""

    ws: web.WebSocketResponse

    def __init__(self, seed: int, unit: float = 1.0) -> None:
        """`unit`: what a long pause is, in seconds."""
        self.rng = Random(seed)
        self.unit = unit
        #: Who closes.
        self.closes = self.rng.choice(("peer", "server", "handler"))
        #: Whether all messages fit into what is read ahead, so that no ping has to wait behind them.
        self.brief = self.rng.random() < 0.5
        self.ready, self.over = anyio.Event(), anyio.Event()
        # On the server's side: whose turn it is to receive, what was received, what was sent.
        self.turn = anyio.Lock()
        self.heard: list[int] = []
        self.lost = False
        self.sent = 0
        # On the peer's: what was received, pings sent, pongs received, pongs owed, whether a close frame came.
        self.came: list[int] = []
        self.pings = self.ponged = 0
        self.due = b""
        self.ended = False

    async def nap(self) -> None:
        """Wait, or not; never long."""
        pause = self.rng.choice((None, None, 0, 0, 0.02, 0.5))
        if pause is not None:
            await anyio.sleep(pause * self.unit)

    # -- the server's side

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Be the handler."""
        self.ws = web.WebSocketResponse(timeout=5, heartbeat=3.0 if self.rng.random() < 0.3 else None)
        await self.ws.prepare(request)
        self.ready.set()
        async with anyio.create_task_group() as group:
            if self.rng.random() < 0.7:
                group.start_soon(self.act)
            await self.act()
        return self.ws

    async def act(self) -> None:
        """Receive and send by turns, until there is an end."""
        rng, ws = self.rng, self.ws
        while not self.over.is_set():
            await self.nap()
            try:
                for _ in range(rng.choice((0, 0, 1, 3, 40))):
                    self.sent += 1
                    await ws.send_str(f"{self.sent}")
                if rng.random() < 0.6:
                    async with self.turn:
                        await self.receive(rng.choice((1, 2, 10)))
                if self.closes == "server" and len(self.heard) > MESSAGES // 2:
                    await ws.close()
            except ClientConnectionResetError:
                self.lost = True
                self.over.set()
            if self.closes == "handler" and len(self.heard) > MESSAGES // 2:
                self.over.set()

    async def receive(self, most: int) -> None:
        """Receive messages, with more or less patience."""
        for _ in range(most):
            patience = self.rng.choice((0, 0.02, 0.3, None))
            with anyio.move_on_after(None if patience is None else patience * self.unit):
                if self.over.is_set():
                    return
                message = await self.ws.receive()
                if message.type is web.WSMsgType.TEXT:
                    self.heard.append(int(message.data))
                else:
                    assert message.type in (web.WSMsgType.CLOSE, web.WSMsgType.CLOSING, web.WSMsgType.CLOSED), message
                    self.over.set()
            await self.nap()

    # -- the peer's

    async def talk(self, peer: Peer) -> None:
        """Send messages and pings in pieces, and a close frame behind them, or when one came."""
        rng, data = self.rng, b""
        for number in range(MESSAGES):
            if self.ended:
                break
            data += self.message(number)
            while data and rng.random() < 0.8:
                size = rng.choice((1, 2, 6, 100, len(data), len(data)))
                await peer.stream.send(data[:size])
                data = data[size:]
                await self.nap()
            if not data and self.brief:
                await self.answered()
        await peer.stream.send(data + self.ping())
        while self.closes != "peer" and not self.ended:
            await anyio.sleep(0.1 * self.unit)
            due, self.due = self.due, b""
            await peer.stream.send(due)
        await peer.stream.send(close())

    def message(self, number: int) -> bytes:
        """Return the frames of a message, perhaps with a ping in or behind it, and the pongs that are owed."""
        rng, (due, self.due) = self.rng, (self.due, b"")
        words = b"%d" % number + b" " * rng.choice((0, 1, 118, 200) if self.brief else (0, 200, 3000, 30_000))
        behind = self.ping() if rng.random() < 0.3 else b""
        if rng.random() < 0.7:
            return due + frame(TEXT, words) + behind
        cut = rng.randrange(len(words))
        return due + frame(TEXT, words[:cut], fin=False) + behind + frame(CONTINUATION, words[cut:])

    def ping(self) -> bytes:
        """Return a ping that is like no other."""
        self.pings += 1
        return frame(PING, b"%d" % self.pings)

    async def answered(self) -> None:
        """Wait for the pongs of all pings: whatever the handler does, they do not take long."""
        with anyio.move_on_after(1) as scope:
            while self.ponged < self.pings and not self.ended:  # noqa: ASYNC110 - frames are no event
                await anyio.sleep(0.01 * self.unit)
        assert not scope.cancelled_caught, "a ping was not answered"

    async def listen(self, peer: Peer) -> None:
        """Hear what the server says, to the end."""
        while (came := await peer.next()).opcode != CLOSE:
            if came.opcode == PONG:
                assert int(came.payload) > self.ponged
                self.ponged = int(came.payload)
            elif came.opcode == PING:
                self.due += frame(PONG, came.payload)
            else:
                assert came.opcode == TEXT
                self.came.append(int(came.payload))
        self.ended = True
        assert await peer.rest() == b""

    async def meet(self, peer: Peer) -> None:
        """Have the conversation."""

        async def talk() -> None:
            try:
                await self.talk(peer)
            except anyio.BrokenResourceError:
                assert self.closes != "peer"

        async with anyio.create_task_group() as group:
            group.start_soon(talk)
            if self.rng.random() < 0.5:
                group.start_soon(self.act)
            await self.listen(peer)
            await self.over.wait()
            group.cancel_scope.cancel()
        assert self.heard == list(range(len(self.heard)))
        assert len(self.came) == len(set(self.came))
        if self.closes == "peer":
            assert len(self.heard) == MESSAGES or self.lost
            assert self.ponged == self.pings


@pytest.mark.parametrize("seed", range(8))
async def test_every_message_is_heard_once_and_in_order(seed: int):
    """And nobody waits for ever, and all pings are answered."""
    said = Conversation(seed)
    with anyio.fail_after(300):
        async with serving(app_of(said.handle)) as served:
            peer = await connect(served)
            await said.ready.wait()
            await said.meet(peer)
