"""Errors that come from code written for asyncio and aiohttp say what to write instead."""

import asyncio

import anyio
import anyio.to_thread
import pytest

from structweb import web
from tests.web.served import serving

pytestmark = pytest.mark.anyio


async def sleep(request: web.Request) -> web.Response:
    await asyncio.sleep(0.01)
    return web.Response(text="ran")


async def yield_to_the_loop(request: web.Request) -> web.Response:
    await asyncio.sleep(0)
    return web.Response(text="ran")


async def wait_beside_another(request: web.Request) -> web.Response:
    """An Event of asyncio asks for no running loop: it fails inside, for it has got None as one."""
    event = asyncio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(event.wait)
        await anyio.wait_all_tasks_blocked()
        event.set()
    return web.Response(text="ran")


async def wait_for_the_event(request: web.Request) -> web.Response:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    return web.Response(text="ran")


def notes_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the notes on the one error that the server logged."""
    (record,) = (record for record in caplog.records if record.name == "structweb.server" and record.exc_info)
    assert record.exc_info is not None
    return getattr(record.exc_info[1], "__notes__", [])


@pytest.mark.parametrize("handler", [sleep, yield_to_the_loop, wait_beside_another, wait_for_the_event])
async def test_what_needs_asyncio_runs_there_and_names_the_way_out_on_trio(
    handler, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
):
    app = web.Application()
    app.router.add_get("/", handler)
    async with serving(app) as served:
        answer = await served.ask()
    if anyio_backend_name == "asyncio":
        assert (answer.status, answer.text) == (200, "ran")
        return
    assert answer.status == 500
    (note,) = notes_of(caplog)
    assert "anyio.sleep" in note
    assert "anyio.create_task_group" in note
    assert 'backend="asyncio"' in note


async def test_other_errors_have_no_such_note(anyio_backend_name: str, caplog: pytest.LogCaptureFixture):
    """A thread has no loop on either backend; on asyncio, that is no reason to leave asyncio."""

    async def stray(request: web.Request) -> web.Response:
        if request.query_string == "thread":
            await anyio.to_thread.run_sync(asyncio.get_running_loop)
        raise RuntimeError("no running database")

    app = web.Application()
    app.router.add_get("/", stray)
    async with serving(app) as served:
        assert (await served.ask("/?other")).status == 500
        assert notes_of(caplog) == []
        caplog.clear()
        if anyio_backend_name == "asyncio":
            assert (await served.ask("/?thread")).status == 500
            assert notes_of(caplog) == []


async def test_the_transport_of_a_request_says_how_to_write():
    """The documentation of aiohttp writes 100 Continue to it."""
    said: list[str] = []

    async def write(request: web.Request) -> web.Response:
        for name in ("write", "get_protocol", "nonsense"):
            with pytest.raises(AttributeError) as caught:
                getattr(request.transport, name)
            said.append(str(caught.value))
        assert not hasattr(request.transport, "write")
        return web.Response()

    app = web.Application()
    app.router.add_get("/", write)
    async with serving(app) as served:
        assert (await served.ask()).status == 200
    assert "request.send_continue()" in said[0]
    assert "request.get_extra_info()" in said[1]
    assert said[2] == "request.transport has no attribute 'nonsense'"


# -- programs that are half moved over -----------------------------------------------------------------------------


class Response:
    """Stands for aiohttp's: the tests do not need it."""

    def __repr__(self) -> str:
        return "<Response OK not prepared>"


class OwnResponse(Response):
    """A program's own, in its own module."""


class Application(Response):
    pass


class HTTPNotFound(Exception):
    pass


class ClientError(Exception):
    pass


Response.__module__ = "aiohttp.web_response"
Application.__module__ = "aiohttp.web_app"
HTTPNotFound.__module__ = "aiohttp.web_exceptions"
ClientError.__module__ = "aiohttp.client_exceptions"
OTHERS: dict[str, object] = {"__name__": "aiohttp.web_ws"}
exec("def prepare(request): return request._loop", OTHERS)  # noqa: S102 - code of a module of that name


@pytest.mark.parametrize("made", [Response, OwnResponse])
async def test_a_response_of_aiohttp_is_called_so(made: type[Response], caplog: pytest.LogCaptureFixture):
    """The repr of both is the same."""

    async def old(request: web.Request) -> web.StreamResponse:
        return made()  # type: ignore[return-value]  # is what it tests

    app = web.Application()
    app.router.add_get("/", old)
    async with serving(app) as served:
        assert (await served.ask()).status == 500
    (message,) = (record.getMessage() for record in caplog.records if record.name == "structweb.server")
    assert message.startswith(
        "Web-handler should return a response instance, got <Response OK not prepared> (aiohttp's"
    )
    assert "import web from structweb" in message


@pytest.mark.parametrize("kind", ["exception", "inside"])
async def test_an_error_of_aiohttps_server_is_called_so(kind: str, caplog: pytest.LogCaptureFixture):
    """Aiohttp's HTTPNotFound is a 500 here, and the traceback says Not Found; its websocket fails inside of it."""

    async def old(request: web.Request) -> web.StreamResponse:
        if kind == "exception":
            raise HTTPNotFound
        OTHERS["prepare"](request)  # type: ignore[operator]  # made by exec
        raise AssertionError

    app = web.Application()
    app.router.add_get("/", old)
    async with serving(app) as served:
        assert (await served.ask()).status == 500
    (note,) = notes_of(caplog)
    assert "import web from structweb" in note


async def test_errors_of_aiohttps_client_are_the_handlers_own(caplog: pytest.LogCaptureFixture):
    async def ask_elsewhere(request: web.Request) -> web.StreamResponse:
        raise ClientError

    app = web.Application()
    app.router.add_get("/", ask_elsewhere)
    async with serving(app) as served:
        assert (await served.ask()).status == 500
    assert notes_of(caplog) == []


def test_an_application_of_aiohttp_is_called_so():
    with pytest.raises(TypeError, match=r"got <Response OK not prepared> \(aiohttp's, .* import web from structweb"):
        web.run_app(Application(), print=None)  # type: ignore[arg-type]  # is what it tests


@pytest.mark.parametrize(
    "give",
    [
        lambda app: web.Application().add_subapp("/sub", app),
        lambda app: web.Application().add_domain("sub.example", app),
        web.AppRunner,
    ],
)
def test_an_application_of_aiohttp_is_called_so_wherever_it_is_given(give):
    with pytest.raises(TypeError, match=r"got <Response OK not prepared> \(aiohttp's, .* import web from structweb"):
        give(Application())


async def test_a_middleware_of_aiohttp_2_is_told_its_new_form(caplog: pytest.LogCaptureFixture):
    """It took the application, and made a handler: that is what the server gets for a response."""

    async def make_middleware(app, handler):
        async def middleware(request):
            return await handler(request)

        return middleware

    app = web.Application(middlewares=[make_middleware])
    async with serving(app) as served:
        assert (await served.ask()).status == 500
    (message,) = (record.getMessage() for record in caplog.records if record.name == "structweb.server")
    assert "async def middleware(request, handler)" in message
