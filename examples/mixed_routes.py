"""All three ways to register a route, in one application."""

from structweb import web

routes = web.RouteTableDef()


async def call(request):
    return web.Response(text="by a call")


async def table(request):
    return web.Response(text="by a table")


@routes.get("/decorator")
async def decorator(request):
    return web.Response(text="by a decorator")


def init_func(argv):
    app = web.Application()
    app.router.add_get("/call", call)
    app.router.add_routes([web.get("/table", table)])
    app.router.add_routes(routes)
    return app
