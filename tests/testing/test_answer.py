"""The body of a response, as the test client reads it."""

import gzip
import time

import anyio
import httpx
import pytest

from structweb import web
from structweb.testing import RawTestServer, TestClient

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", ["cancelled", "cut"])
async def test_what_was_not_read_is_no_end(fault: str):
    """A part of a body must not be taken for all of it, nor silence for the end."""

    async def pause(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part\nof it")
        await anyio.sleep(60)
        if fault == "cut":
            raise LookupError
        await response.write(b"the rest")
        return response

    async with TestClient(RawTestServer(pause, memory=True)) as client, client.get("/") as response:
        assert await response.content.readline() == b"part\n"
        if fault == "cancelled":
            with anyio.move_on_after(1) as scope:
                await response.read()
            assert scope.cancelled_caught
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await response.read()
        for read in (response.read, response.text, response.content.readline):
            with pytest.raises(httpx.ReadError, match="is lost"):
                await read()
        assert not response.content.at_eof()
        assert await response.content.readany() == b"of it"


async def test_large_bodies_take_time_in_proportion():
    """Two megabytes that arrive as one piece, line by line: seconds if what is left were copied with each."""

    async def lines(request: web.BaseRequest) -> web.Response:
        body = gzip.compress((b"x" * 63 + b"\n") * 2**15)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with TestClient(RawTestServer(lines, memory=True)) as client, client.get("/") as response:
        begin = time.process_time()
        count = 0
        async for line in response.content:
            count += len(line) == 64
        assert count == 2**15
        assert time.process_time() - begin < 1.5
