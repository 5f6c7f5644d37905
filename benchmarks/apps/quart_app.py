"""The application of the benchmarks, for quart-trio on hypercorn."""

import trio
from files import folder
from quart import request, websocket
from quart_trio import QuartTrio

plain_app = QuartTrio(__name__, static_folder=folder(), static_url_path="/files")


@plain_app.get("/")
async def plain() -> str:
    """Answer a short text."""
    return "Hello, world"


@plain_app.get("/item/<name>")
async def item(name: str) -> dict[str, object]:
    """Answer JSON made of the path."""
    return {"id": name, "name": "thing", "tags": ["a", "b", "c"]}


@plain_app.post("/post")
async def post() -> dict[str, int]:
    """Answer the number of keys in the JSON received."""
    return {"keys": len(await request.get_json())}


@plain_app.get("/suspend")
async def suspend() -> str:
    """Answer after one trip through the scheduler."""
    await trio.lowlevel.checkpoint()
    return "Hello, world"


@plain_app.websocket("/ws")
async def echo() -> None:
    """Send every message back."""
    while True:
        await websocket.send(await websocket.receive())


for n in range(24):
    plain_app.add_url_rule(f"/static{n}/page", endpoint=f"page{n}", view_func=plain)
    plain_app.add_url_rule(f"/r{n}/<name>", endpoint=f"r{n}", view_func=item)
