"""Routes by decorator, in the manner of Flask."""

from structweb import web

routes = web.RouteTableDef()


@routes.get("/get")
async def handle_get(request):
    return web.Response(text="got")


@routes.post("/post")
async def handle_post(request):
    return web.Response(text="posted")


def init_func(argv):
    app = web.Application()
    app.router.add_routes(routes)
    return app
