"""Atomic handlers: what their client's leaving ends, and what it does not."""

import anyio
import pytest

from structweb import web
from structweb._server.lifecycle import Engine
from structweb._web.handling import WebHandler
from structweb._web.lifespan import Lifespan
from structweb._web.settings import settings_from
from structweb.jobs import atomic, get_scheduler_from_app, setup
from structweb.testing import memory_pipe
from tests.jobs.heard import Heard
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio


STORE = web.AppKey("STORE", list)
NAME = web.AppKey("NAME", str)


class Notes(list[str]):
    """What was done, in order; each piece of work takes a second."""

    async def work(self, name: str) -> None:
        """Do a piece of work."""
        await anyio.sleep(1)
        self.append(name)


def app_of(handler, method: str = "POST", **options) -> web.Application:
    app = web.Application()
    app.router.add_route(method, "/", handler)
    setup(app, **options)
    return app


async def left_after(app: web.Application, seconds: float, sent: bytes | None = None) -> None:
    """Ask `app`, leave after so many seconds, and wait until everything has ended."""
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get(method="POST", body=b"order") if sent is None else sent)
        await anyio.sleep(seconds)
        connection.stream.close()
        await anyio.sleep(10)


# -- the example of aiohttp's documentation ------------------------------------------------------------------------------


class Store:
    """Redis and Postgres as the handler sees them: each write waits three times, and counts when it has its answer."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.asked = anyio.Event()

    async def write(self, name: str) -> None:
        for _ in ("connect", "send", "receive"):
            await anyio.sleep(1)
        self.written.append(name)


def storing(store: Store):
    async def handler(request: web.Request) -> web.Response:
        data = await request.read()
        store.asked.set()
        await store.write(f"redis {data.decode()}")
        await anyio.lowlevel.checkpoint()
        await store.write(f"postgres {data.decode()}")
        return web.Response(text="stored")

    return handler


#: Between any two awaits of the handler, and behind its end.
POINTS = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]


@pytest.mark.parametrize("seconds", POINTS)
async def test_both_writes_happen_whenever_the_client_leaves(seconds: float):
    """S-28, S-36, J-21: at each point at which the handler can be cancelled."""
    store = Store()
    await left_after(app_of(atomic(storing(store))), seconds)
    assert store.written == ["redis order", "postgres order"]


async def test_without_it_they_do_not():
    """S-30: the same handler, so that the test above is able to fail."""
    outcomes = []
    for seconds in POINTS:
        store = Store()
        await left_after(app_of(storing(store)), seconds)
        outcomes.append(len(store.written))
    assert outcomes == [0, 0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("seconds", POINTS)
async def test_both_writes_happen_whenever_the_server_is_stopped(seconds: float):
    """S-36: a shutdown without patience ends the connection, and clean-up waits for the job."""
    store = Store()
    app = app_of(atomic(storing(store)))
    client, server = memory_pipe()
    settings = settings_from({}, "test")
    async with (
        anyio.create_task_group() as group,
        Lifespan(app),
        Engine(WebHandler(app, settings), settings.connections) as engine,
    ):
        group.start_soon(engine.serve_stream, server)
        await client.send(get(method="POST", body=b"order"))
        await anyio.sleep(seconds)
        await engine.shutdown(0)
    client.close()
    assert store.written == ["redis order", "postgres order"]


@pytest.mark.parametrize("turns", range(12))
async def test_both_writes_happen_at_each_turn_of_the_loop(turns: int):
    """S-36: the client leaves so many turns after it has asked; from the first write on, both are done."""
    store = Store()
    async with serving(app_of(atomic(storing(store)))) as served:
        connection = served.connect()
        await connection.stream.send(get(method="POST", body=b"order"))
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        asked = store.asked.is_set()
        connection.stream.close()
        await anyio.sleep(10)
    assert store.written in ([], ["redis order", "postgres order"])
    assert store.written or not asked


# -- the same response as without ----------------------------------------------------------------------------------------


async def test_the_client_that_stays_has_its_answer():
    """J-21: responses, HTTP exceptions, errors; and the connection lives on."""

    @atomic
    async def handler(request: web.Request) -> web.Response:
        match await request.text():
            case "missing":
                raise web.HTTPNotFound(text="not here")
            case "broken":
                raise LookupError
            case "late":
                raise TimeoutError
        return web.Response(text="stored")

    heard = Heard()
    async with serving(app_of(handler, exception_handler=heard)) as served:
        connection = served.connect()
        answers = [await connection.ask(method="POST", body=body) for body in (b"order", b"missing", b"order")]
        assert [(answer.status, answer.text) for answer in answers] == [
            (200, "stored"),
            (404, "not here"),
            (200, "stored"),
        ]
        assert (await served.ask(method="POST", body=b"broken")).status == 500
        assert (await served.ask(method="POST", body=b"late")).status == 504
    assert heard == []


async def test_a_streamed_response():
    """J-21: written by the job, on the connection of the one who waits for it."""

    @atomic
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 6
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
            await anyio.sleep(1)
        await response.write(b"!")
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        for _ in range(2):
            assert (await connection.ask(method="POST", body=b"order")).body == b"order!"


async def test_functions_and_methods_of_every_kind():
    """J-21: ``async`` or plain; with their object before the request; with their names."""

    @atomic
    def plain(request: web.Request) -> web.Response:
        """Answer in place."""
        return web.Response(text=f"plain {request.method}")

    class Handlers:
        @atomic
        async def handle(self, request: web.Request) -> web.Response:
            await anyio.sleep(1)
            return web.Response(text=f"{type(self).__name__} {request.method}")

    class Orders(web.View):
        @atomic
        async def get(self) -> web.Response:
            await anyio.sleep(1)
            return web.Response(text=f"{type(self).__name__} {self.request.method}")

        @atomic
        def post(self) -> web.Response:
            return web.Response(text=f"{type(self).__name__} {self.request.method}")

    assert (plain.__name__, plain.__doc__) == ("plain", "Answer in place.")
    app = web.Application()
    app.router.add_get("/plain", plain)
    app.router.add_get("/method", Handlers().handle)
    app.router.add_view("/view", Orders)
    setup(app)
    async with serving(app) as served:
        assert (await served.ask("/plain")).text == "plain GET"
        assert (await served.ask("/method")).text == "Handlers GET"
        assert (await served.ask("/view")).text == "Orders GET"
        assert (await served.ask("/view", method="POST")).text == "Orders POST"
        assert (await served.ask("/view", method="PUT")).status == 405


async def test_methods_of_a_view_come_to_their_end():
    """J-21."""
    notes = Notes()

    class Orders(web.View):
        @atomic
        async def post(self) -> web.Response:
            await notes.work("stored")
            return web.Response()

    await left_after(app_of(Orders, "*"), 0.5)
    assert notes == ["stored"]


def test_what_it_is_not_for():
    """J-21."""
    with pytest.raises(TypeError, match="for the methods of a View, got the class"):
        atomic(web.View)


async def test_what_is_no_handler_is_told_so():
    @atomic
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    with pytest.raises(TypeError, match=r"takes a request or is a method of a View, got \(1,\)"):
        await handler(1)


async def test_without_a_scheduler():
    """J-21: an error of the application."""

    @atomic
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as served:
        assert (await served.ask()).status == 500


async def test_it_counts_against_the_limit():
    """J-21: a handler without a slot waits, and its client with it."""
    notes = Notes()

    @atomic
    async def handler(request: web.Request) -> web.Response:
        await notes.work(await request.text())
        return web.Response()

    async with serving(app_of(handler, limit=1)) as served, anyio.create_task_group() as tasks:

        async def ask(name: str) -> None:
            await served.ask(method="POST", body=name.encode())
            notes.append(f"{name} answered at {anyio.current_time() - start:.0f}")

        start = anyio.current_time()
        tasks.start_soon(ask, "one")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask, "two")
    assert notes == ["one", "one answered at 1", "two", "two answered at 2"]


# -- behind the client's back --------------------------------------------------------------------------------------------


async def test_a_handler_that_waits_for_its_turn_when_the_client_leaves():
    """J-21: it has its turn all the same."""
    notes = Notes()

    @atomic
    async def handler(request: web.Request) -> web.Response:
        notes.append(type(request.app[STORE]).__name__)
        await notes.work("stored")
        return web.Response()

    app = app_of(handler, limit=1)
    app[STORE] = notes
    async with serving(app) as served:
        scheduler = get_scheduler_from_app(app)
        assert scheduler is not None
        await scheduler.spawn(anyio.sleep, 3)
        connection = served.connect()
        await connection.stream.send(get(method="POST"))
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(10)
    assert notes == ["Notes", "stored"]


async def iterate(request: web.Request) -> None:
    async for _ in request.content:
        pass


#: Ways to read more of a body than what has arrived.
READING = {
    "read": lambda request: request.read(),
    "text": lambda request: request.text(),
    "post": lambda request: request.post(),
    "content": lambda request: request.content.readexactly(50),
    "iteration": iterate,
}


@pytest.mark.parametrize("how", READING)
async def test_reading_raises_once_the_client_has_left(how: str):
    """X-14: whether the reading waited at that moment or begins later; what was read stays."""
    seen: list[str] = []

    @atomic
    async def handler(request: web.Request) -> web.Response:
        assert await request.content.readexactly(3) == b"ord"
        if request.query["when"] == "later":
            await anyio.sleep(5)
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await READING[how](request)
            seen.append(request.query["when"])
        return web.Response()

    for path in ("/?when=now", "/?when=later"):
        sent = get(path, "Content-Length: 100", method="POST") + b"order"
        await left_after(app_of(handler), 1, sent)
    assert seen == ["now", "now", "later", "later"]


async def test_a_body_that_was_read_stays():
    """X-14."""
    seen: list[object] = []

    @atomic
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        await anyio.sleep(5)
        seen.extend([await request.read(), await request.text(), request.path, request.content.at_eof()])
        return web.Response()

    await left_after(app_of(handler), 1)
    assert seen == [b"order", "order", "/", True]


async def test_writing_raises_once_the_client_has_left():
    """X-14: the head of a response, or more of its body."""
    seen: list[str] = []

    @atomic
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if "early" in request.query:
            await response.prepare(request)
        await anyio.sleep(5)
        with pytest.raises(ConnectionResetError):
            await (response.write(b"data") if "early" in request.query else response.prepare(request))
        seen.append(request.query_string)
        return response

    await left_after(app_of(handler), 1, get("/?early", method="POST"))
    await left_after(app_of(handler), 1, get("/?late", method="POST"))
    assert seen == ["early", "late"]


async def test_uploaded_files_stay_until_the_handler_has_ended():
    """X-14: they are closed with the request otherwise."""
    seen: list[object] = []

    @atomic
    async def handler(request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"].file
        await anyio.sleep(5)
        seen.extend([file.closed, file.read(), file])
        return web.Response()

    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ncontents\r\n--x--\r\n'
    await left_after(
        app_of(handler), 1, get("/", "Content-Type: multipart/form-data; boundary=x", method="POST", body=body)
    )
    assert seen[:2] == [False, b"contents"]
    assert seen[2].closed


async def test_the_application_of_the_request_stays():
    """X-14: also when middlewares around a sub-application have been left."""
    seen: list[object] = []

    @atomic
    async def handler(request: web.Request) -> web.Response:
        before = request.app
        await anyio.sleep(5)
        seen.extend([request.app is before, request.app[NAME], request.config_dict[NAME]])
        return web.Response()

    async def around(request: web.Request, handler) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        seen.append(request.app[NAME])
        return response

    async def pass_on(request: web.Request, handler) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request.clone())
        return response

    def nested() -> web.Application:
        root, sub = web.Application(middlewares=[around]), web.Application(middlewares=[pass_on])
        root[NAME], sub[NAME] = "root", "sub"
        sub.router.add_post("/", handler)
        root.add_subapp("/sub", sub)
        setup(root)
        return root

    await left_after(nested(), 1, get("/sub/", method="POST"))
    assert seen == [True, "sub", "sub"]
    seen.clear()
    async with serving(nested()) as served:
        assert (await served.ask("/sub/", method="POST")).status == 200
    assert seen == [True, "sub", "sub", "root"]


async def test_tasks_and_blocks_of_the_request_in_an_atomic_handler():
    """X-14: tasks belong to the exchange, and end with it; an atomic block has nothing left to hold back."""
    notes = Notes()

    @atomic
    async def handler(request: web.Request) -> web.Response:
        request.spawn(notes.work, "beside")
        async with request.atomic():
            await notes.work("block")
            await notes.work("more of it")
        try:
            request.spawn(notes.work, "too late")
        except RuntimeError:
            notes.append("over")
        return web.Response()

    async with serving(app_of(handler)) as served:
        assert (await served.ask(method="POST")).status == 200
    assert sorted(notes) == ["beside", "block", "more of it", "too late"]
    notes.clear()
    await left_after(app_of(handler), 0.5)
    assert notes == ["block", "more of it", "over"]


async def test_an_error_behind_the_clients_back_does_not_vanish():
    """S-31, J-11: in aiojobs it does."""
    heard = Heard()

    @atomic
    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(2)
        raise LookupError("not stored")

    await left_after(app_of(handler, exception_handler=heard), 1)
    assert heard.errors == ["LookupError('not stored')"]
    assert heard[0]["job"].get_name().endswith("handler")


@pytest.mark.parametrize("error", [web.HTTPSeeOther("/done"), ConnectionResetError("the client left")])
async def test_what_is_no_error_behind_the_clients_back(error: Exception):
    """X-14: a response nobody gets, and the client's leaving itself."""
    heard = Heard()

    @atomic
    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(2)
        raise error

    await left_after(app_of(handler, exception_handler=heard), 1)
    assert heard == []


async def test_the_log_has_one_line_for_a_client_that_left(caplog):
    """X-14, W-095: at once, and with 499."""
    caplog.set_level("INFO", "structweb.access")

    @atomic
    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(5)
        return web.Response()

    await left_after(app_of(handler), 1)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "structweb.access"]
    assert '"POST / HTTP/1.1" 499 ' in line
