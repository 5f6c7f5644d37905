"""A view: a class with a method for each verb."""

from structweb import web


async def get_resp(request):
    return web.Response(text="get " + request.path)


async def post_resp(request):
    return web.Response(text="post " + await request.text())


class MyView(web.View):
    async def get(self):
        return await get_resp(self.request)

    async def post(self):
        return await post_resp(self.request)


def init_func(argv):
    app = web.Application()
    app.router.add_route("*", "/path/to", MyView)
    return app
