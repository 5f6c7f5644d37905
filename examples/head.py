"""HEAD: answered wherever GET is, unless the route says otherwise."""

import hashlib

from structweb import web


async def handler(request):
    return web.Response(text="Hello, world", headers={"X-Answer": "42"})


async def get_only(request):
    return web.Response(text="Hello, reader")


async def big(request):
    size = 100_000
    if request.method == "HEAD":
        return web.Response(headers={"Content-Length": str(size)}, content_type="application/octet-stream")
    body = hashlib.shake_128(b"a lot of work").digest(size)
    return web.Response(body=body)


def init_func(argv):
    app = web.Application()
    app.router.add_get("/", handler)
    app.router.add_get("/get-only", get_only, allow_head=False)
    app.router.add_get("/big", big)
    return app
