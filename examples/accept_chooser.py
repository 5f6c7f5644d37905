"""Routing by something else: here by what the client accepts."""

from structweb import web


class AcceptChooser:
    def __init__(self):
        self._accepts = {}

    async def do_route(self, request):
        for accept in request.headers.getall("ACCEPT", []):
            acceptor = self._accepts.get(accept)
            if acceptor is not None:
                return await acceptor(request)
        raise web.HTTPNotAcceptable()

    def reg_acceptor(self, accept, handler):
        self._accepts[accept] = handler


async def handle_json(request):
    return web.json_response({"hello": "world"})


async def handle_xml(request):
    return web.Response(text="<hello>world</hello>", content_type="application/xml")


def init_func(argv):
    app = web.Application()
    chooser = AcceptChooser()
    app.router.add_get("/", chooser.do_route)

    chooser.reg_acceptor("application/json", handle_json)
    chooser.reg_acceptor("application/xml", handle_xml)
    return app
