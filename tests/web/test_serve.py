"""`web.serve`: a server as one task of a task group."""

import logging
from functools import partial
from pathlib import Path

import anyio
import pytest

from structweb import web
from tests.web.loopback import ask, best_of, connect, parsed, read_all, request

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/", hello)
    return app


async def make_app_later() -> web.Application:
    return make_app()


async def test_it_starts_in_a_task_group_and_ends_with_it():
    async with anyio.create_task_group() as tg:
        runner = await tg.start(partial(web.serve, make_app(), host="127.0.0.1", port=0))
        assert isinstance(runner, web.AppRunner)
        (address,) = runner.addresses
        assert (await ask(address)).body == b"hello"
        tg.cancel_scope.cancel()
    assert runner.sites == set()
    with pytest.raises(OSError, match=r"refused|attempts failed"):
        await connect(address)


@pytest.mark.parametrize("source", [make_app, make_app_later], ids=["function", "coroutine function"])
async def test_an_application_may_be_made(source):
    async with anyio.create_task_group() as tg:
        runner = await tg.start(partial(web.serve, source, host="127.0.0.1", port=0))
        assert (await ask(runner.addresses[0])).status == 200
        tg.cancel_scope.cancel()


async def test_cancellation_is_graceful_and_bounded():
    """A request under way is answered; one that does not end is cancelled at the timeout."""

    async def attempt() -> float:
        entered = [anyio.Event(), anyio.Event()]

        async def slow(request: web.Request) -> web.Response:
            entered[0].set()
            await request.shutting_down.wait()
            return web.Response(text="finished")

        async def endless(request: web.Request) -> web.Response:
            entered[1].set()
            await anyio.sleep_forever()
            raise AssertionError("never here")

        app = make_app()
        app.add_routes([web.get("/slow", slow), web.get("/endless", endless)])
        async with anyio.create_task_group() as tg:
            runner = await tg.start(partial(web.serve, app, host="127.0.0.1", port=0, shutdown_timeout=0.2))
            streams = [await connect(runner.addresses[0]) for _ in range(2)]
            for stream, path, event in zip(streams, ("/slow", "/endless"), entered, strict=True):
                await stream.send(request(path, close=False))
                await event.wait()
            began = anyio.current_time()
            tg.cancel_scope.cancel()
        took = anyio.current_time() - began
        assert parsed(await read_all(streams[0])).body == b"finished"
        assert await read_all(streams[1]) == b""
        for stream in streams:
            await stream.aclose()
        return took

    await best_of(attempt, 0.2 + 0.3)


async def test_places_combine(tmp_path: Path):
    """TCP is among them if a host or a port is given, or nothing else (W-149)."""
    path = tmp_path / "s"

    async def names(**places) -> list[str]:
        async with anyio.create_task_group() as tg:
            runner = await tg.start(partial(web.serve, make_app(), **places))
            found = sorted(type(site).__name__ for site in runner.sites)
            tg.cancel_scope.cancel()
        return found

    assert await names(port=0) == ["TCPSite"]
    assert await names(path=path) == ["UnixSite"]
    assert await names(path=path, port=0) == ["TCPSite", "UnixSite"]
    assert await names(path=[path, str(tmp_path / "t")]) == ["UnixSite", "UnixSite"]
    assert await names(host=["127.0.0.1", "localhost"], port=0, path=path) == ["TCPSite", "TCPSite", "UnixSite"]


async def test_start_up_errors_come_out_as_they_are():
    error = LookupError("no database")

    async def fail(app: web.Application) -> None:
        raise error

    app = make_app()
    app.on_startup.append(fail)
    with pytest.raises(LookupError) as caught:
        await web.serve(app, port=0)
    assert caught.value is error


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"app": 5}, TypeError, r"expected a web\.Application, .*got 5"),
        ({"app": lambda: None}, TypeError, r"got None from <function"),
        ({"keepalive": 5}, TypeError, r"unexpected keyword argument keepalive"),
        ({"host": []}, ValueError, r"there is nowhere to listen, got host=\[\]"),
        ({"host": ["localhost", 5]}, TypeError, r"host must be one or several of type str, got \['localhost', 5\]"),
        ({"path": 5}, TypeError, r"path must be one or several of type str or PathLike, got 5"),
        ({"sock": 5}, TypeError, r"sock must be one or several of type socket, got 5"),
        ({"port": "80"}, TypeError, r"port must be an int, got '80'"),
        ({"port": 70000}, ValueError, r"port must be from 0 to 65535, got 70000"),
        ({"shutdown_timeout": None}, TypeError, r"shutdown_timeout must be a number of seconds, got None"),
        ({"shutdown_timeout": -1}, ValueError, r"shutdown_timeout must be a number of seconds from 0, got -1"),
        ({"drain_delay": "5"}, TypeError, r"drain_delay must be a number of seconds, got '5'"),
        ({"cleanup_timeout": "5"}, TypeError, r"cleanup_timeout must be a number of seconds, got '5'"),
    ],
)
async def test_arguments_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        await web.serve(**{"app": make_app(), **arguments})


async def test_keepalive_is_run_apps():
    async with anyio.create_task_group() as tg:
        runner = await tg.start(partial(web.serve, make_app(), port=0))
        assert runner.server.engine.config.timeouts.keepalive == 75.0
        tg.cancel_scope.cancel()


async def test_one_line_a_request_in_the_access_log(caplog: pytest.LogCaptureFixture):
    """Also for refused bytes, missing routes, failing handlers and clients that leave."""
    caplog.set_level(logging.INFO, logger="structweb.access")
    left = anyio.Event()

    async def fail(request: web.Request) -> web.Response:
        raise LookupError("fails")

    async def wait(request: web.Request) -> web.Response:
        try:
            await anyio.sleep_forever()
        finally:
            left.set()
        raise AssertionError("never here")

    app = make_app()
    app.add_routes([web.get("/fail", fail), web.get("/wait", wait)])
    async with anyio.create_task_group() as tg:
        runner = await tg.start(partial(web.serve, app, host="127.0.0.1", port=0, access_log_format='"%r" %s %b'))
        address = runner.addresses[0]
        async with await connect(address) as stream:
            await stream.send(request("/?q=%0A", close=False))
            received = await stream.receive()
            size = len(received)
        assert (await ask(address, "/none")).status == 404
        assert (await ask(address, "/fail")).status == 500
        async with await connect(address) as stream:
            await stream.send(b"BAD\r\n\r\n")
            assert parsed(await read_all(stream)).status == 400
        async with await connect(address) as stream:
            await stream.send(request("/wait"))
        await left.wait()
        tg.cancel_scope.cancel()
    lines = [record.getMessage() for record in caplog.records if record.name == "structweb.access"]
    assert lines[0] == f'"GET /?q=%0A HTTP/1.1" 200 {size}'
    assert [line.rpartition(" ")[0] for line in lines[1:]] == [
        '"GET /none HTTP/1.1" 404',
        '"GET /fail HTTP/1.1" 500',
        '"UNKNOWN / HTTP/1.0" 400',
        '"GET /wait HTTP/1.1" 499',
    ]
    assert lines[-1].endswith(" 0")


async def test_no_access_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="structweb.access")
    async with anyio.create_task_group() as tg:
        runner = await tg.start(partial(web.serve, make_app(), host="127.0.0.1", port=0, access_log=None))
        await ask(runner.addresses[0])
        tg.cancel_scope.cancel()
    assert [record for record in caplog.records if record.name == "structweb.access"] == []
