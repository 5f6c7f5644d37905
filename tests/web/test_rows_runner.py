"""Runners, servers and sites: what stands in aiohttp's reference, and what a client sees of it."""

import logging
import os
import signal
import ssl
import subprocess
import sys

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSStream

from structweb import web
from structweb.testing import ClientEnd, memory_pipe
from tests.web.loopback import read_all
from tests.web.served import Connection

pytestmark = pytest.mark.anyio


async def hello(request: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


async def test_pre_shutdown_lets_connections_end():
    """W-142: an idle one at once, a busy one with its response, and a pipelined request is not taken."""
    entered, leave = anyio.Event(), anyio.Event()
    paths: list[str] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        paths.append(request.path)
        if request.path == "/slow":
            entered.set()
            await leave.wait()
        return web.Response(text="done")

    clients: list[ClientEnd] = []
    server = web.Server(handler)
    server.pre_shutdown()  # nothing to do yet
    async with web.ServerRunner(server), anyio.create_task_group() as group:
        for _ in range(2):
            client, end = memory_pipe()
            clients.append(client)
            group.start_soon(server, end)
        idle, busy = (Connection(client) for client in clients)
        assert (await idle.ask("/")).status == 200
        await busy.stream.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        await entered.wait()
        server.pre_shutdown()
        assert await idle.rest() == b""
        leave.set()
        answer = await busy.answer()
        assert (answer.text, answer.headers["connection"]) == ("done", "close")
        assert await busy.rest() == b""
    for client in clients:
        client.close()
    assert paths == ["/", "/slow"]


async def test_a_handler_may_make_its_response_the_last_one():
    """W-064, W-143: what `request.protocol.keep_alive(False)` and `force_close()` are for."""

    async def last(request: web.BaseRequest) -> web.Response:
        response = web.Response(text="last")
        response.force_close()
        return response

    client, end = memory_pipe()
    async with anyio.create_task_group() as group:
        group.start_soon(web.Server(last), end)
        answer = await Connection(client).ask("/")
        assert (answer.text, answer.headers["connection"]) == ("last", "close")
        assert await client.receive_all() == b""
    client.close()


@pytest.mark.parametrize("make", [web.AppRunner, lambda app, **options: web.Server(hello, **options)])
async def test_the_ceil_threshold_is_taken_and_ignored(make):
    """X-22."""
    with pytest.warns(
        DeprecationWarning, match="ignores timeout_ceil_threshold: deadlines are looked at once a second"
    ):
        make(web.Application(), timeout_ceil_threshold=5)


@pytest.mark.real_backends
async def test_a_site_serves_when_start_returns():
    """X-02: and the task that started it goes on with what it likes."""
    app = web.Application()
    app.router.add_get("/", hello)
    async with web.AppRunner(app) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with await anyio.connect_tcp("127.0.0.1", site.port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK")


STRAY = """
import asyncio
from structweb import web

async def stray():
    try:
        await asyncio.sleep(3600)
    finally:
        print("stray task cancelled", flush=True)

async def numbers():
    try:
        yield 1
        yield 2
    finally:
        print("generator closed", flush=True)

kept = []

async def start(app):
    kept.append(asyncio.create_task(stray()))
    kept.append(numbers())
    await anext(kept[-1])

async def clean_up(app):
    print("cleaned up", flush=True)

app = web.Application()
app.on_startup.append(start)
app.on_cleanup.append(clean_up)
web.run_app(app, host="127.0.0.1", port=0, print=lambda text: print("listening", flush=True))
print("returned", flush=True)
"""


def test_what_an_asyncio_program_left_behind_ends_with_run_app():
    """W-158, X-29: stray tasks are cancelled and async generators closed, behind the clean-up.  Trio knows no strays."""
    with subprocess.Popen([sys.executable, "-c", STRAY], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "listening\n"
        os.kill(program.pid, signal.SIGTERM)
        rest = program.communicate(timeout=20)[0].splitlines()
    assert program.returncode == 0
    assert rest[0] == "cleaned up"
    assert sorted(rest[1:-1]) == ["generator closed", "stray task cancelled"]
    assert rest[-1] == "returned"


@pytest.mark.real_backends
async def test_a_failed_tls_handshake_is_a_debug_record(caplog: pytest.LogCaptureFixture):
    """X-31: every scanner of ports makes one; it happens in the connection's own task, and the next client is served."""
    caplog.set_level(logging.DEBUG, "structweb.server")
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(server_context)
    authority.configure_trust(client_context)
    app = web.Application()
    app.router.add_get("/", hello)
    async with web.AppRunner(app) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context)
        await site.start()
        async with await anyio.connect_tcp("127.0.0.1", site.port) as plain:
            await plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not (await read_all(plain)).startswith(b"HTTP/")
        raw = await anyio.connect_tcp("127.0.0.1", site.port)
        async with await TLSStream.wrap(
            raw, hostname="localhost", ssl_context=client_context, standard_compatible=False
        ) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK")
    records = [record for record in caplog.records if "could not be opened" in record.getMessage()]
    assert [record.levelno for record in records] == [logging.DEBUG]


async def test_shutdown_of_a_runner_sends_on_shutdown():
    """W-144: what helps handlers to an end, for those who write their own clean-up."""
    told: list[web.Application] = []

    async def on_shutdown(app: web.Application) -> None:
        told.append(app)

    app = web.Application()
    app.on_shutdown.append(on_shutdown)
    async with web.AppRunner(app) as runner:
        assert (runner.app, runner.sites, runner.addresses) == (app, set(), [])
        await runner.shutdown()
        assert told == [app]
