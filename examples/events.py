"""A clock that browsers listen to: server-sent events, and a page for them."""

import anyio

from structweb import web

PAGE = """<!DOCTYPE html>
<title>Clock</title>
<p>Ticks: <output></output></p>
<script>
  const source = new EventSource("/ticks");
  source.addEventListener("tick", (event) => {
    document.querySelector("output").value = event.data;
  });
</script>
"""


async def page(request):
    return web.Response(text=PAGE, content_type="text/html")


async def ticks(request):
    async with web.sse_response(request) as response:
        number = int(response.last_event_id or 0)  # where this client was when its connection broke
        while True:
            number += 1
            await response.send(f"{number} s", id=str(number), event="tick")
            await anyio.sleep(1)
    return response


def init_func(argv):
    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/ticks", ticks)])
    return app


if __name__ == "__main__":
    web.run_app(init_func([]))
