"""From an exchange to its response: errors, the access log, expectations, policies.

Rows W-009, W-012, W-019, W-023, W-085..W-089, W-094, W-167, W-172, X-03, X-06, X-19, X-23.
"""

import contextvars
import logging
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest

from structweb._server.access_log import AbstractAccessLogger
from structweb._web.app import Application
from structweb._web.errors import HTTPBadRequest, HTTPForbidden, HTTPNotFound
from structweb._web.response import Response
from structweb._web.streaming import StreamResponse
from structweb._web.view import View
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio


async def hello(request):
    return Response(text="hello")


def app_with(handler, method="*", path="/", **options):
    app = Application(**options)
    app.router.add_route(method, path, handler)
    return app


def errors(caplog):
    """Return the records of errors that the server logged."""
    return [
        record for record in caplog.records if record.name == "structweb.server" and record.levelno >= logging.ERROR
    ]


# -- handlers ------------------------------------------------------------------------------------------------------


async def test_async_and_plain_handlers_and_views():
    class Greeter(View):
        async def get(self):
            return Response(text="view")

    class Bound:
        async def method(self, request):
            return Response(text="method")

        def plain(self, request):
            return Response(text="plain method")

        async def __call__(self, request):
            return Response(text="object")

    def plain(request):
        return Response(text="plain")

    app = Application()
    for path, handler in {
        "/async": hello,
        "/plain": plain,
        "/lambda": lambda request: hello(request.clone()),
        "/view": Greeter,
        "/method": Bound().method,
        "/plain-method": Bound().plain,
        "/object": Bound(),
    }.items():
        app.router.add_route("*", path, handler)
    async with serving(app) as served:
        connection = served.connect()
        texts = [(await connection.ask(f"/{name}")).text for name in ("async", "plain", "lambda", "view", "method")]
        texts += [(await connection.ask(f"/{name}")).text for name in ("plain-method", "object")]
        assert texts == ["hello", "plain", "hello", "view", "method", "plain method", "object"]
        assert (await connection.ask("/view", method="POST")).status == 405


@pytest.mark.parametrize("target", ["/a/b?x=1", "/a/b#part", "/a/b?x=1#part", "http://test/a/b?x=1", "/a/%62"])
async def test_targets_of_every_form(target):
    async def echo(request):
        return Response(text=request.match_info["name"])

    async with serving(app_with(echo, path="/a/{name}")) as served:
        assert (await served.ask(target)).text == "b"


async def test_context_variables_do_not_leak_from_request_to_request():
    variable = contextvars.ContextVar("variable", default="unset")
    app = Application()

    async def start(app):
        variable.set("startup")

    async def mark(request, handler):
        before = variable.get()
        variable.set("middleware")
        response = await handler(request)
        response.headers["After"] = variable.get()
        response.headers["Before"] = before
        return response

    async def handler(request):
        seen = variable.get()
        variable.set("handler")
        await anyio.lowlevel.checkpoint()
        return Response(text=seen)

    app.on_startup.append(start)
    app.middlewares.append(mark)
    app.router.add_get("/", handler)
    async with serving(app) as served:
        connection = served.connect()
        for _ in range(2):
            answer = await connection.ask()
            assert (answer.headers["before"], answer.text, answer.headers["after"]) == (
                "startup",
                "middleware",
                "handler",
            )


# -- errors --------------------------------------------------------------------------------------------------------


async def fail(request):
    raise LookupError("<oops>")


async def test_an_unhandled_error_is_500(caplog):
    async with serving(app_with(fail)) as served:
        connection = served.connect()
        answer = await connection.ask()
        assert await connection.rest() == b""
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert answer.text == "500 Internal Server Error\n\nServer got itself in trouble"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["connection"] == "close"
    (record,) = errors(caplog)
    assert isinstance(record.exc_info[1], LookupError)
    assert "192.0.2.1" in record.getMessage()


async def test_an_unhandled_error_is_a_page_for_browsers():
    async with serving(app_with(fail)) as served:
        answer = await served.ask("/", "Accept: text/html,*/*")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>500 Internal Server Error</h1>" in answer.text
    assert "oops" not in answer.text
    assert "Traceback" not in answer.text


async def test_debug_shows_the_traceback_escaped():
    async with serving(app_with(fail), debug=True) as served:
        page = (await served.ask("/", "Accept: text/html")).text
        text = (await served.ask("/")).text
    assert "LookupError: &lt;oops&gt;" in page
    assert "<oops>" not in page
    assert "LookupError: <oops>" in text


async def test_the_logger_of_the_server_can_be_chosen(caplog):
    async with serving(app_with(fail), logger=logging.getLogger("mine")) as served:
        await served.ask()
    assert [record.name for record in caplog.records if record.levelno == logging.ERROR] == ["mine"]


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "Missing return statement"), ("text", "should return a response instance, got 'text'")],
)
async def test_what_is_no_response_is_500_and_the_connection_stays(value, message, caplog):
    async def handler(request):
        return value

    app = app_with(handler)
    app.router.add_get("/hello", hello)
    async with serving(app) as served:
        connection = served.connect()
        answer = await connection.ask("/")
        assert (answer.status, answer.text) == (500, "500: Internal Server Error")
        assert (await connection.ask("/hello")).text == "hello"
    (record,) = errors(caplog)
    assert message in record.getMessage()


async def test_a_timeout_error_is_504(caplog):
    async def handler(request):
        with anyio.fail_after(1):
            await anyio.sleep_forever()

    async with serving(app_with(handler)) as served:
        connection = served.connect()
        answer = await connection.ask()
        assert await connection.rest() == b""
    assert (answer.status, answer.reason, answer.body) == (504, "Gateway Timeout", b"")
    assert answer.headers["connection"] == "close"
    assert errors(caplog) == []


async def test_http_exceptions_are_responses():
    async def handler(request):
        raise HTTPForbidden(text="no", headers={"X-Why": "because"})

    async with serving(app_with(handler)) as served:
        connection = served.connect()
        for _ in range(2):
            answer = await connection.ask()
            assert (answer.status, answer.text, answer.headers["x-why"]) == (403, "no", "because")


async def child(error):
    raise error


@pytest.mark.parametrize(("kind", "status"), [(HTTPForbidden, 403), (TimeoutError, 504), (LookupError, 500)])
async def test_an_error_alone_in_a_group_counts_as_itself(kind, status, caplog):
    error = kind()

    async def handler(request):
        async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
            outer.start_soon(anyio.sleep, 1)
            inner.start_soon(child, error)

    async with serving(app_with(handler)) as served:
        assert (await served.ask()).status == status
    if status == 500:
        assert errors(caplog)[0].exc_info[1] is error


async def test_several_errors_in_a_group_are_500(caplog):
    async def handler(request):
        raise ExceptionGroup("both", [HTTPForbidden(), HTTPNotFound()])

    async with serving(app_with(handler)) as served:
        assert (await served.ask()).status == 500
    assert isinstance(errors(caplog)[0].exc_info[1], ExceptionGroup)


async def test_an_error_after_the_head_cuts_the_connection(caplog):
    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        await response.write(b"part")
        raise LookupError("late")

    async with serving(app_with(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        raw = await connection.rest()
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.count(b"HTTP/1.1") == 1
    assert not raw.endswith(b"0\r\n\r\n")
    (record,) = errors(caplog)
    assert isinstance(record.exc_info[1], LookupError)


async def test_an_http_exception_after_the_head_cuts_the_connection(caplog):
    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        raise HTTPForbidden

    async with serving(app_with(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        assert b"403" not in await connection.rest()
    assert len(errors(caplog)) == 1


async def test_another_response_than_the_one_begun_cuts_the_connection(caplog):
    async def handler(request):
        await StreamResponse().prepare(request)
        return Response(text="another")

    async with serving(app_with(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        assert b"another" not in await connection.rest()
    assert len(errors(caplog)) == 1


async def test_a_response_serves_once(caplog):
    once = Response(text="once")

    async def handler(request):
        return once

    async with serving(app_with(handler)) as served:
        assert (await served.ask()).text == "once"
        assert (await served.ask()).status == 500
    (record,) = errors(caplog)
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_an_http_exception_serves_once(caplog):
    once = HTTPForbidden()

    async def handler(request):
        raise once

    async with serving(app_with(handler)) as served:
        assert (await served.ask()).status == 403
        assert (await served.ask()).status == 500
    assert len(errors(caplog)) == 1


async def test_headers_that_cannot_be_sent_are_500(caplog):
    async def handler(request):
        return Response(headers={"X-Split": "a\r\nSet-Cookie: b"})

    async with serving(app_with(handler)) as served:
        answer = await served.ask()
    assert answer.status == 500
    assert "set-cookie" not in answer.headers
    assert isinstance(errors(caplog)[0].exc_info[1], ValueError)


# -- on_response_prepare -------------------------------------------------------------------------------------------


async def test_on_response_prepare_sees_every_response():
    seen = []

    async def note(request, response):
        seen.append((response.status, "Date" in response.headers))
        response.headers["X-Note"] = "noted"

    app = app_with(hello, "GET")
    app.router.add_get("/fail", fail)
    app.router.add_get("/none", lambda request: None)
    app.on_response_prepare.append(note)
    async with serving(app) as served:
        answers = [await served.ask(path) for path in ("/", "/absent", "/fail", "/none")]
        answers.append(await served.ask("/", method="POST"))
        connection = served.connect()
        await connection.stream.send(b"nonsense\r\n\r\n")
        assert b"X-Note: noted\r\n" in await connection.rest()
    assert [answer.headers.get("x-note") for answer in answers] == ["noted"] * 5
    assert seen == [(200, True), (404, True), (500, True), (500, True), (405, True), (400, True)]


async def test_on_response_prepare_runs_for_every_application_top_first():
    seen = []
    app, sub = Application(), Application()
    app.on_response_prepare.append(lambda request, response: seen.append("app"))
    sub.on_response_prepare.append(lambda request, response: seen.append("sub"))
    sub.router.add_get("/", hello)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        assert (await served.ask("/sub/")).text == "hello"
        assert seen == ["app", "sub"]
        await served.ask("/absent")
        assert seen == ["app", "sub", "app"]


async def test_a_failing_on_response_prepare_is_500(caplog):
    """Also when it fails again for the response that reports the failure."""

    async def fail(request, response):
        raise LookupError("prepare")

    app = app_with(hello)
    app.on_response_prepare.append(fail)
    async with serving(app) as served:
        connection = served.connect()
        answer = await connection.ask()
        assert await connection.rest() == b""
    assert answer.status == 500
    assert answer.text == "500 Internal Server Error\n\nServer got itself in trouble"
    assert [type(record.exc_info[1]) for record in errors(caplog)] == [LookupError, LookupError]


async def test_on_response_prepare_may_fail_once():
    fails = [LookupError("prepare")]

    async def fail_once(request, response):
        response.headers["X-Note"] = "noted"
        if fails:
            raise fails.pop()

    app = app_with(hello)
    app.on_response_prepare.append(fail_once)
    async with serving(app) as served:
        answer = await served.ask()
    assert (answer.status, answer.headers["x-note"]) == (500, "noted")


# -- clients that leave, cancellation ------------------------------------------------------------------------------


class Recorder(AbstractAccessLogger):
    """Keeps (status, bytes, seconds) of every line."""

    lines: ClassVar[list] = []

    def log(self, request, response, time):
        """Keep a line."""
        self.lines.append((request.method, request.raw_path, response.status, response.body_length > 0))


@pytest.fixture
def lines():
    Recorder.lines = []
    return Recorder.lines


async def test_a_client_that_leaves_cancels_the_handler(lines, caplog):
    ended = []

    async def handler(request):
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async with serving(app_with(handler), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
    assert ended == [True]
    assert lines == [("GET", "/", 499, False)]
    assert errors(caplog) == []


@pytest.mark.parametrize("where", ["server", "application", "sub-application", "route"])
async def test_a_handler_may_finish_without_its_client(where, lines, caplog):
    ended = []

    async def handler(request):
        await anyio.sleep(5)
        ended.append(True)
        return Response()

    app = Application(disconnect="finish" if where == "application" else None)
    sub = Application(disconnect="finish" if where == "sub-application" else None)
    sub.router.add_get("/", handler, disconnect="finish" if where == "route" else None)
    app.add_subapp("/sub", sub)
    options = {"disconnect": "finish"} if where == "server" else {}
    async with serving(app, access_log_class=Recorder, **options) as served:
        connection = served.connect()
        await connection.stream.send(get("/sub/"))
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(5)
    assert ended == [True]
    assert errors(caplog) == []
    assert len(lines) == 1


async def test_the_innermost_policy_counts():
    ended = []

    async def handler(request):
        try:
            await anyio.sleep(5)
        finally:
            ended.append(anyio.current_effective_deadline() != -float("inf"))
        return Response()

    app, sub = Application(disconnect="finish"), Application(disconnect="cancel")
    sub.router.add_get("/", handler)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get("/sub/"))
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
        assert ended == [False]


def test_a_policy_is_one_of_two_words():
    with pytest.raises(ValueError, match="'cancel', 'finish' or None, got 'abort'"):
        Application().router.add_post("/", hello, disconnect="abort")


async def test_a_handler_that_the_server_cuts_has_a_status_of_its_own(lines):
    """Nobody was answered, and nobody left: 444, as in nginx."""

    async def handler(request):
        if request.path == "/itself":
            request.cancel_scope.cancel()
        await anyio.sleep_forever()

    app = app_with(handler, path="/{path}")
    async with serving(app, access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(get("/itself"))
        assert await connection.rest() == b""
        connection = served.connect()
        await connection.stream.send(get("/shutdown"))
        await anyio.sleep(1)
        await served.engine.shutdown(2)
    assert lines == [("GET", "/itself", 444, False), ("GET", "/shutdown", 444, False)]


async def test_an_error_after_the_client_left_is_logged_and_not_sent(lines, caplog):
    async def handler(request):
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("in clean-up")

    async with serving(app_with(handler), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
    assert lines == [("GET", "/", 499, False)]
    assert isinstance(errors(caplog)[0].exc_info[1], LookupError)


async def test_writing_to_a_client_that_left_is_no_error(lines, caplog):
    caplog.set_level(logging.DEBUG, "structweb.server")
    raised = []

    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 1000)
                await anyio.sleep(1)
        except ConnectionResetError as exc:
            raised.append(exc)
            raise

    async with serving(app_with(handler, disconnect="finish"), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await connection.stream.receive()
        connection.stream.close()
        await anyio.sleep(5)
    assert len(raised) == 1
    assert errors(caplog) == []
    assert any("left" in record.getMessage() for record in caplog.records)
    assert lines == [("GET", "/", 200, True)]


async def test_a_client_may_leave_while_its_error_is_prepared(lines, caplog):
    async def handler(request):
        raise HTTPForbidden

    async def slow(request, response):
        await anyio.sleep(3)
        raise ConnectionResetError("gone")

    app = app_with(handler, disconnect="finish")
    app.on_response_prepare.append(slow)
    async with serving(app, access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(3)
    assert lines == [("GET", "/", 499, False)]
    assert errors(caplog) == []


async def test_reading_from_a_client_that_left_is_no_error(lines, caplog):
    raised = []

    async def handler(request):
        try:
            await request.read()
        except ConnectionResetError as exc:
            raised.append(exc)
            raise

    async with serving(app_with(handler), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\npart")
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
    assert len(raised) == 1
    assert lines == [("POST", "/", 499, False)]
    assert errors(caplog) == []


async def test_a_connection_error_of_the_handlers_own_is_500(lines):
    async def handler(request):
        raise ConnectionResetError("the database left")

    async with serving(app_with(handler), access_log_class=Recorder) as served:
        assert (await served.ask()).status == 500
    assert lines == [("GET", "/", 500, True)]


async def test_a_malformed_body_is_400(lines):
    async def handler(request):
        await request.read()

    async with serving(app_with(handler), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        raw = await connection.rest()
    assert raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close\r\n" in raw
    assert lines == [("POST", "/", 400, True)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_stops_the_program_is_no_response(error):
    async def handler(request):
        raise error

    with pytest.raises(error):
        async with serving(app_with(handler)) as served:
            connection = served.connect()
            await connection.stream.send(get())
            await anyio.sleep_forever()


# -- malformed requests --------------------------------------------------------------------------------------------


async def test_malformed_requests_are_answered_once_and_logged(lines, caplog):
    async with serving(app_with(hello), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.stream.send(b"GET /\x00 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n")
        raw = await connection.rest()
    assert raw.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert raw.count(b"HTTP/1.0 ") == 1
    assert b"HTTP/1.1 200" not in raw
    assert lines == [("UNKNOWN", "/", 400, True)]
    (record,) = [record for record in caplog.records if record.name == "structweb.server"]
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "192.0.2.1: 400 bad request line" in record.getMessage()


async def test_too_long_heads_have_their_own_status():
    async with serving(app_with(hello), max_field_size=100) as served:
        connection = served.connect()
        await connection.stream.send(get("/", "X-Long: " + "x" * 200))
        assert (await connection.rest()).startswith(b"HTTP/1.0 431 ")


# -- expectations --------------------------------------------------------------------------------------------------

EXPECTING = b"POST /%b HTTP/1.1\r\nHost: test\r\nExpect: %b\r\nContent-Length: 4\r\n\r\n"


async def echo(request):
    return Response(body=await request.read())


async def test_100_continue_comes_before_the_middlewares():
    seen = []

    async def look(request, handler):
        seen.append(await request.text())
        return await handler(request)

    async with serving(app_with(echo, middlewares=[look])) as served:
        connection = served.connect()
        await connection.stream.send(EXPECTING % (b"", b"100-continue"))
        assert await connection.stream.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.stream.send(b"body")
        assert (await connection.answer()).text == "body"
    assert seen == ["body"]


@pytest.mark.parametrize(("method", "path", "status"), [(b"POST", b"absent", 404), (b"PUT", b"", 405)])
async def test_no_100_for_what_is_not_there(method, path, status):
    async with serving(app_with(echo, "POST")) as served:
        connection = served.connect()
        await connection.stream.send((EXPECTING % (path, b"100-continue")).replace(b"POST", method))
        assert (await connection.answer()).status == status


async def test_an_unknown_expectation_is_417():
    async with serving(app_with(echo)) as served:
        connection = served.connect()
        await connection.stream.send(EXPECTING % (b"", b"miracle"))
        answer = await connection.answer()
    assert (answer.status, answer.text) == (417, "Unknown Expect: miracle")


async def test_http_1_0_has_no_expectations():
    async with serving(app_with(echo)) as served:
        connection = served.connect()
        await connection.stream.send((EXPECTING % (b"", b"100-continue")).replace(b"HTTP/1.1", b"HTTP/1.0") + b"body")
        answer = await connection.answer()
    assert (answer.status, answer.text) == (200, "body")


async def test_an_expect_handler_may_answer_raise_or_let_go():
    async def expect(request):
        match request.headers["Expect"]:
            case "answer":
                return Response(text="early")
            case "raise":
                raise HTTPBadRequest(text="no")
            case _:
                return await request.send_continue()

    app = Application()
    app.router.add_post("/", echo, expect_handler=expect)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(EXPECTING % (b"", b"answer"))
        assert (await connection.answer()).text == "early"
        connection = served.connect()
        await connection.stream.send(EXPECTING % (b"", b"raise"))
        assert (await connection.answer()).status == 400
        connection = served.connect()
        await connection.stream.send(EXPECTING % (b"", b"other"))
        assert (await connection.stream.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await connection.stream.send(b"body")
        assert (await connection.answer()).text == "body"


# -- the access log ------------------------------------------------------------------------------------------------


async def test_one_line_a_request(lines):
    async with serving(app_with(hello, "GET"), access_log_class=Recorder) as served:
        connection = served.connect()
        await connection.ask("/?a=1")
        await connection.ask("/absent")
        await connection.ask("/", method="POST")
    assert lines == [("GET", "/?a=1", 200, True), ("GET", "/absent", 404, True), ("POST", "/", 405, True)]


async def test_the_line_has_the_time_it_took(lines):
    took = []

    class Timer(AbstractAccessLogger):
        def log(self, request, response, time):
            took.append(time)

    async with serving(app_with(hello), access_log_class=Timer) as served:
        await served.ask()
    assert 0 <= took[0] < 60


async def test_a_disabled_log_is_not_asked():
    class Off(Recorder):
        enabled = False

    async with serving(app_with(hello), access_log_class=Off) as served:
        await served.ask()
    assert Off.lines == []


async def test_a_failing_access_logger_is_logged(caplog):
    class Failing(AbstractAccessLogger):
        def log(self, request, response, time):
            raise LookupError("log")

    async with serving(app_with(hello), access_log_class=Failing) as served:
        connection = served.connect()
        for _ in range(2):
            assert (await connection.ask()).text == "hello"
    assert len(errors(caplog)) == 2


async def test_no_access_log():
    async with serving(app_with(hello), access_log=None) as served:
        assert (await served.ask()).text == "hello"


async def test_an_error_has_no_context_of_the_way_it_is_run(caplog):
    """The cancellation that ended the wait was dealt with, and is no part of what comes after it."""

    async def handler(request):
        with anyio.move_on_after(1):
            await anyio.sleep_forever()
        raise LookupError("the handler's own")

    async with serving(app_with(handler)) as served:
        assert (await served.ask()).status == 500
    (record,) = errors(caplog)
    assert repr(record.exc_info[1]) == repr(LookupError("the handler's own"))
    assert record.exc_info[1].__context__ is None
