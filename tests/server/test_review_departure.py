"""What counts as a departure where a FIN does not (half_close="serve")."""

from pathlib import Path

import anyio
import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.links import SocketPeer, server_context, socket_pair, turns
from tests.server.peers import FIELDS, GET, serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


async def test_over_tls_who_leaves_without_a_goodbye_is_gone(tmp_path: Path) -> None:
    """Only close_notify says that a peer means to read on; a bare FIN may be anybody's."""
    cancelled = anyio.Event()

    async def handler(exchange: Exchange) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(handler, ServerConfig(half_close="serve")) as site:
        client, server = socket_pair("tls", tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(server_context(), server, None)
        try:
            with fail_after(5):
                await peer.shake_hands()
                await peer.send(GET)
                await turns()
                await peer.half_close()  # a FIN, and no close_notify before it
                await cancelled.wait()
        finally:
            peer.vanish()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_fin_is_only_an_end_of_sending(kind: str, tmp_path: Path) -> None:
    """The response still goes out."""

    async def handler(exchange: Exchange) -> None:
        await anyio.sleep(0.05)
        await exchange.respond(200, "OK", FIELDS, b"late")

    async with serving(handler, ServerConfig(half_close="serve")) as site:
        client, server = socket_pair(kind, tmp_path)
        peer = SocketPeer(client)
        site.engine._admit(None, server, None)
        try:
            with fail_after(5):
                await peer.send(GET)
                await turns(3)
                await peer.half_close()
                assert (await peer.receive()).endswith(b"late")
        finally:
            peer.vanish()
