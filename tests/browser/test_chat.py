"""A browser in the room of examples/chat.py, over ws:// and wss://."""

import anyio
import pytest

from examples import chat
from structweb import web
from structweb.testing import connect_websocket
from tests.browser import chromium
from tests.server.links import client_context, server_context

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.browser,
    pytest.mark.real_backends,
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium: apt install chromium, or set CHROMIUM"),
]


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_a_browser_chats(secure):
    app = chat.init_func([])
    context = server_context() if secure else None
    with anyio.fail_after(3 * chromium.PATIENCE):
        async with chromium.browsing() as page:
            async with web.AppRunner(app, access_log=None, shutdown_timeout=10) as runner:
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
                host = f"localhost:{runner.addresses[0][1]}"
                await page.open(f"http{'s' if secure else ''}://{host}/")
                await page.shows("guest 1: has come")
                await talk(page, f"ws{'s' if secure else ''}://{host}/ws", secure)
            await page.shows("closed: 1001")


async def talk(page, url, secure):
    """Say something in the page and beside it; each hears the other."""
    context = client_context() if secure else None
    async with await connect_websocket(url, compress=True, ssl_context=context) as other:
        assert await other.receive_json() == {"who": "guest 2", "text": "has come"}
        await page.shows("guest 2: has come")
        await page.run("line.value = 'grüß <b>dich</b>'; document.querySelector('button').click()")
        assert await other.receive_json() == {"who": "guest 1", "text": "grüß <b>dich</b>"}
        await page.shows("guest 1: grüß <b>dich</b>")
        await other.send_str("y" * 100_000)
        assert (await other.receive_json())["text"] == "y" * 100_000
        await page.shows("guest 2: " + "y" * 100_000)
        assert await page.run("ws.extensions") == "permessage-deflate"
    await page.shows("guest 2: has left")
    assert await page.run("ws.readyState") == 1
