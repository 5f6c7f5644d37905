r"""Paths with variable parts.

An expression is matched against the decoded path: a space is a space, letters of any script are themselves, and only
an encoded slash keeps a segment together.  Resources are asked in the order in which they were added.
"""

from structweb import web


async def variable_handler(request):
    return web.Response(text="Hello, {}".format(request.match_info["name"]))


async def number_handler(request):
    return web.Response(text="Number {}".format(request.match_info["name"]))


async def language_handler(request):
    region = request.match_info.get("region", "anywhere")
    return web.Response(text="{} as in {}".format(request.match_info["language"], region))


def init_func(argv):
    app = web.Application()

    resource = app.router.add_resource(r"/{name:\d+}")
    resource.add_route("GET", number_handler)

    resource = app.router.add_resource("/{name}")
    resource.add_route("GET", variable_handler)

    app.router.add_get("/a/{name}/c", variable_handler)
    app.router.add_get("/путь/{name}", variable_handler)
    app.router.add_get(r"/words/{name:\w+ \w+}", variable_handler)
    app.router.add_get(r"/language/{language:[a-z]{2,3}}", language_handler)
    app.router.add_get(r"/language/{language:[a-z]{2,3}}-{region:[A-Z]{2}}", language_handler)
    return app
