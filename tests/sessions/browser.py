"""A client that keeps its cookies, and an application with the handlers that the tests speak to."""

from http.cookies import SimpleCookie

from structweb import web
from structweb.sessions import get_session, new_session, setup
from tests.web.served import Answer, Served


class Browser:
    """Asks, and keeps cookies as browsers do."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.cookies: dict[str, str] = {}

    async def ask(self, path: str, *fields: str) -> Answer:
        if self.cookies:
            fields = (*fields, "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        connection = self._served.connect()
        try:
            await connection.stream.send(
                "\r\n".join((f"GET {path} HTTP/1.1", "Host: test", "Connection: close", *fields, "", "")).encode()
            )
            head, _, body = (await connection.rest()).partition(b"\r\n\r\n")
        finally:
            connection.stream.close()
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        for morsel in SimpleCookie(headers.get("set-cookie", "")).values():
            self.cookies[morsel.key] = morsel.coded_value
            if morsel["max-age"] == "0":
                del self.cookies[morsel.key]
        return Answer(int(status.split()[1]), "", headers, body)

    async def has(self) -> str:
        """Return the name in the session."""
        return (await self.ask("/")).text


async def show(request):
    session = await get_session(request)
    return web.Response(text=f"{session.get('name')} {'new' if session.new else 'old'}")


async def put(request):
    session = await get_session(request)
    session["name"] = request.match_info["name"]
    match request.query.get("then"):
        case "forbid":
            raise web.HTTPForbidden
        case "redirect":
            raise web.HTTPSeeOther("/")
        case "crash":
            raise LookupError
        case "stream":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write_eof()
            return response
    return web.Response()


async def late(request):
    session = await get_session(request)
    response = web.Response()
    await response.prepare(request)
    session["name"] = "late"
    return response


async def renew(request):
    (await get_session(request)).renew()
    return web.Response()


async def anew(request):
    await get_session(request)
    (await new_session(request))["name"] = "anew"
    return web.Response()


async def invalidate(request):
    (await get_session(request)).invalidate()
    return web.Response()


def app_with(storage) -> web.Application:
    app = web.Application()
    setup(app, storage)
    app.router.add_get("/", show)
    app.router.add_get("/put/{name}", put)
    for handler in (late, renew, anew, invalidate):
        app.router.add_get(f"/{handler.__name__}", handler)
    return app
