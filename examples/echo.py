"""WebSockets: every message comes back as it was."""

from structweb import web


async def echo(request):
    ws = web.WebSocketResponse(max_msg_size=32 * 1024 * 1024)
    await ws.prepare(request)
    async for msg in ws:
        if msg.type == web.WSMsgType.TEXT:
            await ws.send_str(msg.data)
        elif msg.type == web.WSMsgType.BINARY:
            await ws.send_bytes(msg.data)
    return ws


def init_func(argv):
    app = web.Application()
    app.router.add_get("/", echo)
    return app
