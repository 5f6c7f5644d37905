"""Handlers, coroutines and plain functions, and the methods that they are registered for."""

from structweb import web


def handler(request):
    return web.Response()


async def post_handler(request):
    return web.Response(text="posted " + await request.text())


async def put_handler(request):
    return web.Response(text="put " + await request.text())


def all_handler(request):
    return web.Response(text=request.method)


def init_func(argv):
    app = web.Application()
    app.router.add_get("/", handler)
    app.router.add_post("/post", post_handler)
    app.router.add_put("/put", put_handler)
    app.router.add_route("*", "/path", all_handler)
    return app
