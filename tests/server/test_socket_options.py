"""What the engine sets on the TCP sockets it serves."""

import socket

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.listeners import open_tcp
from structweb._server.transport import sockets
from tests.server.peers import FIELDS, GET

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


@pytest.mark.parametrize("keepalive", [True, False])
@pytest.mark.parametrize("inherits", [True, False])
async def test_tcp_sockets_get_their_options(keepalive: bool, inherits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """W-175: NODELAY always, KEEPALIVE where asked for; on systems that inherit options, and on those that do not."""
    if inherits and not sockets.INHERITS:
        pytest.skip("options are not inherited here")
    monkeypatch.setattr("structweb._server.lifecycle.INHERITS", inherits)
    seen: list[tuple[bool, bool]] = []

    async def handler(exchange: Exchange) -> None:
        sock = exchange.transport.get_extra_info("socket")
        seen.append((
            bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
            bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        ))  # fmt: skip
        await exchange.respond(200, "OK", FIELDS, b"")

    async with Engine(handler, ServerConfig(tcp_keepalive=keepalive)) as engine:
        (listener,) = await open_tcp("127.0.0.1", 0)
        engine.listen(listener)
        async with await anyio.connect_tcp("127.0.0.1", listener.address[1]) as client:
            await client.send(GET)
            await client.receive()
    assert seen == [(True, keepalive)]
