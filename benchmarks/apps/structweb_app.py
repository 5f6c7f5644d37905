"""The application of the benchmarks, for structweb."""

from collections.abc import Awaitable, Callable

import anyio.lowlevel
from files import PIECE, folder

from structweb import web


async def plain(request: web.Request) -> web.Response:
    """Answer a short text."""
    return web.Response(text="Hello, world")


async def item(request: web.Request) -> web.Response:
    """Answer JSON made of the path."""
    return web.json_response({"id": request.match_info["id"], "name": "thing", "tags": ["a", "b", "c"]})


async def post(request: web.Request) -> web.Response:
    """Answer the number of keys in the JSON received."""
    return web.json_response({"keys": len(await request.json())})


async def suspend(request: web.Request) -> web.Response:
    """Answer after one trip through the scheduler."""
    await anyio.lowlevel.checkpoint()
    return web.Response(text="Hello, world")


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send every message back."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_bytes(message.data)
    return ws


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer 16 MB, 64 KB at a time."""
    response = web.StreamResponse()
    if request.query_string:
        response.content_length = 256 * len(PIECE)
    await response.prepare(request)
    for _ in range(256):
        await response.write(PIECE)
    await response.write_eof()
    return response


async def upload(request: web.Request) -> web.Response:
    """Answer the size of the body."""
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
    return web.json_response({"size": size})


async def form(request: web.Request) -> web.Response:
    """Answer the size of the parts of a form."""
    size = 0
    async for part in await request.multipart():
        while piece := await part.read_chunk(65536):
            size += len(piece)
    return web.json_response({"size": size})


@web.middleware
async def onion(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Do nothing, as a layer."""
    return await handler(request)


def make_app(middlewares: int = 0) -> web.Application:
    """Make the application, with so many middlewares."""
    app = web.Application(middlewares=[onion] * middlewares)
    app.router.add_get("/", plain)
    for n in range(24):
        app.router.add_get(f"/static{n}/page", plain)
        app.router.add_get(f"/r{n}/{{id}}", item)
    app.router.add_get("/item/{id}", item)
    app.router.add_post("/post", post)
    app.router.add_get("/suspend", suspend)
    app.router.add_get("/ws", echo)
    app.router.add_get("/stream", stream)
    app.router.add_post("/upload", upload)
    app.router.add_post("/form", form)
    app.router.add_static("/files", folder())
    return app


def plain_app(argv: list[str]) -> web.Application:
    """Make the application without middlewares."""
    return make_app()


def onion_app(argv: list[str]) -> web.Application:
    """Make the application with five middlewares."""
    return make_app(5)
