"""StructWebTestCase, mocked requests and coroutines, and ports: what needs no fixture."""

import socket
import ssl
import sys
import unittest
from subprocess import run

import pytest

from structweb import HttpVersion10, web
from structweb.testing import (
    AioHTTPTestCase,
    StructWebTestCase,
    TestClient,
    TestServer,
    get_port_socket,
    get_unused_port_socket,
    make_mocked_coro,
    make_mocked_request,
    unittest_run_loop,
    unused_port,
)

BACKENDS = ["asyncio", "trio"]


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request.match_info.get('name', '')}")


def app_of_hello() -> web.Application:
    app = web.Application()
    app.router.add_get("/{name}", hello)
    return app


def outcome(case: type[unittest.TestCase], name: str) -> unittest.TestResult:
    result = unittest.TestResult()
    case(name).run(result)
    return result


@pytest.mark.parametrize("on", BACKENDS)
def test_a_case_runs_in_one_loop(on: str):
    seen = []

    class Case(StructWebTestCase):
        backend = on

        async def get_application(self) -> web.Application:
            return app_of_hello()

        async def asyncSetUp(self) -> None:
            await super().asyncSetUp()
            self.addAsyncCleanup(self.note, "cleaned up")

        async def asyncTearDown(self) -> None:
            seen.append("torn down")
            await super().asyncTearDown()

        async def note(self, what: str) -> None:
            seen.append((what, self.server.closed))

        async def test_it(self) -> None:
            assert isinstance(self.client, TestClient)
            response = await self.client.get("/ann")
            assert await response.text() == "hello ann"
            other = await self.enterAsyncContext(TestServer(app_of_hello(), memory=True))
            assert other.started
            seen.append(sys.modules["sniffio"].current_async_library())

        def test_plain(self) -> None:
            seen.append("plain")

        async def test_wrong(self) -> None:
            self.fail("on purpose")

        async def test_skipped(self) -> None:
            self.skipTest("on purpose")

    assert outcome(Case, "test_it").wasSuccessful()
    assert seen == [on, "torn down", ("cleaned up", True)]
    assert outcome(Case, "test_plain").wasSuccessful()
    assert len(outcome(Case, "test_wrong").failures) == 1
    assert len(outcome(Case, "test_skipped").skipped) == 1
    assert AioHTTPTestCase is StructWebTestCase


@pytest.mark.parametrize("on", BACKENDS)
def test_what_is_no_exception_comes_out_unwrapped(on: str):
    """So that pytest.xfail() and its like are what they are, not a group that nobody knows."""
    closed = []

    class Case(StructWebTestCase):
        backend = on

        async def get_application(self) -> web.Application:
            return app_of_hello()

        async def asyncTearDown(self) -> None:
            await super().asyncTearDown()
            closed.append(self.server.closed)

        async def test_it(self) -> None:
            pytest.xfail("on purpose")

    ((_, trace),) = outcome(Case, "test_it").errors
    assert "XFailed: on purpose" in trace
    assert "ExceptionGroup" not in trace
    assert closed == [True]


def test_a_case_without_an_application_says_so():
    class Case(StructWebTestCase):
        async def test_it(self) -> None: ...

    ((_, trace),) = outcome(Case, "test_it").errors
    assert "RuntimeError: Case needs a get_application()" in trace


def test_the_old_decorator_has_nothing_to_do():
    with pytest.warns(DeprecationWarning, match="not needed"):
        assert unittest_run_loop(hello) is hello


def test_a_mocked_request_without_a_loop():
    app = web.Application()
    request = make_mocked_request(
        "get", "/a?b=1", {"X-A": "1"}, match_info={"name": "ann"}, app=app, closing=True, client_max_size=5
    )
    assert (request.method, request.path, request.query["b"], request.headers["x-a"]) == ("GET", "/a", "1", "1")
    assert (request.match_info["name"], request.app, request.keep_alive, request.client_max_size) == (
        "ann",
        app,
        False,
        5,
    )
    assert (request.body_exists, request.scheme, request.get_extra_info("sockname")) == (
        False,
        "http",
        ("127.0.0.1", 80),
    )
    secure = make_mocked_request("GET", "/", sslcontext=ssl.create_default_context())
    assert (secure.scheme, secure.match_info, secure.keep_alive) == ("https", {}, True)


def test_the_path_of_a_mocked_request_may_be_written_as_people_do():
    """As in aiohttp: `raw_path` is what was given, and URLs are encoded."""
    request = make_mocked_request("GET", "/a b/é?x=ü y")
    assert (request.raw_path, request.path, request.query["x"]) == ("/a b/é?x=ü y", "/a b/é", "ü y")
    assert request.path_qs == "/a%20b/%C3%A9?x=%C3%BC+y"
    assert str(request.url) == "http://127.0.0.1/a%20b/%C3%A9?x=%C3%BC+y"
    assert str(make_mocked_request("GET", "/a%20b%2Fc").rel_url) == "/a%20b%2Fc"
    for target in ("*", "//host/a b", "http://there/a%20b"):
        request = make_mocked_request("OPTIONS", target)
        assert request.raw_path == target
        assert not request.rel_url.absolute


class Peer:
    """A transport of the test's own."""

    def get_extra_info(self, name: str) -> object:
        return {"peername": ("192.0.2.7", 1)}.get(name)


@pytest.mark.anyio
async def test_a_handler_with_a_mocked_request():
    assert (await hello(make_mocked_request("GET", "/", match_info={"name": "bob"}))).text == "hello bob"
    request = make_mocked_request(
        "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, payload=b"a=1&b=2", transport=Peer()
    )
    assert dict(await request.post()) == {"a": "1", "b": "2"}
    assert (request.remote, request.get_extra_info("cipher", 7)) == ("192.0.2.7", 7)
    assert await make_mocked_request("POST", "/").read() == b""
    request = make_mocked_request("GET", "/")
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"goes nowhere")
    await response.write_eof()
    assert response.prepared
    asked = {"Upgrade": "websocket", "Connection": "keep-alive, Upgrade"}
    asked |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert web.WebSocketResponse().can_prepare(make_mocked_request("GET", "/", asked))
    assert not web.WebSocketResponse().can_prepare(make_mocked_request("GET", "/", asked, version=HttpVersion10))
    assert await make_mocked_request("POST", "/", payload=request.content).read() == b""


@pytest.mark.anyio
async def test_mocked_coroutines():
    coro = make_mocked_coro(return_value=3)
    assert await coro(1, a=2) == 3
    coro.assert_called_once_with(1, a=2)
    with pytest.raises(LookupError):
        await make_mocked_coro(raise_exception=LookupError("x"))()


def test_ports():
    port = unused_port()
    with get_port_socket("127.0.0.1", port) as sock:
        assert sock.getsockname() == ("127.0.0.1", port)
        sock.listen()
        with pytest.raises(OSError):
            get_port_socket("127.0.0.1", port)
    with get_unused_port_socket("127.0.0.1") as sock:
        assert sock.family is socket.AF_INET
        assert sock.getsockname()[1]


def python(code: str) -> str:
    """Run a program where httpx is not installed."""
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_without_the_extra_the_client_alone_is_missing():
    said = python(
        "import sys; sys.modules['httpx'] = None\n"
        "from structweb import web\n"
        "from structweb.testing import TestClient, TestServer, make_mocked_request\n"
        "make_mocked_request('GET', '/')\n"
        "try: TestClient(TestServer(web.Application()))\n"
        "except ImportError as exc: print(exc)"
    )
    assert said == "TestClient needs httpx: pip install 'structweb[testing]'"


def test_no_extra_is_imported_unasked():
    """But for websockets' C function: installing the extra `speed` is asking for it."""
    optional = {
        "httpx",
        "httpcore",
        "pytest",
        "brotli",
        "brotlicffi",
        "uvloop",
        "jinja2",
        "mako",
        "cryptography",
    }
    optional |= {"nacl", "coredis", "pymemcache", "redis", "aiomcache", "backports", "compression.zstd", "trio"}
    said = python("import sys, structweb, structweb.web, structweb.testing; print(*sorted(sys.modules))").split()
    assert "structweb.web" in said
    assert optional & set(said) == set()
