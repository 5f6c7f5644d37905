"""TestClient and TestServer: aiohttp's calls, on a port and in memory."""

import gc
import io
import ssl
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar

import anyio
import anyio.lowlevel
import httpx
import pytest
import trustme

from structweb import FormData, web
from structweb.testing import (
    ClientResponse,
    ClientResponseError,
    ContentTypeError,
    RawTestServer,
    TestClient,
    TestServer,
    WebSocketHandshakeError,
)

pytestmark = pytest.mark.anyio


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "query": list(request.query.items()),
            "headers": dict(request.headers),
            "cookies": dict(request.cookies),
            "body": (await request.read()).decode("latin-1"),
        }
    )


async def form(request: web.Request) -> web.Response:
    fields = await request.post()
    said = {
        name: value.file.read().decode() if isinstance(value, web.FileField) else value
        for name, value in fields.items()
    }
    return web.json_response({"fields": said, "type": request.content_type})


async def login(request: web.Request) -> web.Response:
    response = web.Response(text="hello")
    response.set_cookie("user", request.query.get("name", "ann"))
    return response


async def moved(request: web.Request) -> web.Response:
    raise web.HTTPFound("/echo?moved=1")


async def again(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect("/echo")


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for line in (b"one\n", b"two\n", b"three"):
        await response.write(line)
    return response


async def shout(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=("loud",))
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data.upper() + request.cookies.get("user", "") + request.query.get("end", ""))
    return ws


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/echo", echo)
    app.router.add_post("/form", form)
    app.router.add_get("/login", login)
    app.router.add_get("/moved", moved)
    app.router.add_post("/again", again)
    app.router.add_get("/stream", stream)
    app.router.add_get("/shout", shout)
    return app


@pytest.fixture
async def client():
    """A client in memory: in virtual time."""
    async with TestClient(TestServer(make_app(), memory=True)) as client:
        yield client


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
async def test_each_method_has_its_call(client: TestClient, method: str):
    response = await getattr(client, method)("/echo")
    assert response.status == 200
    assert (await response.json())["method"] == method.upper()


async def test_head(client: TestClient):
    response = await client.head("/echo")
    assert (response.status, await response.read(), response.ok) == (200, b"", True)
    assert response.content_length


async def test_both_ways_to_call(client: TestClient):
    response = await client.get("/login")
    assert await response.text() == "hello"
    async with client.get("/login") as response:
        assert (response.status, response.reason, response.method) == (200, "OK", "GET")
        assert await response.text() == await response.text() == "hello"
        assert (response.content_type, response.charset, response.version) == ("text/plain", "utf-8", (1, 1))
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.cookies["user"].value == "ann"
        assert response.url == client.make_url("/login")
        assert "200 OK" in repr(response)


async def test_query_and_headers(client: TestClient):
    response = await client.get("/echo?a=1", params={"b": "x y"}, headers={"X-Case": "Kept"})
    said = await response.json()
    assert said["query"] == [["a", "1"], ["b", "x y"]]
    assert said["headers"]["X-Case"] == "Kept"


async def test_bodies(client: TestClient):
    async def pieces():
        yield b"pie"
        yield b"ces"

    for data, kind, body in (
        (b"bytes", "application/octet-stream", "bytes"),
        ("text", "text/plain; charset=utf-8", "text"),
        ({"a": "1 2"}, "application/x-www-form-urlencoded", "a=1+2"),
        (io.BytesIO(b"file"), "application/octet-stream", "file"),
        (pieces(), "application/octet-stream", "pieces"),
    ):
        said = await (await client.post("/echo", data=data)).json()
        assert (said["headers"]["Content-Type"], said["body"]) == (kind, body)
    said = await (await client.post("/echo", json={"a": [1]})).json()
    assert (said["headers"]["Content-Type"], said["body"]) == ("application/json", '{"a": [1]}')
    with pytest.raises(ValueError, match="both"):
        await client.post("/echo", json=1, data=b"1")


async def test_forms(client: TestClient):
    files = FormData()
    files.add_field("name", "ann")
    files.add_field("file", io.BytesIO(b"data"), filename="a.txt")
    said = await (await client.post("/form", data=files)).json()
    assert said == {"fields": {"name": "ann", "file": "data"}, "type": "multipart/form-data"}
    said = await (await client.post("/form", data={"name": "ann"})).json()
    assert said == {"fields": {"name": "ann"}, "type": "application/x-www-form-urlencoded"}


async def test_chunked_compressed_and_expecting(client: TestClient):
    said = await (await client.post("/echo", data=b"x", chunked=True)).json()
    assert (said["headers"]["Transfer-Encoding"], said["body"]) == ("chunked", "x")
    for compress in ("gzip", "deflate", True):
        said = await (await client.post("/echo", data=b"packed", compress=compress)).json()
        assert (said["headers"]["Content-Encoding"], said["body"]) == (
            "gzip" if compress == "gzip" else "deflate",
            "packed",
        )
    with pytest.raises(ValueError, match="compress must be 'gzip', 'deflate' or a bool, got 'br'"):
        await client.post("/echo", data=b"x", compress="br")


@pytest.mark.parametrize("chunked", [False, True])
async def test_expecting(client: TestClient, chunked: bool):
    """The body waits for 100 Continue."""
    for data in (b"x" * 100_000, "x" * 100_000):
        said = await (await client.post("/echo", data=data, expect100=True, chunked=chunked)).json()
        assert (said["headers"]["Expect"], len(said["body"])) == ("100-continue", 100_000)
        assert ("Content-Length" in said["headers"]) is not chunked
    response = await client.post("/again", data=b"kept", expect100=True, chunked=chunked)
    assert (await response.json())["body"] == "kept"
    assert (await client.get("/echo", expect100=True)).status == 200


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.real_backends
async def test_what_is_not_wanted_is_not_sent(memory: bool):
    sent = False

    async def pieces():
        nonlocal sent
        sent = True
        yield b"body"

    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPExpectationFailed

    app = make_app()
    app.router.add_post("/refuse", echo, expect_handler=refuse)
    async with TestClient(TestServer(app, memory=memory)) as client:
        for data in (pieces(), b"body"):
            response = await client.post("/refuse", data=data, expect100=True)
            assert (response.status, sent) == (417, False)
        said = await (await client.post("/echo", data=pieces(), expect100=True)).json()
        assert (said["body"], sent) == ("body", True)


async def test_a_handler_without_an_application_says_itself_that_it_wants_the_body():
    async def read(request: web.BaseRequest) -> web.Response:
        await request.send_continue()
        return web.Response(body=await request.read())

    async with TestClient(RawTestServer(read, memory=True)) as client:
        assert await (await client.post("/", data=b"body", expect100=True)).read() == b"body"


async def test_cookies_are_kept_for_ip_hosts(client: TestClient):
    await (await client.get("/login")).read()
    assert (await (await client.get("/echo", cookies={"more": "1"})).json())["cookies"] == {"user": "ann", "more": "1"}
    assert (await (await client.get("/echo")).json())["cookies"] == {"user": "ann"}


@pytest.mark.parametrize("value", ["a b", 'a"b', "a;b", "a,b", "", "=a", "é", "слово"])
async def test_cookies_of_any_text(client: TestClient, value: str):
    """As aiohttp's client quotes them: nothing that a server's application may set is lost, or another cookie."""

    async def said(**options: object) -> dict[str, str]:
        cookies: dict[str, str] = (await (await client.get("/echo", **options)).json())["cookies"]
        return cookies

    assert await said(cookies={"user": value}) == {"user": value}
    await (await client.get("/login", params={"name": value})).read()
    assert await said() == {"user": value}
    assert await said(cookies={"more": value}) == {"user": value, "more": value}
    assert await said(cookies={"user": "bob"}) == {"user": "bob"}
    assert await said(headers={"Cookie": f'own="{value}"'} if value.isalpha() else {"Cookie": "own=1"}) == {
        "own": value if value.isalpha() else "1"
    }
    async with client.ws_connect("/shout") as ws:
        await ws.send_str("")
        assert await ws.receive_str() == value


async def test_cookies_of_any_text_go_with_every_request():
    async with TestClient(TestServer(make_app(), memory=True), cookies={"a": "b;c", "word": "слово"}) as client:
        said = await (await client.get("/echo")).json()
    assert said["cookies"] == {"a": "b;c", "word": "слово"}


async def test_headers_of_any_text(client: TestClient):
    """In UTF-8, as from aiohttp's client."""
    said = await (await client.get("/echo", headers={"X-Word": "é слово"}, cookies={"a": "b"})).json()
    assert (said["headers"]["X-Word"], said["cookies"]) == ("é слово", {"a": "b"})


async def test_what_goes_with_every_request():
    jar = CookieJar()
    options = {"headers": {"X-A": "1"}, "cookies": {"c": "2"}, "auth": ("ann", "pw"), "cookie_jar": jar}
    async with TestClient(TestServer(make_app(), memory=True), **options) as client:
        said = await (await client.get("/echo")).json()
        assert (said["headers"]["X-A"], said["cookies"]) == ("1", {"c": "2"})
        assert said["headers"]["Authorization"] == "Basic YW5uOnB3"
    assert [cookie.name for cookie in jar] == ["c"]


async def test_redirects(client: TestClient):
    response = await client.get("/moved")
    assert (response.status, (await response.json())["query"]) == (200, [["moved", "1"]])
    assert [past.status for past in response.history] == [302]
    response = await client.get("/moved", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "/echo?moved=1")
    assert (await client.head("/moved")).status == 200


async def test_json_and_errors(client: TestClient):
    response = await client.get("/login")
    with pytest.raises(ContentTypeError, match="text/plain"):
        await response.json()
    response = await client.get("/nowhere")
    with pytest.raises(ClientResponseError, match="404") as caught:
        response.raise_for_status()
    assert (caught.value.status, caught.value.message) == (404, "Not Found")
    with pytest.raises(ClientResponseError):
        await client.get("/nowhere", raise_for_status=True)


async def test_streaming(client: TestClient):
    async with client.get("/stream") as response:
        assert [line async for line in response.content] == [b"one\n", b"two\n", b"three"]
        assert response.content.at_eof()
    async with client.get("/stream") as response:
        assert await response.content.readexactly(5) == b"one\nt"
        assert await response.content.read(2) == b"wo"
        assert b"".join([piece async for piece in response.content.iter_chunked(2)]) == b"\nthree"
    async with client.get("/stream") as response:
        assert await response.content.readline() == b"one\n"
        assert b"".join([piece async for piece in response.content.iter_any()]) == b"two\nthree"
        with pytest.raises(EOFError):
            await response.content.readexactly(1)


async def test_websockets(client: TestClient):
    await (await client.get("/login")).read()
    async with client.ws_connect("/shout", params={"end": "!"}, protocols=["loud"]) as ws:
        assert ws.protocol == "loud"
        await ws.send_str("hi ")
        assert await ws.receive_str() == "HI ann!"
    ws = await client.ws_connect("/shout", origin="http://there")
    assert await ws.close()
    with pytest.raises(WebSocketHandshakeError):
        await client.ws_connect("/echo")


async def test_handshakes_have_what_goes_with_every_request():
    async def greet(request: web.Request) -> web.StreamResponse:
        said = [request.headers.get(name, "") for name in ("X-A", "X-B", "Authorization", "Cookie")]
        response = web.WebSocketResponse() if "refuse" not in request.query else web.Response(status=401)
        response.set_cookie("met", request.path[1:])
        await response.prepare(request)
        if isinstance(response, web.WebSocketResponse):
            await response.send_json(said)
            await response.close()
        return response

    app = make_app()
    app.router.add_get("/greet", greet)
    app.router.add_get("/again", greet)
    server = TestServer(app, memory=True)
    async with TestClient(server, headers={"X-A": "1", "X-B": "2"}, auth=("ann", "pw")) as client:
        async with client.ws_connect("/greet", headers={"x-b": "3"}) as ws:
            assert await ws.receive_json() == ["1", "3", "Basic YW5uOnB3", ""]
        async with client.ws_connect("/again") as ws:
            assert (await ws.receive_json())[3] == "met=greet"
        with pytest.raises(WebSocketHandshakeError):
            await client.ws_connect("/greet?refuse")
        assert (await (await client.get("/echo")).json())["cookies"] == {"met": "greet"}


async def test_a_response_that_does_not_begin_in_time():
    async def late(request: web.Request) -> web.Response:
        await anyio.sleep(60)
        return web.Response()

    async with TestClient(RawTestServer(late, memory=True)) as client:
        with pytest.raises(TimeoutError):
            await client.get("/", timeout=1)
        assert (await client.get("/")).status == 200
        assert client.app is None
    async with TestClient(RawTestServer(late, memory=True), timeout=1) as client:
        with pytest.raises(TimeoutError):
            await client.get("/")
        assert (await client.get("/", timeout=None)).status == 200


@pytest.mark.parametrize("fault", ["disconnect", "reset", "half_close"])
async def test_leaving_cancels_the_handler(fault: str):
    entered, left = anyio.Event(), anyio.Event()

    async def wait(request: web.BaseRequest) -> web.Response:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()

    async def ask(client: TestClient) -> None:
        with pytest.raises(httpx.RemoteProtocolError if fault == "half_close" else httpx.ReadError):
            await client.get("/")

    async with TestClient(RawTestServer(wait, memory=True)) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client)
        await entered.wait()
        if fault == "half_close":
            await client.half_close()
        else:
            client.disconnect(reset=fault == "reset")
        await left.wait()


async def test_a_stalled_client_holds_its_server_back():
    go, written, read = anyio.Event(), anyio.Event(), anyio.Event()

    async def wait(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await go.wait()
        await response.write(b"one byte is too many")
        written.set()
        return response

    async def read_all(response: ClientResponse) -> None:
        assert await response.text() == "one byte is too many"
        read.set()

    async with TestClient(RawTestServer(wait, memory=True)) as client, anyio.create_task_group() as group:
        response = await client.get("/")
        client.stall()
        group.start_soon(read_all, response)
        go.set()
        await anyio.wait_all_tasks_blocked()
        assert (written.is_set(), read.is_set()) == (False, False)
        client.resume()
        await read.wait()
        assert written.is_set()


async def test_faults_reach_websockets(client: TestClient):
    ws = await client.ws_connect("/shout")
    client.stall()
    await ws.send_str("a")
    with pytest.raises(TimeoutError):
        await ws.receive(timeout=1)
    client.resume()
    assert await ws.receive_str() == "A"
    await client.half_close()
    assert (await ws.receive()).type is not web.WSMsgType.TEXT
    ws = await client.ws_connect("/shout")
    client.disconnect()
    assert ws.closed


async def test_misuse():
    server = TestServer(make_app(), memory=True)
    with pytest.raises(TypeError, match="TestServer"):
        TestClient(make_app())
    client = TestClient(server)
    for thing in (client, server):
        with pytest.raises(TypeError, match="async with"), thing:
            pass
    with pytest.raises(AssertionError):
        client.make_url("/")
    with pytest.raises(ConnectionRefusedError):
        await server.connect()
    async with client:
        with pytest.raises(AssertionError):
            client.make_url("http://localhost/")
        await client.start_server()  # does nothing
        with pytest.raises(httpx.ConnectError):
            await client.session.get("http://elsewhere/")
    await client.close()
    await client.close()
    assert server.closed
    assert client.port is None
    for thing in (client, server):
        with pytest.raises(RuntimeError, match=r"<TestServer closed> cannot be started again: make another one"):
            async with thing:
                raise AssertionError("nobody gets here")


@pytest.mark.real_backends
async def test_over_loopback():
    async with TestClient(TestServer(make_app())) as client:
        assert client.host == "127.0.0.1"
        assert client.port
        assert await (await client.get("/login")).text() == "hello"
        assert (await (await client.get("/echo")).json())["cookies"] == {"user": "ann"}
        async with client.ws_connect("/shout") as ws:
            await ws.send_str("hi")
            assert await ws.receive_str() == "HIann"
        assert client.server.handler.requests_count == 3
        assert client.app is client.server.app
    assert client.server.closed


@pytest.mark.real_backends
async def test_over_loopback_a_client_may_stall():
    size = 2**24  # more than the kernel keeps
    go, written, read = anyio.Event(), anyio.Event(), anyio.Event()

    async def pour(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await go.wait()
        await response.write(bytes(size))
        written.set()
        return response

    async def read_all(response: ClientResponse) -> None:
        assert len(await response.read()) == size
        read.set()

    async with TestClient(RawTestServer(pour), buffer=65536) as client, anyio.create_task_group() as group:
        response = await client.get("/")
        client.stall()
        group.start_soon(read_all, response)
        go.set()
        for _ in range(5000):  # turns of the loop in which it could have read everything
            await anyio.lowlevel.checkpoint()
        assert (written.is_set(), read.is_set()) == (False, False)
        client.resume()
        with anyio.fail_after(20):
            await read.wait()
            await written.wait()


@pytest.mark.parametrize("fault", ["disconnect", "reset", "half_close"])
@pytest.mark.real_backends
async def test_over_loopback_a_client_may_leave(fault: str):
    entered, left = anyio.Event(), anyio.Event()

    async def wait(request: web.Request) -> web.Response:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()

    async def ask(client: TestClient) -> None:
        with pytest.raises(httpx.RemoteProtocolError if fault == "half_close" else httpx.ReadError):
            await client.get("/")

    async with TestClient(RawTestServer(wait)) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client)
        await entered.wait()
        if fault == "half_close":
            await client.half_close()
        else:
            client.disconnect(reset=fault == "reset")
        with anyio.fail_after(5):
            await left.wait()


@pytest.mark.real_backends
async def test_tls():
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    server = TestServer(make_app())
    await server.start_server(ssl=ours)
    async with TestClient(server, ssl=theirs) as client:
        async with client.get("/login") as response:
            assert response.url.scheme == "https"
            assert await response.text() == "hello"
        async with client.ws_connect("/shout") as ws:
            await ws.send_str("hi")
            assert await ws.receive_str() == "HIann"
    with pytest.raises(ValueError, match="no TLS"):
        await TestServer(make_app(), memory=True).start_server(ssl=ours)


async def test_a_server_in_a_task_of_its_own():
    server = TestServer(make_app(), memory=True)
    async with anyio.create_task_group() as group:
        assert await group.start(server.run) is server
        stream = await server.connect()
        await stream.aclose()
        await server.close()
        await server.close()
    assert server.closed


async def test_a_failing_start_up_is_raised():
    async def fail(app: web.Application) -> None:
        raise LookupError("no database")

    app = web.Application()
    app.on_startup.append(fail)
    with pytest.raises(LookupError, match="no database"):
        await TestServer(app, memory=True).start_server()


@pytest.mark.parametrize("memory", [False, True])
async def test_errors_come_out_as_they_are(memory: bool) -> None:
    """X-06: of start-up, of the block and of clean-up, not wrapped in a group."""

    async def fail(app: web.Application) -> None:
        raise LookupError("its own")

    app = web.Application()
    app.on_startup.append(fail)
    with pytest.raises(LookupError, match="its own"):
        async with TestClient(TestServer(app, memory=memory)):
            pass
    with pytest.raises(KeyError):
        async with TestClient(TestServer(web.Application(), memory=memory)):
            raise KeyError
    app = web.Application()
    app.on_cleanup.append(fail)
    with pytest.raises(LookupError, match="its own"):
        async with TestClient(TestServer(app, memory=memory)):
            pass
    with pytest.raises(LookupError, match="its own"), anyio.CancelScope() as scope:
        async with TestClient(TestServer(app, memory=memory)):
            scope.cancel()
            await anyio.sleep_forever()


@pytest.mark.parametrize("data", [None, b"x" * 100_000, "pieces"])
@pytest.mark.parametrize("turns", range(0, 40, 2))
async def test_a_request_may_be_cancelled_at_any_moment(data: bytes | str | None, turns: int):
    """Nothing is left of it: trio would warn of a generator that is."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 10_000

    async with TestClient(TestServer(make_app(), memory=True)) as client, anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def strike() -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        group.start_soon(strike)
        with scope:
            await (await client.post("/echo", data=pieces() if data == "pieces" else data)).read()
        gc.collect()
        assert (await client.get("/echo")).status == 200
