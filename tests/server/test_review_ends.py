"""Tasks that write or read at the very end of an exchange: what they may still do, and what becomes of them."""

import anyio
import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from tests.server.peers import FIELDS, GET, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings for the lane and for h11."""
    return ServerConfig(express=express)


async def test_nothing_follows_the_last_chunk(config: ServerConfig) -> None:
    """Not even while the end waits for a slow peer: it would be taken for the next response, or for a broken one."""
    refused: list[str] = []

    async def write_late(exchange: Exchange) -> None:
        try:
            await exchange.write(b"late")
        except RuntimeError as exc:
            refused.append(str(exc))

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS, chunked=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange.write, b"x" * 20_000)
            await anyio.sleep(1)
            tasks.start_soon(exchange.finish)
            tasks.start_soon(exchange.finish)
            await anyio.sleep(1)
            tasks.start_soon(write_late, exchange)

    async with serving(handler, config) as site:
        client = site.connect(1000)
        with fail_after(10):
            await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await anyio.sleep(5)
            answer = await client.receive_all()
    assert answer.endswith(b"x\r\n0\r\n\r\n")
    assert answer.count(b"\r\n0\r\n\r\n") == 1
    assert refused == ["cannot write: the response is finished, expected started"]
