"""Tasks of asyncio that are cancelled as asyncio does it, once or again and again, at any moment."""

import asyncio

import anyio
import anyio.lowlevel
import pytest

from structweb import jobs, web
from structweb.testing import memory_pipe

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(autouse=True)
def on_asyncio(anyio_backend_name):
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has tasks that anybody may cancel")


def cycle(error: BaseException | None) -> bool:
    """Tell whether an exception is, directly or not, its own context: who follows those would do so for ever."""
    seen: list[BaseException] = []
    while error is not None:
        if error in seen:
            return True
        seen.append(error)
        error = error.__context__
    return False


@pytest.mark.parametrize("again", range(12))
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_server_that_is_cancelled_again_and_again_ends(again: int, times: int):
    """Ctrl+C does that, beyond the second one: so many turns of the loop after the last one each time."""
    cleaned: list[str] = []

    async def context(app: web.Application):
        yield
        cleaned.append("context")

    async def wait(request: web.Request) -> web.Response:
        await anyio.sleep(5)
        return web.Response()

    async def serve() -> None:
        app = web.Application()
        app.cleanup_ctx.append(context)
        jobs.setup(app)
        app.router.add_get("/", wait)
        async with web.AppRunner(app, access_log=None) as runner:
            client, server = memory_pipe()
            visit = asyncio.create_task(runner.server(server))
            await client.send(GET)
            try:
                await anyio.sleep_forever()
            finally:
                visit.cancel()

    server = asyncio.create_task(serve())
    await anyio.sleep(1)
    for _ in range(times):
        server.cancel()
        for _ in range(again):
            await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError) as ended:
        await server
    assert cleaned == ["context"]
    assert not cycle(ended.value)
