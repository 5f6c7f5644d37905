"""Resources and routes: what add_get() and add_route() are short for."""

from structweb import web


async def handler(request):
    return web.Response(text=f"{request.method} {request.match_info.route.resource.canonical}")


def add_route(app, method, path, handler, *, name=None):
    resource = app.router.add_resource(path, name=name)
    route = resource.add_route(method, handler)
    return route


def init_func(argv):
    app = web.Application()
    app.router.add_get("/short", handler)
    app.router.add_route("POST", "/short", handler)
    add_route(app, "GET", "/long", handler)
    add_route(app, "POST", "/long", handler)
    return app
