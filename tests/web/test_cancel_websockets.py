"""WebSockets, cancelled by every cause at every checkpoint behind the 101: their peers never get the middle of a frame.

Nothing is left in any case, and the connection has ended: `cancel_everywhere` sees to that by itself.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from structweb import web
from structweb.testing import DEADLINE, DISCONNECT, RESET, SHUTDOWN, Cause, Sweep, Visit, cancel_everywhere
from tests.web.frames import BINARY, CLOSE, PING, PONG, TEXT, UPGRADE, Frame, close, frame, text
from tests.web.served import get

#: More than what waits for a peer before a send does, and nothing that a frame begins with.
LARGE = b"x" * 300_000

Conversation = Callable[[web.WebSocketResponse], Awaitable[None]]


async def listening(ws: web.WebSocketResponse) -> None:
    """Answer what comes, until the peer says goodbye."""
    async for message in ws:
        await ws.send_str(message.data)
        await anyio.sleep(1)


async def telling(ws: web.WebSocketResponse) -> None:
    """Send small things and large ones, and say goodbye first."""
    await ws.send_str("hi")
    await ws.ping(b"?")
    await ws.send_bytes(LARGE)
    await anyio.sleep(1)
    await ws.send_bytes(LARGE)
    await ws.close(code=4000, message=b"that was all")


async def both_at_once(ws: web.WebSocketResponse) -> None:
    """Send in one task and receive in another."""

    async def send() -> None:
        for _ in range(2):
            await ws.send_bytes(LARGE)
            await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        async for message in ws:
            await ws.send_str(message.data)


def taken_apart(received: bytes) -> tuple[list[Frame], bytes]:
    """Return the whole frames, and what is there of the payload of one more."""
    frames: list[Frame] = []
    while len(received) >= 2:
        first, size = received[:2]
        assert first & 0xF0 == 0x80, f"no frame begins with {received[:20]!r} (behind {frames[-3:]!r})"
        assert size < 128, "a server must not mask"
        head = 2 + {126: 2, 127: 8}.get(size, 0)
        if size > 125:
            size = int.from_bytes(received[2:head], "big")
        payload = received[head : head + size]
        if len(payload) < size or len(received) < head:
            return frames, payload
        frames.append(Frame(first & 15, payload))
        received = received[head + size :]
    assert received == b""
    return frames, b""


def sweep(talk: Conversation, cause: Cause, ends: list[tuple[bool, int]]) -> Sweep:
    """Cancel it everywhere; keep of each end behind a 101 whether a frame was cut, and the code of the farewell or 0."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await talk(ws)
        return ws

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        app = web.Application()
        app.router.add_get("/", handler)
        visit = Visit(app, get("/", *UPGRADE) + text("hi") + frame(PING, b"!") + text("hi") + close())
        yield visit
        head, _, received = bytes(visit.answer).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            return
        frames, cut = taken_apart(received)
        kinds = [each.opcode for each in frames]
        assert set(kinds) <= {TEXT, BINARY, PING, PONG, CLOSE}
        assert CLOSE not in kinds[:-1], (
            f"something follows the farewell: {[(e.opcode, e.payload[:30]) for e in frames]}"
        )
        assert not cut.strip(b"x"), "something follows a frame that was cut"
        assert all(each.payload == LARGE for each in frames if each.opcode == BINARY)
        farewell = frames[-1].code if kinds[-1:] == [CLOSE] else 0
        ends.append((bool(cut), farewell))

    return cancel_everywhere(scene, causes=[cause])


@pytest.mark.parametrize("talk", [listening, telling, both_at_once])
@pytest.mark.parametrize("cause", [DISCONNECT, RESET, DEADLINE, SHUTDOWN], ids=lambda cause: cause.name)
def test_a_peer_gets_whole_frames_and_nothing_behind_a_cut_one(
    talk: Conversation, cause: Cause, record_property: Callable[[str, object], None]
):
    ends: list[tuple[bool, int]] = []
    done = sweep(talk, cause, ends)
    record_property("cancellations", len(done))  # for the summary at the end of the run
    # Handlers that are cut say so; a shutdown has no time left here for peers that are slow, a client that left none.
    codes = {"deadline": {1000, 1011}, "shutdown": {1000, 1001, 0}}.get(cause.name, {1000, 0})
    assert ends
    assert {code for _, code in ends} <= codes
    assert {case.backend for case in done.cases} == {"asyncio", "trio"}
