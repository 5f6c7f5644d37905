"""Chromium without a window, driven through its own debugging protocol: JSON over a WebSocket, ours."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream

from structweb.testing import ClientWebSocket, connect_websocket

PATIENCE = 60  # seconds before a test that waits for the browser fails
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # it may be root who runs the tests, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--ignore-certificate-errors",  # the tests' own authority is nobody's
    "--remote-debugging-port=0",
)
#: Fulfilled when the page shows TEXT.
SHOWS = """new Promise(done => {
    const look = () => document.body?.innerText.includes(TEXT) ? done(true) : setTimeout(look, 10);
    look();
})"""


def find() -> str | None:
    """Return the path of a Chromium, None where there is none; the environment's CHROMIUM goes first."""
    return next((path for name in (os.environ.get("CHROMIUM", ""), *NAMES) if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, devtools: ClientWebSocket) -> None:
        self._devtools = devtools
        self._numbers = count(1)
        self._session: str | None = None

    async def open(self, url: str) -> None:
        """Open a new tab, and wait until it has loaded."""
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self._call("Page.enable")
        await self._call("Page.navigate", url=url)
        with anyio.fail_after(PATIENCE):
            while (await self._devtools.receive_json()).get("method") != "Page.loadEventFired":
                pass

    async def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        answer = await self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def shows(self, text: str) -> None:
        """Wait until the page shows `text`."""
        await self.run(SHOWS.replace("TEXT", json.dumps(text)))

    async def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        order: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            order["sessionId"] = self._session
        await self._devtools.send_json(order)
        with anyio.fail_after(PATIENCE):
            while (answer := await self._devtools.receive_json()).get("id") != number:
                pass  # an event
        assert "result" in answer, answer
        return answer["result"]


@asynccontextmanager
async def browsing() -> AsyncIterator[Page]:
    """Start a browser with a profile of its own; yield its page, which has to open something."""
    program = find()
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        async with _running([program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]):
            address = await _devtools(Path(folder))
            async with await connect_websocket(address, max_msg_size=0) as devtools:
                yield Page(devtools)


@asynccontextmanager
async def _running(command: list[str]) -> AsyncIterator[None]:
    """Run a program, and at the end kill it with all its children; wait until the last of them is gone.

    Killing the browser alone lets its children write into the profile while that is being removed.
    """
    process = await anyio.open_process(command, stdin=None, stderr=subprocess.STDOUT, start_new_session=True)
    assert process.stdout is not None
    async with process, anyio.create_task_group() as group:
        group.start_soon(_drain, process.stdout)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


async def _drain(output: ByteReceiveStream) -> None:
    """Read until the last of those who write to it has ended."""
    with anyio.CancelScope(shield=True), anyio.fail_after(3 * PATIENCE):
        async for _ in output:
            pass


async def _devtools(folder: Path) -> str:
    """Wait until the browser has written where it listens, and return that."""
    file = anyio.Path(folder / "DevToolsActivePort")
    with anyio.move_on_after(PATIENCE):
        while True:
            lines = (await file.read_text()).split() if await file.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            await anyio.sleep(0.05)
    raise AssertionError(f"the browser does not listen after {PATIENCE} seconds")
