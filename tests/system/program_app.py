"""The application of the processes that these tests start: ``structweb serve tests.system.program_app:make_app``."""

import gc
import hashlib
import sys
from pathlib import Path

import anyio

from structweb import web


class Doors:
    """What lets waiting handlers go on."""

    def __init__(self) -> None:
        self.open = anyio.Event()
        self.waiting = 0


DOORS = web.AppKey("DOORS", Doors)


async def ping(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.app[DOORS].waiting} waiting")


async def blocks(request: web.Request) -> web.Response:
    """Tell how many pieces of memory the interpreter has given out, once all garbage is collected."""
    gc.collect()
    return web.Response(text=str(sys.getallocatedblocks()))


async def release(request: web.Request) -> web.Response:
    doors = request.app[DOORS]
    doors.open.set()
    doors.open = anyio.Event()
    return web.Response()


async def wait(request: web.Request) -> web.Response:
    doors = request.app[DOORS]
    doors.waiting += 1
    await doors.open.wait()
    return web.Response(text="waited")


async def number(request: web.Request) -> web.Response:
    return web.Response(text=request.match_info["number"])


async def digest(request: web.Request) -> web.Response:
    """Read the body, once the doors are open."""
    doors = request.app[DOORS]
    doors.waiting += 1
    await doors.open.wait()
    total = hashlib.sha256()
    async for piece in request.content.iter_any():
        total.update(piece)
    return web.Response(text=total.hexdigest())


async def upload(request: web.Request) -> web.Response:
    request.app[DOORS].waiting += 1
    await request.read()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    request.app[DOORS].waiting += 1
    while True:
        await response.write(b"x" * 16384)
        await anyio.sleep(0.01)


async def idle(request: web.Request) -> web.WebSocketResponse:
    """Echo, on a WebSocket."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


async def flood(request: web.Request) -> web.WebSocketResponse:
    """Send a lot on a WebSocket, under a policy for slow peers; when that is over, in whatever way, wait."""
    ws = web.WebSocketResponse(on_slow=request.match_info["policy"])
    await ws.prepare(request)
    message = bytes(65536)
    try:
        for _ in range(int(request.match_info["count"])):
            await ws.send_bytes(message)
    except ConnectionResetError:
        pass  # it was too slow
    request.app[DOORS].waiting += 1
    async for _ in ws:
        pass
    return ws


async def parts(request: web.Request) -> web.Response:
    """Tell how many bytes the parts of a form have."""
    size = 0
    async for part in await request.multipart():
        while piece := await part.read_chunk(65536):
            size += len(piece)
    return web.Response(text=str(size))


async def pieces(request: web.Request) -> web.StreamResponse:
    """Stream so many pieces of 64 KB."""
    response = web.StreamResponse()
    await response.prepare(request)
    piece = bytes(65536)
    for _ in range(int(request.match_info["count"])):
        await response.write(piece)
    return response


def make_app(argv: list[str]) -> web.Application:
    """Take the path of a folder, where clean-up writes, and how many seconds clean-up takes."""
    folder, seconds = Path(argv[0]), float(argv[1])

    async def house(app: web.Application):
        app[DOORS] = Doors()
        yield
        (folder / "cleaning").touch()
        await anyio.sleep(seconds)
        (folder / "cleaned").touch()

    app = web.Application()
    app.cleanup_ctx.append(house)
    app.add_routes(
        [
            web.get("/ping", ping),
            web.get("/blocks", blocks),
            web.get("/release", release),
            web.get("/wait", wait),
            web.get("/number/{number}", number),
            web.post("/digest", digest),
            web.post("/upload", upload),
            web.get("/endless", endless),
            web.get("/idle", idle),
            web.get("/flood/{policy}/{count}", flood),
            web.post("/parts", parts),
            web.get("/pieces/{count}", pieces),
            web.static("/files", folder),
        ]
    )
    return app
