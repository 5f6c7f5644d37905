"""A chat room in the browser: WebSockets, and one page that talks to them."""

from structweb import web

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Chat</title>
<ul id="log"></ul>
<form><input id="line" autocomplete="off" autofocus><button>Say</button></form>
<script>
  const log = document.getElementById("log"), line = document.getElementById("line");
  const show = text => log.appendChild(document.createElement("li")).textContent = text;
  const ws = new WebSocket(location.href.replace(/^http/, "ws") + "ws");
  ws.onopen = () => show("connected");
  ws.onmessage = event => { const {who, text} = JSON.parse(event.data); show(`${who}: ${text}`); };
  ws.onclose = event => show(`closed: ${event.code}`);
  document.forms[0].onsubmit = event => { event.preventDefault(); ws.send(line.value); line.value = ""; };
</script>
"""

ROOM = web.AppKey("ROOM", dict)


async def page(request):
    return web.Response(text=PAGE, content_type="text/html")


async def say(room, who, text):
    for ws in list(room):
        if not ws.closed:
            try:
                await ws.send_json({"who": who, "text": text})
            except ConnectionResetError:
                pass  # it left meanwhile: its own handler takes it out of the room


async def chat(request):
    ws = web.WebSocketResponse(heartbeat=30)
    await ws.prepare(request)
    room = request.app[ROOM]
    name = f"guest {len(room) + 1}"
    room[ws] = name
    await say(room, name, "has come")
    try:
        async for msg in ws:
            if msg.type == web.WSMsgType.TEXT:
                await say(room, name, msg.data)
    finally:
        del room[ws]
    await say(room, name, "has left")
    return ws


def init_func(argv):
    app = web.Application()
    app[ROOM] = {}
    app.router.add_get("/", page)
    app.router.add_get("/ws", chat)
    return app


if __name__ == "__main__":
    web.run_app(init_func([]))
