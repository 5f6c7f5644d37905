"""A guest book: the application that the tests beside it test."""

import anyio

from structweb import web

ENTRIES = web.AppKey("entries", dict[int, str])


async def index(request):
    return web.json_response({str(key): text for key, text in request.app[ENTRIES].items()})


async def sign(request):
    form = await request.post()
    if not form.get("text"):
        raise web.HTTPBadRequest(text="write something")
    entries = request.app[ENTRIES]
    key = len(entries) + 1
    entries[key] = form["text"]
    response = web.json_response({"id": key}, status=201)
    response.set_cookie("last", str(key))
    return response


async def entry(request):
    try:
        text = request.app[ENTRIES][int(request.match_info["key"])]
    except KeyError:
        raise web.HTTPNotFound(text="no such entry") from None
    return web.Response(text=text)


async def replace(request):
    request.app[ENTRIES][int(request.match_info["key"])] = (await request.json())["text"]
    return web.Response(status=204)


async def erase(request):
    request.app[ENTRIES].pop(int(request.match_info["key"]), None)
    return web.Response(status=204)


async def mine(request):
    last = request.cookies.get("last")
    if last is None:
        raise web.HTTPFound("/entries")
    raise web.HTTPFound(f"/entries/{last}")


async def export(request):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    for text in request.app[ENTRIES].values():
        await response.write(text.encode() + b"\n")
    return response


async def live(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_json({"entries": len(request.app[ENTRIES]), "said": message.data})
    return ws


async def wait(request):
    await anyio.sleep(float(request.query["seconds"]))
    return web.Response(text="waited")


@web.middleware
async def stamp(request, handler):
    response = await handler(request)
    response.headers["X-Guest-Book"] = "1"
    return response


def make_app():
    app = web.Application(middlewares=[stamp])
    app[ENTRIES] = {}
    app.router.add_get("/entries", index)
    app.router.add_post("/entries", sign)
    app.router.add_get(r"/entries/{key:\d+}", entry, name="entry")
    app.router.add_put(r"/entries/{key:\d+}", replace)
    app.router.add_delete(r"/entries/{key:\d+}", erase)
    app.router.add_get("/mine", mine)
    app.router.add_get("/export", export)
    app.router.add_get("/live", live)
    app.router.add_get("/wait", wait)
    return app
