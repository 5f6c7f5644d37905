"""A whole server in memory: an application with a handler of every kind, run by an AppRunner, and its log."""

import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.lowlevel import checkpoint

from structweb import web
from structweb.testing import ClientEnd, memory_pipe

#: How long every wait in these tests may last at most, in virtual seconds: more than any timeout of the server.
FOR_EVER = 10_000


async def tell(request: web.Request) -> web.Response:
    """Answer with everything that was understood of the request, body included."""
    body = await request.read()
    try:
        part = str(request.http_range)
    except ValueError as exc:
        part = str(exc)
    told = {
        "method": request.method,
        "target": request.raw_path,
        "version": list(request.version),
        "path": request.path,
        "query": list(request.query.items()),
        "host": request.host,
        "url": str(request.url),
        "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers],
        "headers": [[name, value.encode("utf-8", "surrogateescape").hex()] for name, value in request.headers.items()],
        "cookies": dict(request.cookies),
        "type": request.content_type,
        "charset": request.charset,
        "length": request.content_length,
        "range": part,
        "since": str(request.if_modified_since),
        "match": str(request.if_none_match),
        "keep alive": request.keep_alive,
        "body": [len(body), hashlib.sha256(body).hexdigest()],
    }
    return web.json_response(told)


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def ignore(request: web.Request) -> web.Response:
    """Answer without a look at the body."""
    return web.Response(text=f"ignored the body of {request.path_qs}")


def plain(request: web.Request) -> web.Response:
    return web.Response(text=f"plain {request.match_info['name']}")


async def wait(request: web.Request) -> web.Response:
    """Answer after some turns of the loop, so that a watcher reads ahead meanwhile."""
    for _ in range(3):
        await checkpoint()
    await checkpoint()
    return web.Response(text=f"waited {request.path_qs}")


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream, in chunks or with a length, with a status that has a body or none."""
    response = web.StreamResponse(status={"204": 204, "304": 304}.get(request.query.get("status", ""), 200))
    if "length" in request.query:
        response.content_length = 9
    await response.prepare(request)
    for piece in (b"one", b"two", b"six"):
        await response.write(piece)
        await checkpoint()
    await response.write_eof()
    return response


async def copy(request: web.Request) -> web.StreamResponse:
    """Send the body back while it comes."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    return response


async def taste(request: web.Request) -> web.Response:
    """Read the beginning of the body only."""
    try:
        start = await request.content.readexactly(3)
    except EOFError:
        start = b"less"
    return web.Response(body=start)


async def refuse(request: web.Request) -> web.Response:
    raise web.HTTPForbidden(text="no")


def make_app(argv: object = None) -> web.Application:
    """Return the application; nearly every path that has no handler of its own is told about."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.add_routes(
        [
            web.route("*", "/echo", echo),
            web.route("*", "/ignore", ignore),
            web.route("*", "/plain/{name}", plain),
            web.route("*", "/wait", wait),
            web.route("*", "/stream", stream),
            web.route("*", "/copy", copy),
            web.route("*", "/taste", taste),
            web.route("*", "/refuse", refuse),
            web.post("/post-only", ignore),
            web.route("*", "/{tail:(?!none|post-only).*}", tell),
        ]
    )

    async def name_the_method(request: web.Request, response: web.StreamResponse) -> None:
        # What is behind the head of an answer depends on it.
        response.headers["X-Method"] = request.method

    app.on_response_prepare.append(name_the_method)
    return app


class Log(logging.Handler):
    """Collects what the server logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def complaints(self) -> list[str]:
        """What is worse than a malformed request, or has a traceback."""
        return [
            f"{each.name}: {each.getMessage()} {each.exc_info or ''}"
            for each in self.records
            if each.levelno >= logging.ERROR or each.exc_info
        ]


class House:
    """A running server that can be talked to in bytes."""

    def __init__(self, server: web.Server, group: anyio.abc.TaskGroup, log: Log) -> None:
        self.server = server
        self.log = log
        self._group = group

    def connect(self, capacity: int = 65536) -> ClientEnd:
        """Return the client's end of a new connection."""
        client, far_end = memory_pipe(capacity)
        self._group.start_soon(self.server, far_end)
        return client

    async def talk(self, *pieces: bytes, leave: bool = True, capacity: int = 65536) -> bytes:
        """Send `pieces`, each once the one before was read; end our side (or not), and return all that comes back."""
        client = self.connect(capacity)
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, client, pieces, leave)
            with anyio.fail_after(FOR_EVER):
                answers = await client.receive_all()
            client.close()  # the rest of what we say is of no interest any more
        return answers

    @staticmethod
    async def _send(client: ClientEnd, pieces: tuple[bytes, ...], leave: bool) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            for piece in pieces:
                await client.send(piece)
                await client.taken()
            if leave:
                await client.half_close()


@asynccontextmanager
async def open_house(
    app: web.Application | None = None, *, faulty: bool = False, **options: object
) -> AsyncIterator[House]:
    """Run `app`, by default the one above; `options` are `RunnerOptions`.

    When it is left, no connection may be there any more, and nothing may have been logged as an error, unless the
    handlers are `faulty`.
    """
    log = Log()
    logger = logging.getLogger("structweb")
    logger.addHandler(log)
    logger.propagate = False  # malformed requests are warned of, by the thousand
    try:
        async with web.AppRunner(app or make_app(), access_log=None, **options) as runner:
            assert runner.server is not None
            async with anyio.create_task_group() as group:
                yield House(runner.server, group, log)
                await everyone_gone(runner.server)
                group.cancel_scope.cancel()
    finally:
        logger.removeHandler(log)
        logger.propagate = True
    assert faulty or not log.complaints, log.complaints


async def everyone_gone(server: web.Server) -> None:
    """Let connections come to their end, which takes turns of the loop but no time; fail if they do not."""
    for _ in range(20):
        if not server.connections:
            return
        await checkpoint()
    raise AssertionError(f"still there: {[each.describe() for each in server.connections]}")
