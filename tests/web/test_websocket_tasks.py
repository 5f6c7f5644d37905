"""Who reads a WebSocket: its handler, a task of it, a stranger, or nobody of them; and what the others then wait for."""

import anyio
import pytest

from structweb import ClientConnectionResetError, web
from tests.web.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, Peer, close, frame, meeting, text

pytestmark = pytest.mark.anyio


async def answers(peer: Peer, data: bytes) -> None:
    """Fail if a ping has no pong."""
    await peer.send(frame(PING, data))
    with anyio.fail_after(1):
        assert await peer.next() == (PONG, data, 0)


@pytest.mark.parametrize("receives", ["handler", "task"])
async def test_a_receiver_that_came_while_its_messages_were_read_ahead(receives: str):
    """What comes then may be no message, or half of one: somebody has to go on reading."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:

            async def receive() -> None:
                seen.append(await ws.receive_str())
                seen.append(await ws.receive_str())

            if receives == "task":
                group.start_soon(receive)
            else:
                await receive()
        return ws

    async with meeting(handler) as peer:
        await anyio.sleep(2)
        await answers(peer, b"1")
        await answers(peer, b"2")
        whole = text("in three pieces") + frame(TEXT, b"in two ", fin=False) + frame(CONTINUATION, b"frames")
        for piece in (whole[:4], whole[4:9], whole[9:]):
            await peer.send(piece)
            await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(1):
            assert (await peer.next()).opcode == CLOSE
    assert seen == ["in three pieces", "in two frames"]


async def test_a_task_that_begins_to_receive_while_the_handler_sends():
    """It may not be taken for the handler because that has not waited yet: nobody would read when it is busy."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)

        async def receive() -> None:
            assert await ws.receive_str() == "work"
            await anyio.sleep(100)

        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            for _ in range(40):
                await ws.send_str("news")
        return ws

    async with meeting(handler) as peer:
        for _ in range(40):
            assert await peer.next() == (TEXT, b"news", 0)
        await peer.send(text("work"))
        await anyio.wait_all_tasks_blocked()
        await answers(peer, b"?")


async def test_a_handler_that_sends_without_end_to_a_peer_that_keeps_up():
    """It waits for nothing but the turns of others: that has to do for reading."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with pytest.raises(ClientConnectionResetError):
            while True:
                await ws.send_str("and so on")
        return ws

    async with meeting(handler) as peer:
        for said, answer in (
            (frame(PING, b"?"), frame(PONG, b"?", mask=None)),
            (close(), frame(CLOSE, b"\x03\xe8", mask=None)),
        ):
            await peer.send(said)
            for _ in range(100):
                if answer in await peer.stream.receive():
                    break
            else:
                pytest.fail(f"{said!r} was not answered")
