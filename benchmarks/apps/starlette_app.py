"""The application of the benchmarks, as ASGI on starlette, for uvicorn, hypercorn and granian."""

import anyio.lowlevel
from files import folder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket


async def plain(request: Request) -> Response:
    """Answer a short text."""
    return PlainTextResponse("Hello, world")


async def item(request: Request) -> Response:
    """Answer JSON made of the path."""
    return JSONResponse({"id": request.path_params["id"], "name": "thing", "tags": ["a", "b", "c"]})


async def post(request: Request) -> Response:
    """Answer the number of keys in the JSON received."""
    return JSONResponse({"keys": len(await request.json())})


async def suspend(request: Request) -> Response:
    """Answer after one trip through the scheduler."""
    await anyio.lowlevel.checkpoint()
    return PlainTextResponse("Hello, world")


async def echo(websocket: WebSocket) -> None:
    """Send every message back."""
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)


class Onion:
    """A middleware that does nothing, as a layer."""

    def __init__(self, app) -> None:  # noqa: ANN001 - as ASGI's users write it
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope, receive, send):  # noqa: ANN001, ANN204 - as ASGI's users write it
        """Pass everything on."""
        await self.app(scope, receive, send)


def make_app() -> Starlette:
    """Make the application."""
    routes = [Route("/", plain)]
    for n in range(24):
        routes += [Route(f"/static{n}/page", plain), Route(f"/r{n}/{{id}}", item)]
    routes += [Route("/item/{id}", item), Route("/post", post, methods=["POST"]), Route("/suspend", suspend)]
    routes.append(WebSocketRoute("/ws", echo))
    routes.append(Mount("/files", StaticFiles(directory=folder())))
    return Starlette(routes=routes)


plain_app = make_app()
onion_app = make_app()
for _ in range(5):
    onion_app.add_middleware(Onion)
