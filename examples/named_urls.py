"""Named resources, and the URLs that are built from their names."""

from structweb import web


async def root(request):
    url = request.app.router["root"].url_for().with_query({"a": "b", "c": "d"})
    return web.Response(text=str(url))


async def user_info(request):
    user = request.match_info["user"]
    url = request.app.router["user-info"].url_for(user=user).with_query("a=b")
    return web.Response(text=str(url))


def init_func(argv):
    app = web.Application()

    resource = app.router.add_resource("/root", name="root")
    resource.add_route("GET", root)

    resource = app.router.add_resource("/{user}/info", name="user-info")
    resource.add_route("GET", user_info)
    return app
