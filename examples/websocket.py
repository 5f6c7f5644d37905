"""A WebSocket: the handler of the first pages, with nothing changed but the import."""

import structweb
from structweb import web


async def websocket_handler(request):

    ws = web.WebSocketResponse()
    await ws.prepare(request)

    async for msg in ws:
        if msg.type == structweb.WSMsgType.TEXT:
            if msg.data == "close":
                await ws.close()
            else:
                await ws.send_str(msg.data + "/answer")
        elif msg.type == structweb.WSMsgType.ERROR:
            print("ws connection closed with exception %s" % ws.exception())

    print("websocket connection closed")

    return ws


def init_func(argv):
    app = web.Application()
    app.router.add_get("/ws", websocket_handler)
    return app
