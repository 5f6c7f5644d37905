"""The simplest server: one handler, an application, and a line that runs it on http://localhost:8080/."""

from structweb import web


async def hello(request):
    return web.Response(text="Hello, world")


def init_func(argv):
    app = web.Application()
    app.router.add_get("/", hello)
    return app


if __name__ == "__main__":
    app = init_func([])
    web.run_app(app)
