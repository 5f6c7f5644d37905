"""Becoming a WebSocket, and what is no handshake."""

import logging

import pytest

from structweb import web
from tests.web.frames import BINARY, KEY, TEXT, UPGRADE, Peer, connect, frame, meeting, text
from tests.web.served import get, serving
from tests.web.talk import app_of

pytestmark = pytest.mark.anyio


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=("chat", "superchat"))
    await ws.prepare(request)
    async for message in ws:
        if message.type is web.WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    return ws


async def test_an_echo():
    """Text comes back as text, bytes as bytes, and the close frame is answered."""
    async with meeting(echo) as peer:
        await peer.send(text("héllo"), frame(BINARY, b"\x00\xff"))
        assert await peer.next() == (TEXT, "héllo".encode(), 0)
        assert await peer.next() == (BINARY, b"\x00\xff", 0)
        assert (await peer.close(1001)).code == 1000


async def test_the_answer_proves_that_the_server_means_it():
    """The 101 has the key's answer, and neither length nor type of a body that it does not have."""
    async with serving(app_of(echo)) as served:
        answer = await served.ask("/", *UPGRADE)
    assert (answer.status, answer.headers["upgrade"], answer.headers["connection"]) == (101, "websocket", "upgrade")
    assert answer.headers["sec-websocket-accept"] == "s3pplmbitxaq9kygzzhzrbk+xoo="  # lower-cased by `answer`
    assert not {"content-length", "content-type", "transfer-encoding", "sec-websocket-protocol"} & set(answer.headers)


async def test_messages_right_behind_the_head_are_not_lost():
    """A client need not wait for the 101."""
    async with serving(app_of(echo)) as served:
        peer = await connect(served, behind=text("early"))
        assert (await peer.next()).payload == b"early"


@pytest.mark.parametrize(
    "fields",
    [
        UPGRADE[1:],
        ("Upgrade: h3c", *UPGRADE[1:]),
        (UPGRADE[0], *UPGRADE[2:]),
        (*UPGRADE[:2], UPGRADE[3]),
        (*UPGRADE[:2], "Sec-WebSocket-Key: c2hvcnQ=", UPGRADE[3]),
        (*UPGRADE[:2], "Sec-WebSocket-Key: ?", UPGRADE[3]),
        (*UPGRADE[:3], "Sec-WebSocket-Version: 12"),
        UPGRADE[:3],
    ],
    ids=["no upgrade", "another upgrade", "no connection", "no key", "short key", "no base64", "version", "no version"],
)
async def test_what_is_no_handshake_gets_400_and_the_connection_goes_on(fields: tuple[str, ...]):
    """The next request, pipelined, is served."""
    async with serving(app_of(echo)) as served:
        connection = served.connect()
        await connection.stream.send(get("/", *fields) + get("/", *UPGRADE) + text("after all"))
        refused = await connection.answer()
        assert (refused.status, bool(refused.text)) == (400, True)
        assert (await connection.answer()).status == 101
        assert (await Peer(connection).next()).payload == b"after all"


async def test_a_version_that_is_not_spoken_is_told_which_are():
    """RFC 6455 section 4.4."""
    async with serving(app_of(echo)) as served:
        answer = await served.ask("/", *UPGRADE[:3], "Sec-WebSocket-Version: 99")
    assert answer.headers["sec-websocket-version"] == "13, 8, 7"


@pytest.mark.parametrize("version", ["8", "7"])
async def test_old_versions_are_spoken(version: str):
    """As by aiohttp."""
    async with serving(app_of(echo)) as served:
        assert (await served.ask("/", *UPGRADE[:3], f"Sec-WebSocket-Version: {version}")).status == 101


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
async def test_any_method_will_do(method: str):
    """Which one is the router's business."""
    async with serving(app_of(echo)) as served:
        assert (await served.ask("/", *UPGRADE, method=method)).status == 101


async def test_a_handshake_with_a_body_is_refused():
    """Nobody could tell where the frames begin."""
    async with serving(app_of(echo)) as served:
        assert (await served.ask("/", *UPGRADE, method="POST", body=b"abc")).status == 400


async def test_the_clients_first_protocol_that_is_spoken_wins(caplog: pytest.LogCaptureFixture):
    """Without a common one none is sent, and the log has a warning."""
    async with serving(app_of(echo)) as served:
        answer = await served.ask("/", *UPGRADE, "Sec-WebSocket-Protocol: other, superchat, chat")
        assert answer.headers["sec-websocket-protocol"] == "superchat"
        assert not caplog.records
        answer = await served.ask("/", *UPGRADE, "Sec-WebSocket-Protocol: other, more")
        assert "sec-websocket-protocol" not in answer.headers
    assert [(record.name, record.levelno) for record in caplog.records] == [("structweb.websocket", logging.WARNING)]


async def test_the_protocol_is_known_to_the_handler():
    """As are the compression and the peer."""
    seen = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=["chat"])
        seen.append((ws.prepared, ws.ws_protocol, ws.compress, ws.closed, ws.close_code, ws.get_extra_info("peername")))
        await ws.prepare(request)
        seen.append((ws.prepared, ws.ws_protocol, ws.compress, ws.closed, ws.close_code))
        assert ws.get_extra_info("peername") is not None
        assert ws.get_extra_info("nothing", 7) == 7
        return ws

    offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"
    async with meeting(handler, "Sec-WebSocket-Protocol: chat", offer) as peer:
        assert (await peer.next()).code == 1000
    assert seen == [(False, None, True, False, None, None), (True, "chat", 10, False, None)]


async def test_can_prepare_tells_and_never_raises():
    """Behind prepare the question comes too late."""
    ready = []

    async def handler(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(protocols=["chat"])
        ready.append(ws.can_prepare(request))
        if not ready[-1]:
            return web.Response(text="no")
        await ws.prepare(request)
        with pytest.raises(RuntimeError, match="Already started"):
            ws.can_prepare(request)
        return ws

    async with serving(app_of(handler)) as served:
        assert (await served.ask("/")).text == "no"
        assert (await served.ask("/", *UPGRADE, "Sec-WebSocket-Protocol: chat")).status == 101
    assert ready == [web.WebSocketReady(ok=False, protocol=None), web.WebSocketReady(ok=True, protocol="chat")]


async def test_headers_cookies_and_signals_apply():
    """A 101 is a response like any other, up to its head."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        ws.headers["X-Mine"] = "yes"
        ws.set_cookie("a", "b")
        await ws.prepare(request)
        return ws

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Signed"] = str(response.status)

    app = app_of(handler)
    app.on_response_prepare.append(sign)
    async with serving(app) as served:
        headers = (await served.ask("/", *UPGRADE)).headers
    assert (headers["x-mine"], headers["x-signed"], headers["set-cookie"]) == ("yes", "101", "a=b; path=/")


async def test_nothing_works_before_prepare():
    """The error says what to call first."""
    ws = web.WebSocketResponse()
    for call in (
        ws.receive,
        ws.receive_str,
        ws.receive_bytes,
        ws.receive_json,
        ws.ping,
        ws.pong,
        ws.close,
        lambda: ws.send_str("a"),
        lambda: ws.send_bytes(b"a"),
        lambda: ws.send_json([]),
        lambda: ws.send_frame(b"a", web.WSMsgType.TEXT),
        ws.__aenter__,
    ):
        with pytest.raises(RuntimeError, match=r"prepare\(\) first"):
            await call()
    with pytest.raises(RuntimeError, match="has not been started"):
        await ws.write_eof()
    assert (ws.closed, ws.exception(), ws.queued, ws.dropped) == (False, None, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_slow": "panic"},
        {"heartbeat": 0},
        {"send_timeout": -1},
        {"writer_limit": -1},
        {"max_msg_size": -1},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]):
    """At once, by their names."""
    with pytest.raises(ValueError, match=r"on_slow|heartbeat|send_timeout|writer_limit|message"):
        web.WebSocketResponse(**wrong)


async def test_a_response_that_was_never_prepared_is_prepared():
    """Returning it is enough."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        return web.WebSocketResponse()

    async with meeting(handler) as peer:
        assert (await peer.next()).code == 1000
        await peer.send(frame(8, b"\x03\xe8"))
        assert await peer.rest() == b""


def test_the_key_of_these_tests_is_that_of_the_rfc():
    """Section 1.3."""
    assert KEY == "dGhlIHNhbXBsZSBub25jZQ=="
