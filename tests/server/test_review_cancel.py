"""A connection that is cancelled at any moment: it ends, and its client sees an end."""

import anyio
import pytest
from anyio import fail_after
from anyio.lowlevel import checkpoint

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.reasons import CancelReason
from structweb.testing import ClientEnd
from tests.server.peers import FIELDS, GET, serving

pytestmark = pytest.mark.anyio

POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings for the lane and for h11."""
    return ServerConfig(express=express)


async def everything(exchange: Exchange) -> None:
    """Read and write at once, stream what was read, and leave some unread."""
    if exchange.refusal is not None:
        await exchange.respond(400, "", FIELDS, b"bad")
        return
    if exchange.head.block.upgrade:
        stream = await exchange.upgrade([("Upgrade", "x"), ("Connection", "upgrade")])
        await stream.send(await stream.receive())
        await stream.aclose()
        return
    await exchange.start(200, "OK", FIELDS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exchange.write, b"x" * 3000)
        await exchange.write(await exchange.body.receive() or b"nothing")
    await exchange.finish()


async def talk(client: ClientEnd) -> None:
    """Ask in all ways, and read until the server ends it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.receive_all)
        for piece in (GET, POST, b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n\r\n", GET + GET, UPGRADE, b"hello"):
            try:
                await client.send(piece)
            except anyio.BrokenResourceError:
                return
            for _ in range(5):
                await checkpoint()


async def test_cancelled_at_any_moment_it_ends(config: ServerConfig) -> None:
    """Whichever wait the cancellation meets: nothing hangs, nothing is left."""
    async with serving(everything, config) as site:
        for moment in range(100):
            client = site.connect(1000)
            with fail_after(1):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(talk, client)
                    for _ in range(moment):
                        await checkpoint()
                    for connection in tuple(site.engine.connections):
                        connection.cancel(CancelReason.SHUTDOWN)
                while site.engine.connections:  # noqa: ASYNC110  (the engine sets no event)
                    await anyio.sleep(0.01)
            client.close()


async def test_left_at_any_moment_it_ends(config: ServerConfig) -> None:
    """The same when it is the client who ends it."""
    async with serving(everything, config) as site:
        for moment in range(100):
            client = site.connect(1000)
            with fail_after(1):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(talk, client)
                    for _ in range(moment):
                        await checkpoint()
                    tasks.cancel_scope.cancel()
                client.reset()
                while site.engine.connections:  # noqa: ASYNC110  (the engine sets no event)
                    await anyio.sleep(0.01)
