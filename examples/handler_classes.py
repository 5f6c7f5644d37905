"""Handlers that are methods of one object."""

from structweb import web


class Handler:
    def __init__(self):
        pass

    def handle_intro(self, request):
        return web.Response(text="Hello, world")

    async def handle_greeting(self, request):
        name = request.match_info.get("name", "Anonymous")
        txt = "Hello, {}".format(name)
        return web.Response(text=txt)


def init_func(argv):
    app = web.Application()
    handler = Handler()
    app.router.add_get("/intro", handler.handle_intro)
    app.router.add_get("/greet/{name}", handler.handle_greeting)
    app.router.add_get("/greet", handler.handle_greeting)
    return app
