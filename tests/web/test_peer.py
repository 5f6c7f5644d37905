"""`request.transport` closes the connection without passing a cut response off as a whole one."""

import anyio
import pytest

from structweb import web
from tests.web.loopback import connect

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


@pytest.mark.parametrize("ending", ["close", "abort"])
async def test_a_response_without_a_length_is_not_ended_but_reset(ending: str):
    """To an HTTP/1.0 client a FIN is the end of the body: it must get a RST."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half of it")
        assert request.transport is not None
        getattr(request.transport, ending)()
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    async with web.AppRunner(app) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with await connect(site.addresses[0]) as stream:
            await stream.send(b"GET / HTTP/1.0\r\n\r\n")
            with anyio.fail_after(10), pytest.raises(anyio.BrokenResourceError):
                while True:
                    await stream.receive()
