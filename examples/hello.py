from structweb import web

routes = web.RouteTableDef()


@routes.get("/")
async def hello(request: web.Request) -> web.Response:
    return web.Response(text="Hello, world")


@routes.get("/hello/{name}")
async def greet(request: web.Request) -> web.Response:
    return web.json_response({"hello": request.match_info["name"]})


def init_func(argv: list[str]) -> web.Application:
    app = web.Application()
    app.add_routes(routes)
    return app
