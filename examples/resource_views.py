"""What a router knows: its resources, those with names, its routes."""

from structweb import web


async def handler(request):
    router = request.app.router
    return web.json_response(
        {
            "resources": [resource.canonical for resource in router.resources()],
            "named": {name: resource.canonical for name, resource in router.named_resources().items()},
            "routes": [f"{route.method} {route.resource.canonical}" for route in router.routes()],
        }
    )


def init_func(argv):
    app = web.Application()
    app.router.add_get("/", handler, name="root")
    app.router.add_post("/post", handler)
    app.router.add_get("/{user}/info", handler, name="user-info", allow_head=False)

    for resource in app.router.resources():
        print(resource)

    for name, resource in app.router.named_resources().items():
        print(name, resource)
    return app
