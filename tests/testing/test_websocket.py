"""The WebSocket client, judged by wsproto's server at the other end of a pipe."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from structweb.testing import (
    ClientWebSocket,
    WebSocketHandshakeError,
    connect_websocket,
    memory_pipe,
    open_websocket,
)
from structweb.web import WSMsgType
from tests.testing.wsproto_server import Server

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def meeting(accept: AcceptConnection | None = None, **options: object) -> AsyncIterator[tuple]:
    """Open a WebSocket; yield the client, the server, and what the client asked for."""
    near, far = memory_pipe()
    server = Server(far)
    asked: list[object] = []

    async def answer() -> None:
        asked.append(await server.hears())
        await server.says(accept or AcceptConnection())

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        client = await open_websocket(near, "/chat?room=1", **options)
    async with far:
        yield client, server, asked[0]
        await client.stream.aclose()


# -- the handshake


async def test_it_asks_as_the_rfc_has_it():
    accept = AcceptConnection(subprotocol="chat.2", extra_headers=[(b"X-Answer", b"42")])
    options = {"protocols": ["chat.1", "chat.2"], "headers": [("Origin", "http://here")], "host": "example.org:81"}
    async with meeting(accept, **options) as (client, _, request):
        assert isinstance(request, Request)
        assert (request.host, request.target) == ("example.org:81", "/chat?room=1")
        assert request.subprotocols == ["chat.1", "chat.2"]
        assert (b"origin", b"http://here") in request.extra_headers
        assert client.protocol == "chat.2"
        assert client.headers["x-answer"] == "42"
        assert not client.compressed
        assert not client.closed
        assert client.close_code is None


@pytest.mark.parametrize(
    "answer",
    [
        [RejectConnection(status_code=403, headers=[(b"X-Why", b"so")], has_body=True), RejectData(b"no", True)],
        [RejectConnection(status_code=403, headers=[(b"X-Why", b"so"), (b"content-length", b"2")], has_body=True),
         RejectData(b"no", True)],
    ],
    ids=["to the end", "with a length"],
)  # fmt: skip
async def test_an_answer_that_is_no_websocket(answer):
    near, far = memory_pipe()

    async def refuse() -> None:
        async with far:
            server = Server(far)
            await server.hears()
            await server.says(*answer)

    async with anyio.create_task_group() as group:
        group.start_soon(refuse)
        with pytest.raises(WebSocketHandshakeError, match="expected status 101, got 403") as caught:
            await open_websocket(near)
    assert (caught.value.status, caught.value.headers["x-why"], caught.value.body) == (403, "so", b"no")
    with pytest.raises(anyio.ClosedResourceError):
        await near.receive()


async def test_a_handshake_that_lies():
    near, far = memory_pipe()
    await far.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
    )
    with pytest.raises(WebSocketHandshakeError, match="expected Sec-WebSocket-Accept"):
        await open_websocket(near)


async def test_a_server_that_does_not_answer():
    near, far = memory_pipe()
    async with far:
        with pytest.raises(TimeoutError):
            await open_websocket(near)


# -- messages


@pytest.mark.parametrize("express", [True, False])
async def test_messages_in_both_directions(express):
    async with meeting(express=express) as (client, server, _):
        await client.send_str("häh")
        await client.send_bytes(b"\0\1")
        await client.send_json({"a": 1})
        assert [await server.hears() for _ in range(3)] == [
            TextMessage("häh"), BytesMessage(b"\0\1"), TextMessage('{"a": 1}'),
        ]  # fmt: skip
        await server.says(TextMessage("ja"), BytesMessage(b"\2"), TextMessage("[2]"))
        assert await client.receive_str() == "ja"
        assert await client.receive_bytes() == b"\2"
        assert await client.receive_json() == [2]
        with pytest.raises(TypeError, match="data must be str, got bytes"):
            await client.send_str(b"x")


async def test_fragments_are_one_message():
    async with meeting() as (client, server, _):
        await server.says(TextMessage("a", message_finished=False), Ping(b"!"), TextMessage("b"))
        assert (await client.receive())[:2] == (WSMsgType.TEXT, "ab")
        assert await server.hears() == Pong(b"!")


async def test_compressed():
    accept = AcceptConnection(extensions=[PerMessageDeflate()])
    async with meeting(accept, compress=True) as (client, server, _):
        assert client.compressed
        await client.send_str("x" * 1000)
        assert await server.hears() == TextMessage("x" * 1000)
        await server.says(TextMessage("y" * 1000))
        assert await client.receive_str() == "y" * 1000


async def test_pings_by_hand():
    async with meeting(autoping=False) as (client, server, _):
        await client.ping(b"1")
        assert await server.hears() == Ping(b"1")
        await server.says(Pong(b"1"), Ping(b"2"))
        assert (await client.receive())[:2] == (WSMsgType.PONG, b"1")
        assert (await client.receive())[:2] == (WSMsgType.PING, b"2")
        await client.pong(b"2")
        assert await server.hears() == Pong(b"2")


async def test_the_wrong_kind_of_message():
    async with meeting() as (client, server, _):
        await server.says(BytesMessage(b"1"))
        with pytest.raises(TypeError, match=r"expected TEXT, got BINARY b'1'"):
            await client.receive_str()


async def test_a_timeout_leaves_it_usable():
    async with meeting() as (client, server, _):
        with pytest.raises(TimeoutError):
            await client.receive(timeout=5)
        await server.says(TextMessage("late"))
        assert await client.receive_str() == "late"


async def test_one_receives():
    async with meeting() as (client, server, _), anyio.create_task_group() as group:
        group.start_soon(client.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="only one may receive"):
            await client.receive()
        await server.says(TextMessage("that is enough"))


async def test_too_long_a_message():
    async with meeting(max_msg_size=10) as (client, server, _):
        await server.says(TextMessage("x" * 11))
        message = await client.receive()
        assert message.type is WSMsgType.ERROR
        assert client.exception() is message.data
        assert client.close_code == 1009
        told = await server.hears()
        assert isinstance(told, CloseConnection)
        assert told.code == 1009


# -- the end


async def answer_close(server: Server) -> CloseConnection:
    while not isinstance(event := await server.hears(), CloseConnection):
        assert event is not None
    await server.says(CloseConnection(event.code, "bye"))
    await server.stream.aclose()
    return event


async def test_we_close():
    """What comes before the server's close frame is dropped."""
    async with meeting() as (client, server, _), anyio.create_task_group() as group:
        await server.says(TextMessage("unheard"))
        group.start_soon(answer_close, server)
        assert await client.close(code=4000, message="enough")
        assert (client.closed, client.close_code) == (True, 4000)
        assert not await client.close()
        assert (await client.receive()).type is WSMsgType.CLOSED
        with pytest.raises(ConnectionResetError):
            await client.send_str("too late")


async def test_the_block_closes():
    async with meeting() as (client, server, _), anyio.create_task_group() as group:
        group.start_soon(answer_close, server)
        async with client:
            pass
        assert client.close_code == 1000


async def test_the_server_closes():
    """Its frame ends the iteration, and is answered."""
    async with meeting() as (client, server, _):
        await server.says(TextMessage("1"), CloseConnection(1001, "gone"))
        assert [message.data async for message in client] == ["1"]
        assert client.close_code == 1001
        assert await server.hears() == CloseConnection(1001, "")


async def test_the_servers_close_is_a_message():
    async with meeting() as (client, server, _):
        await server.says(CloseConnection(1001, "gone"))
        assert tuple(await client.receive()) == (WSMsgType.CLOSE, 1001, "gone")
        assert (await client.receive()).type is WSMsgType.CLOSED


async def test_close_wakes_who_receives():
    got = []

    async def listen(client: ClientWebSocket) -> None:
        got.append(await client.receive())

    async with meeting() as (client, server, _), anyio.create_task_group() as group:
        group.start_soon(listen, client)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(answer_close, server)
        await client.close()
        assert got == [(WSMsgType.CLOSE, 1000, "bye")]


@pytest.mark.parametrize("patience", [None, 1])
async def test_close_goes_on_for_who_receives_no_longer(patience):
    """A message of before is dropped for that task as well; when it gives up, `close` waits for the frame itself."""
    got = []

    async def listen(client: ClientWebSocket) -> None:
        with anyio.move_on_after(patience):
            got.append(await client.receive())
        await anyio.sleep(0.1)
        got.append(await client.receive())

    async def take_time(server: Server) -> None:
        await anyio.sleep(0.5)
        await server.says(TextMessage("unheard"))
        await anyio.sleep(1.5)
        await answer_close(server)

    async with meeting(close_timeout=3) as (client, server, _), anyio.create_task_group() as group:
        group.start_soon(listen, client)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(take_time, server)
        begin = anyio.current_time()
        await client.close()
        assert (client.close_code, anyio.current_time() - begin) == (1000, 2)
    closed = (WSMsgType.CLOSED, None, None)
    assert got == ([(WSMsgType.CLOSE, 1000, "bye"), closed] if patience is None else [closed])


async def test_a_close_that_is_given_up_leaves_reading_to_others():
    async with meeting() as (client, server, _):
        with anyio.move_on_after(1):
            await client.close()

        async with anyio.create_task_group() as group:
            group.start_soon(answer_close, server)
            assert tuple(await client.receive()) == (WSMsgType.CLOSE, 1000, "bye")


async def test_a_server_that_does_not_close():
    async with meeting(close_timeout=3) as (client, _, _):
        start = anyio.current_time()
        assert await client.close()
        assert anyio.current_time() - start == pytest.approx(3)
        assert client.close_code == 1006


@pytest.mark.parametrize("busy", [True, False])
async def test_a_server_that_does_not_even_read(busy):
    """The close frame cannot be sent, itself or because another task's message is still on its way."""
    async with meeting(close_timeout=3) as (client, _, _), anyio.create_task_group() as group:

        async def flood() -> None:
            with pytest.raises(ConnectionResetError):
                await client.send_bytes(bytes(10**6))

        if busy:
            group.start_soon(flood)
            await anyio.wait_all_tasks_blocked()
        else:
            await client.send_bytes(bytes(65536 - 14))  # just what the pipe takes
        begin = anyio.current_time()
        with anyio.fail_after(60):
            await client.close()
        assert (client.close_code, anyio.current_time() - begin) == (1006, 3)


@pytest.mark.parametrize("compress", [False, True])
async def test_a_message_that_is_cut_is_the_last_one(compress):
    """Whatever came behind it would be taken for the rest of it."""
    accept = AcceptConnection(extensions=[PerMessageDeflate()] if compress else [])
    async with meeting(accept, compress=compress) as (client, server, _):
        assert client.compressed is compress
        with anyio.move_on_after(1):
            await client.send_bytes(random.Random(1).randbytes(10**6))
        for send in (client.send_str, client.send_json):
            with pytest.raises(ConnectionResetError, match="half-way"), anyio.fail_after(60):
                await send("behind")
        assert await client.close()
        assert not await client.close()
        assert client.close_code == 1006
        while (event := await server.hears()) is not None:
            assert not event.message_finished


async def test_a_message_that_was_cut_before_it_left_changes_nothing():
    async with meeting() as (client, server, _):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.send_str("never")
        await client.send_str("there")
        assert (await server.hears()).data == "there"


@pytest.mark.parametrize("end", ["eof", "reset"])
async def test_a_server_that_goes(end):
    async with meeting() as (client, server, _):
        if end == "eof":
            await server.stream.aclose()
        else:
            server.stream.reset()
        assert (await client.receive()).type is WSMsgType.CLOSED
        assert client.close_code == 1006
        assert (client.exception() is None) == (end == "eof")


async def test_a_masked_frame_is_an_error():
    async with meeting() as (client, server, _):
        await server.stream.send(b"\x81\x81\0\0\0\0x")
        message = await client.receive()
        assert (message.type, message.data.code) == (WSMsgType.ERROR, 1002)


# -- faults


async def test_raw_bytes_and_half_a_connection():
    async with meeting() as (client, server, _):
        await client.send_raw(b"\x89\x80\0\0\0\0")
        assert await server.hears() == Ping(b"")
        await client.half_close()
        assert await server.hears() is None
        await server.says(TextMessage("still here"))
        assert await client.receive_str() == "still here"


async def test_stalling():
    async with meeting() as (client, server, _), anyio.create_task_group() as group:
        client.stall()
        await server.says(TextMessage("1"))
        with pytest.raises(TimeoutError):
            await client.receive(timeout=60)
        group.start_soon(client.receive_str)
        client.resume()


@pytest.mark.parametrize("fault", ["reset", "vanish"])
async def test_leaving(fault):
    async with meeting() as (client, server, _):
        async with client:
            getattr(client, fault)()
            assert client.closed
        if fault == "vanish":
            assert await server.hears() is None
        else:
            with pytest.raises(anyio.BrokenResourceError):
                await server.hears()


async def test_an_exception_hangs_up():
    async with meeting() as (client, server, _):
        with pytest.raises(KeyError):
            async with client:
                raise KeyError
        assert await server.hears() is None


@pytest.mark.parametrize("url", ["ftp://localhost/", "/chat", "ws:///chat"])
async def test_a_url_must_be_one_of_a_websocket(url):
    with pytest.raises(ValueError, match="expected ws://HOST/PATH"):
        await connect_websocket(url)


async def test_a_message_in_many_fragments():
    """It comes whole; while it is read, others have their turn."""
    async with meeting() as (client, server, _), anyio.create_task_group() as group:
        group.start_soon(server.stream.send, b"\x01\x01a" + b"\0\0" * 5000 + b"\x80\x01b")
        assert await client.receive_str() == "ab"
