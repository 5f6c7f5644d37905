"""The plugin's servers and clients, in the suite of a user: thirty tests, on both backends."""

import os
import sys
from pathlib import Path
from subprocess import run

import anyio
import pytest

from structweb import web
from structweb.testing import TestClient, TestServer

SUITE = Path(__file__).parents[2] / "examples" / "tested"


async def hello(request: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/", hello)
    return app


MEMORY = {"memory": True}


@pytest.mark.anyio
async def test_clients(structweb_client):
    client = await structweb_client(make_app(), server_kwargs=MEMORY, headers={"X-A": "1"})
    assert await (await client.get("/")).text() == "hello"
    with pytest.raises(ValueError, match="Application"):
        await structweb_client("app")


@pytest.mark.anyio
async def test_scopes_of_the_test_may_lie_across(structweb_client):
    with anyio.fail_after(5):
        client = await structweb_client(make_app(), server_kwargs=MEMORY)
    async with anyio.create_task_group() as group:
        group.start_soon(client.close)
    assert client.server.closed


@pytest.mark.anyio
async def test_servers(structweb_server, structweb_raw_server, structweb_client):
    server = await structweb_server(make_app(), **MEMORY)
    raw = await structweb_raw_server(hello, **MEMORY)
    assert (await structweb_server(make_app(), **MEMORY)).started  # closed, though no client does it
    for one in (server, raw):
        client = await structweb_client(one)
        assert await (await client.get("/")).text() == "hello"


@pytest.mark.anyio
async def test_a_client_of_an_open_server(structweb_client):
    async with TestServer(make_app(), memory=True) as server:
        client = await structweb_client(server)
        assert (await client.get("/")).status == 200


class OwnClient(TestClient):
    pass


class TestOwnClass:
    @pytest.fixture
    def structweb_client_cls(self):
        return OwnClient

    @pytest.mark.anyio
    async def test_is_used(self, structweb_client):
        assert isinstance(await structweb_client(make_app(), server_kwargs=MEMORY), OwnClient)


def test_free_ports(structweb_unused_port):
    assert 0 < structweb_unused_port() < 65536


FAILING = """
import anyio
import pytest
from structweb import web

pytest_plugins = ["structweb.testing.plugin"]
pytestmark = pytest.mark.anyio


async def fail(*_):
    raise LookupError("on purpose")


async def hello(request):
    return web.Response()


def make_app():
    app = web.Application()
    app.router.add_get("/", hello)
    return app


async def test_clean_up(structweb_client):
    app = make_app()
    app.on_cleanup.append(fail)
    await structweb_client(app)


async def test_while_it_runs(structweb_server):
    now = anyio.Event()

    async def fail_now():
        await now.wait()
        await fail()

    app = make_app()
    app.service(fail_now)
    await structweb_server(app)
    now.set()
    await anyio.wait_all_tasks_blocked()


async def test_start_up(structweb_client):
    app = make_app()
    app.on_startup.append(fail)
    with pytest.raises(LookupError):
        await structweb_client(app)


async def test_the_next_one(structweb_client):
    assert (await (await structweb_client(make_app())).get("/")).status == 200
"""


def test_an_application_that_fails_is_its_own_tests_error(tmp_path: Path):
    """Anyio's plugin runs the tests of a module in one task, and that goes on."""
    (tmp_path / "test_failing.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_failing.py"]
    done = run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert "8 passed, 4 errors" in done.stdout
    for test in ("test_clean_up", "test_while_it_runs"):
        for backend in ("asyncio", "trio"):
            assert f"ERROR test_failing.py::{test}[{backend}] - LookupError: on purpose" in done.stdout


def test_a_suite_of_thirty_tests_runs_on_both_backends():
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        SUITE,
        SUITE,
    ]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "anyio.pytest_plugin"}
    done = run(command, env=environment, capture_output=True, text=True, check=False)
    assert "60 passed" in done.stdout, done.stdout + done.stderr
