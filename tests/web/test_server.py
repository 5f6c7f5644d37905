"""The low-level server: one handler, any path, sites or streams of the user's own."""

import logging

import anyio
import pytest

from structweb import web
from structweb.testing import memory_pipe
from tests.web.loopback import ask, connect, parsed, read_all, request

pytestmark = pytest.mark.anyio


async def echo(request: web.BaseRequest) -> web.Response:
    return web.Response(text=f"{request.method} {request.path} {await request.text()}")


async def asked(server: web.Server, data: bytes) -> bytes:
    """Send `data` to `server` through a pipe, and return everything that comes back."""
    client, end = memory_pipe()
    async with anyio.create_task_group() as tg:
        tg.start_soon(server, end)
        await client.send(data)
        await client.half_close()
        received = await client.receive_all()
    client.close()
    return received


@pytest.mark.real_backends
async def test_every_method_and_path_comes_to_the_handler():
    async with web.ServerRunner(web.Server(echo)) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = site.addresses[0]
        assert (await ask(address, "/")).body == b"GET / "
        assert (await ask(address, "/any/where")).body == b"GET /any/where "
        assert (await ask(address, "/x", method="PURGE")).body == b"PURGE /x "
        assert runner.server is not None
        assert runner.server.requests_count == 3
        async with await connect(address) as stream:
            await stream.send(request(close=False))
            await stream.receive()
            assert len(runner.server.connections) == 1


async def test_it_serves_streams_of_the_users_own():
    """X-30: a server is a callable that an anyio listener takes."""
    body = b"POST /form HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    assert parsed(await asked(web.Server(echo), body)).body == b"POST /form hello"


@pytest.mark.real_backends
async def test_an_anyio_listener_serves_it():
    server = web.Server(echo)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, server)
        address = listener.extra(anyio.abc.SocketAttribute.local_address)
        assert (await ask(address, "/own")).body == b"GET /own "
        tg.cancel_scope.cancel()


async def test_streams_take_part_in_the_shutdown_of_a_runner():
    entered = anyio.Event()

    async def slow(request: web.BaseRequest) -> web.Response:
        entered.set()
        await anyio.sleep(1)
        return web.Response(text="finished")

    client, end = memory_pipe()
    async with anyio.create_task_group() as tg:
        async with web.ServerRunner(web.Server(slow)) as runner:
            assert runner.server is not None
            tg.start_soon(runner.server, end)
            await client.send(request(close=False))
            await entered.wait()
        assert parsed(await client.receive_all()).body == b"finished"
    client.close()


async def test_plain_functions_and_errors(caplog: pytest.LogCaptureFixture):
    def handler(request: web.BaseRequest) -> web.Response:
        if request.path == "/missing":
            raise web.HTTPNotFound
        if request.path == "/slow":
            raise TimeoutError
        if request.path == "/none":
            return None  # type: ignore[return-value]  # is what it tests
        if request.path == "/fail":
            raise LookupError("fails")
        return web.Response(text="plain")

    server = web.Server(handler)
    expected = {"/": 200, "/missing": 404, "/slow": 504, "/none": 500, "/fail": 500}
    answers = {path: parsed(await asked(server, request(path))).status for path in expected}
    assert answers == expected
    assert parsed(await asked(server, b"GET /\r\n\r\n")).status == 400
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 2  # of /none and /fail


async def test_requests_of_the_users_own():
    class Mine(web.BaseRequest):
        @property
        def shouted(self) -> str:
            return self.path.upper()

    async def handler(request: web.BaseRequest) -> web.Response:
        assert isinstance(request, Mine)
        return web.Response(text=request.shouted)

    server = web.Server(handler, request_factory=Mine)
    assert parsed(await asked(server, request("/quiet"))).body == b"/QUIET"


async def test_options_reach_the_connections():
    server = web.Server(echo, max_line_size=20, server_header="mine", handler_cancellation=False)
    assert server.handler_cancellation is False
    assert parsed(await asked(server, request("/" + 20 * "x"))).status == 414
    assert parsed(await asked(server, request("/"))).headers["server"] == "mine"
    assert "server" not in parsed(await asked(web.Server(echo, server_header=None), request("/"))).headers


async def test_arguments_are_checked():
    with pytest.raises(TypeError, match=r"Server\(\) needs a callable that takes a request, got 5"):
        web.Server(5)  # type: ignore[arg-type]  # is what it tests
    with pytest.raises(TypeError, match=r"Server\(\) got unexpected keyword argument keep_alive"):
        web.Server(echo, keep_alive=3)  # type: ignore[call-arg]  # is what it tests
    server = web.Server(echo)
    with pytest.raises(RuntimeError, match="the server is not open: a runner that is set up opens it"):
        await server.shutdown()
    assert (server.connections, server.requests_count) == ([], 0)


async def test_it_is_no_protocol_factory_and_says_so(caplog: pytest.LogCaptureFixture):
    """What asyncio's create_server does for each connection; it drops the error, so the log has to have it."""
    with pytest.raises(TypeError, match=r"no protocol factory .* web.ServerRunner\(server\)"):
        web.Server(echo)()
    (record,) = (record for record in caplog.records if record.name == "structweb.server")
    assert "web.ServerRunner(server)" in record.getMessage()


async def test_one_runner_at_a_time():
    server = web.Server(echo)
    async with web.ServerRunner(server):
        with pytest.raises(RuntimeError, match="the server is open already"):
            await web.ServerRunner(server).setup()
    async with web.ServerRunner(server):
        assert (await server.shutdown(0.1)).finished == ()


@pytest.mark.real_backends
async def test_shutdown_by_hand():
    server = web.Server(echo)
    async with web.ServerRunner(server) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with await connect(site.addresses[0]) as stream:
            await stream.send(request(close=False))
            await stream.receive()
            report = await server.shutdown()
            assert (report.idle, report.cancelled, report.abandoned) == (1, (), ())
            assert await read_all(stream) == b""
