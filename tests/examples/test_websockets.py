"""WebSockets: the first handler, the echo, the chat, and who may do what from which task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from examples import chat, echo, websocket
from structweb import WSMsgType, web
from structweb.testing import ClientWebSocket, connect_websocket
from tests.examples.client import PATIENCE, Client

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Run `app` on a free port; yield where its WebSockets are."""
    with anyio.fail_after(PATIENCE):
        async with web.AppRunner(app, access_log=None) as runner:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield f"ws://{host}:{port}"


async def test_the_first_handler(capsys: pytest.CaptureFixture[str]):
    """S-58: each text is answered, until one says close."""
    async with serving(websocket.init_func([])) as url, await connect_websocket(f"{url}/ws") as ws:
        for text in ("one", "two"):
            await ws.send_str(text)
            assert await ws.receive_str() == f"{text}/answer"
        await ws.send_str("close")
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1000)
        await ws.wait_ended()
    assert capsys.readouterr().out == "websocket connection closed\n"


async def test_a_broken_rule_is_a_message(capsys: pytest.CaptureFixture[str]):
    """S-59: the loop gets ERROR, and exception() tells what it was."""
    async with serving(websocket.init_func([])) as url, await connect_websocket(f"{url}/ws") as ws:
        await ws.send_raw(b"\x83\x80\0\0\0\0")  # an opcode that does not exist
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1002)
        await ws.close()
        await ws.wait_ended()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("ws connection closed with exception ")
    assert "opcode" in first
    assert second == "websocket connection closed"


async def test_it_is_a_get_like_any_other():
    """S-58: without a handshake it is a 400, and the connection may ask again."""
    async with serving(websocket.init_func([])) as url:
        port = int(url.rpartition(":")[2])
        async with Client("127.0.0.1", port) as client:
            for _ in range(2):
                assert (await client.ask("GET", "/ws")).status == 400


async def test_writing_closing_and_cancelling_elsewhere():
    """S-60: other tasks may send and close; only one may receive."""
    refused = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)

        async def elsewhere() -> None:
            await ws.send_str("from elsewhere")
            try:
                await ws.receive()
            except RuntimeError as exc:
                refused.append(str(exc))
            await ws.close(code=4000)

        async with anyio.create_task_group() as group:
            first = await ws.receive()
            assert first.data == "begin"
            group.start_soon(elsewhere)
            refused.append((await ws.receive()).type)
        return ws

    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as url, await connect_websocket(url) as ws:
        await ws.send_str("begin")
        assert await ws.receive_str() == "from elsewhere"
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 4000)
    assert refused == ["Concurrent call to receive() is not allowed", WSMsgType.CLOSING]


@pytest.mark.parametrize("compress", [False, True])
async def test_echo(compress):
    """S-58: text and bytes come back, long ones too."""
    async with (
        serving(echo.init_func([])) as url,
        await connect_websocket(url, compress=compress, max_msg_size=0) as ws,
    ):
        assert ws.compressed == compress
        await ws.send_str("grüß dich")
        assert await ws.receive_str() == "grüß dich"
        for size in (0, 125, 126, 65535, 65536, 5_000_000):
            data = bytes(n & 255 for n in range(256)) * (size // 256) + b"x" * (size % 256)
            async with anyio.create_task_group() as group:
                group.start_soon(ws.send_bytes, data)
                assert await ws.receive_bytes() == data


async def heard(ws: ClientWebSocket, count: int) -> list[str]:
    return [f"{said['who']}: {said['text']}" for said in [await ws.receive_json() for _ in range(count)]]


async def test_chat():
    """S-58: everybody hears everybody, and who leaves is missed."""
    async with serving(chat.init_func([])) as url, await connect_websocket(f"{url}/ws") as one:
        async with await connect_websocket(f"{url}/ws") as two:
            assert await heard(one, 2) == ["guest 1: has come", "guest 2: has come"]
            await two.send_str("hello")
            assert await heard(two, 2) == ["guest 2: has come", "guest 2: hello"]
            await one.send_str("hello yourself")
            assert await heard(two, 1) == ["guest 1: hello yourself"]
            two.reset()
        assert await heard(one, 3) == ["guest 2: hello", "guest 1: hello yourself", "guest 2: has left"]
