"""Handlers of every kind, cancelled by every cause at every checkpoint, on both backends (B-05, B-06).

Each scene holds what a handler acquires against what it gives back.  Of every case the helper itself sees to it that
the connection ends or can be used, and that no task, generator, socket, thread or temporary file is left.
"""

import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from structweb import jobs, web
from structweb.testing import DEADLINE, DISCONNECT, RESET, SHUTDOWN, Visit, cancel_everywhere
from structweb.testing.leaks import open_descriptors
from tests.web.served import get

CAUSES = (DISCONNECT, DEADLINE, SHUTDOWN)


class Ledger:
    """What handlers hold, and what they have done."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.done: list[str] = []

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        """Acquire something, and give it back whatever happens."""
        self.held.append(what)
        try:
            yield
        finally:
            self.held.remove(what)


Stage = tuple[web.Application, bytes]
SCENES: dict[str, Callable[[Ledger], Stage]] = {}
FOLDER: list[Path] = []


def scene(make: Callable[[Ledger], Stage]) -> Callable[[Ledger], Stage]:
    """Put a handler into the corpus: `make` returns its application and the request to it."""
    SCENES[make.__name__] = make
    return make


def posted(handler: Callable[..., object], **options: object) -> web.Application:
    app = web.Application(**options)
    app.router.add_post("/", handler)
    return app


MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + b"t" * 70000 + b"\r\n"
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"f" * 70000 + b"\r\n--b--\r\n"
)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
AS_MULTIPART = "Content-Type: multipart/form-data; boundary=b"


@scene
def read_body(ledger: Ledger) -> Stage:
    async def handler(request: web.Request) -> web.Response:
        with ledger.holding("body"):
            return web.Response(body=await request.read())

    return posted(handler), get("/", method="POST", body=b"x" * 150000)


@scene
def read_body_in_pieces(ledger: Ledger) -> Stage:
    async def handler(request: web.Request) -> web.StreamResponse:
        """Echo while reading."""
        response = web.StreamResponse()
        await response.prepare(request)
        with ledger.holding("stream"):
            async for piece in request.content.iter_chunked(30000):
                await response.write(piece)
        return response

    return posted(handler), get("/", method="POST", body=b"x" * 150000)


@scene
def stream_response(ledger: Ledger) -> Stage:
    async def handler(request: web.Request) -> web.StreamResponse:
        with ledger.holding("cursor"):
            response = web.StreamResponse()
            await response.prepare(request)
            for number in range(8):
                await anyio.sleep(1)
                await response.write(b"%d" % number * 20000)
            await response.write_eof()
        return response

    return posted(handler), get("/", method="POST")


@scene
def large_response(ledger: Ledger) -> Stage:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 400000)

    return posted(handler), get("/", method="POST")


@scene
def async_generator(ledger: Ledger) -> Stage:
    async def rows() -> AsyncIterator[bytes]:
        with ledger.holding("rows"):
            for _ in range(5):
                await anyio.sleep(1)
                yield b"row" * 1000

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=rows())

    return posted(handler), get("/", method="POST")


@scene
def multipart(ledger: Ledger) -> Stage:
    async def handler(request: web.Request) -> web.Response:
        with ledger.holding("parts"):
            sizes = [len(await part.read()) async for part in await request.multipart()]
        return web.json_response(sizes)

    return posted(handler), get("/", AS_MULTIPART, method="POST", body=MULTIPART)


@scene
def nested_group(ledger: Ledger) -> Stage:
    async def fetch(name: str, seconds: float) -> None:
        with ledger.holding(name):
            for _ in range(3):
                await anyio.sleep(seconds)

    async def handler(request: web.Request) -> web.Response:
        async with anyio.create_task_group() as outer:
            outer.start_soon(fetch, "one", 1)
            async with anyio.create_task_group() as inner:
                inner.start_soon(fetch, "two", 2)
                inner.start_soon(fetch, "three", 0)
            await anyio.sleep(1)
        return web.Response(text="fetched")

    return posted(handler), get("/", method="POST")


@scene
def shielded_writes(ledger: Ledger) -> Stage:
    """Both writes happen, or none."""

    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(1)
        with anyio.move_on_after(5, shield=True):
            ledger.held.append("half")
            await anyio.sleep(0.05)
            ledger.held.remove("half")
        await anyio.sleep(1)
        return web.Response(text="written")

    return posted(handler), get("/", method="POST")


@scene
def atomic_writes(ledger: Ledger) -> Stage:
    """The same, said in one line."""

    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(1)
        async with request.atomic(deadline=5):
            ledger.held.append("half")
            await anyio.sleep(0.05)
            ledger.held.remove("half")
        await anyio.sleep(1)
        return web.Response(text="written")

    return posted(handler), get("/", method="POST")


@scene
def spawned_tasks(ledger: Ledger) -> Stage:
    """Tasks of the request, which the response waits for."""

    async def save(name: str, seconds: float) -> None:
        with ledger.holding(name):
            for _ in range(2):
                await anyio.sleep(seconds)

    async def handler(request: web.Request) -> web.Response:
        request.spawn(save, "one", 1)
        request.spawn(save, "two", 2)
        await anyio.sleep(1)
        return web.Response(text="saved")

    return posted(handler), get("/", method="POST")


@scene
def jobs_of_the_application(ledger: Ledger) -> Stage:
    """A job that the handler waits for, and one that it shields: both end with the application at the latest."""

    async def work(name: str) -> int:
        with ledger.holding(name):
            await anyio.sleep(0.02)
            await anyio.sleep(0.02)
        return 1

    async def handler(request: web.Request) -> web.Response:
        job = await jobs.spawn(request, work, "spawned")
        await jobs.shield(request, work("shielded"))
        return web.Response(text=str(await job.wait()))

    app = posted(handler)
    jobs.setup(app)
    return app, get("/", method="POST")


@scene
def work_of_the_application(ledger: Ledger) -> Stage:
    """What start_soon has started goes on without the request, and ends with the application."""

    async def mail() -> None:
        with ledger.holding("mail"):
            await anyio.sleep(5)

    async def handler(request: web.Request) -> web.Response:
        request.app.start_soon(mail)
        await anyio.sleep(1)
        return web.Response(text="will be sent")

    return posted(handler), get("/", method="POST")


@scene
def sub_application_with_middlewares(ledger: Ledger) -> Stage:
    @web.middleware
    async def outer(request: web.Request, handler: Callable[..., object]) -> web.StreamResponse:
        with ledger.holding("outer"):
            await anyio.sleep(1)
            response = await handler(request)
            await anyio.sleep(1)
        return response

    @web.middleware
    async def inner(request: web.Request, handler: Callable[..., object]) -> web.StreamResponse:
        with ledger.holding("inner"), anyio.fail_after(100):
            return await handler(request)

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        with ledger.holding("signal"):
            await anyio.sleep(1)

    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(1)
        return web.Response(text="inside")

    app, sub = web.Application(middlewares=[outer]), posted(handler, middlewares=[inner])
    sub.on_response_prepare.append(prepare)
    app.add_subapp("/sub", sub)
    return app, get("/sub/", method="POST")


@scene
def failing_clean_up(ledger: Ledger) -> Stage:
    """A handler whose own tidying up raises loses its connection, and nothing else."""

    async def handler(request: web.Request) -> web.Response:
        with ledger.holding("transaction"):
            try:
                await anyio.sleep(1)
                await anyio.sleep(1)
            finally:
                with anyio.move_on_after(1, shield=True):
                    await anyio.sleep(0.01)
                raise LookupError("rollback failed")

    return posted(handler), get("/", method="POST")


@scene
def an_error_behind_a_wait(ledger: Ledger) -> Stage:
    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(1)
        raise web.HTTPConflict(text="x" * 100000)

    return posted(handler), get("/", method="POST")


@scene
def kept_by_the_client(ledger: Ledger) -> Stage:
    """The second of two requests on one connection: what comes between is a checkpoint as well."""

    async def handler(request: web.Request) -> web.Response:
        with ledger.holding("request"):
            await anyio.lowlevel.checkpoint()
        return web.Response(text="again")

    return posted(handler), get("/", method="POST") * 2


@scene
def websocket(ledger: Ledger) -> Stage:
    """Echo two messages, and say goodbye; a departure is the end of the conversation."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with ledger.holding("room"):
            async for message in ws:
                await ws.send_str(message.data)
                await anyio.sleep(1)
        return ws

    app = web.Application()
    app.router.add_get("/", handler)
    asked = get(
        "/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"
    )
    hello, goodbye = b"\x81\x82\0\0\0\0hi", b"\x88\x82\0\0\0\0\x03\xe8"
    return app, asked + hello * 2 + goodbye


@scene
def event_stream(ledger: Ledger) -> Stage:
    """An event, and a comment behind it; the client is told when to come back, or the stream is cut."""

    async def handler(request: web.Request) -> web.StreamResponse:
        with ledger.holding("subscription"):
            async with web.sse_response(request, ping_interval=0.4) as response:
                await response.send("x")
                await anyio.sleep(0.5)
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    return app, get("/")


@scene
def pipelined_pair(ledger: Ledger) -> Stage:
    """The one that is cancelled must not answer for the other."""

    async def slow(request: web.Request) -> web.StreamResponse:
        with ledger.holding("slow"):
            response = web.StreamResponse()
            await response.prepare(request)
            await anyio.sleep(1)
            await response.write(b"half")
            await anyio.sleep(1)
            await response.write_eof(b"whole")
        return response

    async def swift(request: web.Request) -> web.Response:
        with ledger.holding("swift"):
            await anyio.lowlevel.checkpoint()
        return web.Response(text="swift")

    app = posted(slow)
    app.router.add_get("/swift", swift)
    return app, get("/", method="POST") + get("/swift")


@scene
def route_with_a_deadline(ledger: Ledger) -> Stage:
    """Its own deadline is the one that passes; a middleware has the last word."""

    @web.middleware
    async def patient(request: web.Request, handler: Callable[..., object]) -> web.StreamResponse:
        with ledger.holding("patience"):
            try:
                return await handler(request)
            except TimeoutError:
                return web.Response(text="later")

    async def handler(request: web.Request) -> web.Response:
        with ledger.holding("query"):
            await anyio.sleep(1)
            await anyio.sleep(1)
        return web.Response(text="in time")

    app = web.Application(middlewares=[patient], handler_timeout=1000)
    app.router.add_post("/", handler)
    return app, get("/", method="POST")


@scene
def static_file(ledger: Ledger) -> Stage:
    (FOLDER[0] / "large").write_bytes(b"x" * 700000)
    app = web.Application()
    app.router.add_static("/files", FOLDER[0])
    return app, get("/files/large")


@scene
def uploaded_file(ledger: Ledger) -> Stage:
    """A file that is larger than memory holds goes into a temporary one."""

    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        with ledger.holding("file"):
            await anyio.lowlevel.checkpoint()
            return web.Response(body=form["file"].file.read(10))

    body = MULTIPART.replace(b"f" * 70000, b"f" * 1100000)
    app = posted(handler, client_max_size=0)
    return app, get("/", AS_MULTIPART, method="POST", body=body)


#: What is answered, if not 200, 504 or nothing.
STATUSES = {"failing_clean_up": b"500", "an_error_behind_a_wait": b"409", "websocket": b"101"}
#: Those whose connection breaks, too: some bytes of a response are on their way, or of a request.
BROKEN = {"pipelined_pair", "websocket", "multipart"}
#: Those whose disk work is done in threads, which virtual time does not see: they take some seconds of real time, for
#: each of their cases is a request of its own, and in some of them a shutdown waits for a thread.
THREADED = {"static_file", "uploaded_file"}

#: Those that wait while they send, and only then: the sending of a response has no deadline.
PROMPT = {"large_response", "async_generator"}


@pytest.mark.parametrize("name", SCENES)
def test_cancelled_at_each_checkpoint_nothing_is_left(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
):
    FOLDER[:] = [tmp_path]
    files = open_files()

    @asynccontextmanager
    async def corpus() -> AsyncIterator[Visit]:
        ledger = Ledger()
        app, request = SCENES[name](ledger)
        visit = Visit(app, request)
        yield visit
        # The application lives on until the end of the visit: now it has ended, too.
        assert ledger.held == []
        assert open_files() == files
        assert bytes(visit.answer[9:12]) in (b"", b"504", STATUSES.get(name, b"200"))

    given = (*CAUSES, RESET) if name in BROKEN else CAUSES
    sweep = cancel_everywhere(corpus, causes=given, virtual=name not in THREADED)
    causes = {(case.backend, case.cause) for case in sweep.cases}
    assert causes == {
        (backend, cause.name)
        for backend in ("asyncio", "trio")
        for cause in given
        if name not in PROMPT or cause is not DEADLINE
    }
    record_property("cancellations", len(sweep))  # for the summary at the end of the run


def open_files() -> list[int]:
    """Return the descriptors of open files."""
    return sorted(number for number, status in open_descriptors() if stat.S_ISREG(status.st_mode))
