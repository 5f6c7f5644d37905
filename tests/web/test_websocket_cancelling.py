"""Cancelling the handler of a WebSocket at each of its checkpoints: no task is left, and no half of a frame."""

from collections.abc import Generator
from contextlib import suppress
from random import Random
from types import coroutine
from typing import Any

import anyio
import pytest

from structweb import web
from tests.web.frames import CLOSE, TEXT, Peer, meeting, text

pytestmark = pytest.mark.anyio


@coroutine
def counted(step: Any, at: int, scope: anyio.CancelScope, seen: list[int]) -> Generator[Any, Any, Any]:
    """Run a coroutine and cancel `scope` when it has suspended for the `at`-th time."""
    try:
        trap = step.send(None)
        while True:
            seen[0] += 1
            if seen[0] == at:
                scope.cancel()
            try:
                value = yield trap
            except BaseException as exc:  # noqa: BLE001 - whatever the backend throws belongs to the step
                trap = step.throw(exc)
            else:
                trap = step.send(value)
    except StopIteration as stop:
        return stop.value


#: Bytes that do not get smaller by compression.
NOISE = Random(7).randbytes(20_000)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


async def answer(ws: web.WebSocketResponse, words: str) -> None:
    """Do a bit of everything."""
    await ws.send_bytes(NOISE)
    await anyio.sleep(0.1)
    await ws.ping(b"?")
    if words == "z":
        await ws.close()


async def iterate(ws: web.WebSocketResponse) -> None:
    async for message in ws:
        await answer(ws, message.data)


async def receive(ws: web.WebSocketResponse) -> None:
    while (message := await ws.receive(timeout=50)).type is web.WSMsgType.TEXT:
        await answer(ws, message.data)


#: How the handler hears of messages, and what the client asks for.
WAYS = pytest.mark.parametrize(
    ("conversation", "fields"),
    [(iterate, ()), (receive, (DEFLATE,)), (iterate, (DEFLATE,))],
    ids=["iterating", "receiving, compressed", "iterating, compressed"],
)


async def frames_of(peer: Peer) -> tuple[list[int], bytes]:
    """Read whole frames to the end; return their types, and what is left when the end comes in the middle of one."""
    data = await peer.rest()
    kinds = []
    while data:
        if len(data) < 2:
            break
        size, head = data[1], 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, head = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        if len(data) < head + size:
            break
        kinds.append(data[0] & 15)
        data = data[head + size :]
    return kinds, data


async def say(peer: Peer, *frames: bytes) -> None:
    """Send bit by bit to whoever may have gone, and do not read at first."""
    with suppress(anyio.BrokenResourceError):
        for sent in frames:
            await peer.send(sent)
            await anyio.sleep(1)
            peer.stream.resume()


async def meet(at: int, conversation: Any, fields: tuple[str, ...], *, whole: bool) -> tuple[bool, list[int], bytes]:
    """Have a conversation whose handler is cancelled at a checkpoint; tell whether it was, and what came of it.

    With `whole`, the connection is cancelled; else only the scope around the conversation, and the handler goes on.
    """
    cancelled = False

    async def handler(request: web.Request) -> web.WebSocketResponse:
        nonlocal cancelled
        ws = web.WebSocketResponse(writer_limit=30_000, timeout=2)
        await ws.prepare(request)
        assert bool(ws.compress) is bool(fields)
        with anyio.CancelScope() as scope:
            await counted(conversation(ws), at, request.cancel_scope if whole else scope, [0])
        cancelled = scope.cancelled_caught
        if cancelled and not ws.closed:
            await ws.send_str("still whole")
        return ws

    async with meeting(handler, *fields) as peer, anyio.create_task_group() as group:
        peer.stream.stall()
        group.start_soon(say, peer, *[text(letter) for letter in "abcz"])
        kinds, left = await frames_of(peer)
        return cancelled, kinds, left


@WAYS
async def test_cancelled_at_each_checkpoint_the_websocket_is_usable_or_closed(conversation, fields):
    """What comes behind is understood."""
    at = 0
    outcomes = set()
    while True:
        at += 1
        cancelled, kinds, left = await meet(at, conversation, fields, whole=False)
        assert left == b""
        assert kinds[-1] == CLOSE
        if not cancelled:
            break
        outcomes.add(TEXT in kinds)
    assert at > 9
    assert True in outcomes  # usable, at most checkpoints


@WAYS
async def test_cancelled_at_each_checkpoint_with_its_connection(conversation, fields):
    """No task is left (which the engine's end and the census of every test see to), and the frames are whole."""
    for at in range(1, 12):
        _, _, left = await meet(at, conversation, fields, whole=True)
        assert left == b""
