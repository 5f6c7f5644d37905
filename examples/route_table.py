"""Routes in a table, in the manner of Django."""

from structweb import web


async def handle_get(request):
    return web.Response(text="got")


async def handle_post(request):
    return web.Response(text="posted")


def init_func(argv):
    app = web.Application()
    app.router.add_routes([web.get("/get", handle_get),
                           web.post("/post", handle_post)])  # fmt: skip
    return app
