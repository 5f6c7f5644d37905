"""The tasks of a request: the response waits for them, and nothing of them is left behind it."""

import io
import logging
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from structweb import web
from structweb.testing import memory_pipe
from tests.web.served import get, serving
from tests.web.talk import app_of, ask

pytestmark = pytest.mark.anyio


async def test_the_response_waits_for_what_was_spawned():
    steps = []

    async def save(name: str) -> None:
        await anyio.sleep(1)
        steps.append(name)

    async def handler(request: web.Request) -> web.Response:
        request.spawn(save, "a")
        request.spawn(save, "b", name="the second")
        steps.append("returned")
        return web.Response(text="saved")

    start = anyio.current_time()
    reply = await ask(handler)
    assert (reply.status, reply.body) == (200, b"saved")
    assert steps[0] == "returned"
    assert sorted(steps[1:]) == ["a", "b"]
    assert anyio.current_time() - start == pytest.approx(1)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_body_of_a_response_that_is_not_sent_is_closed(fails: bool):
    """Behind a returned response, a task raises, or the client leaves."""
    file = io.BufferedReader(io.BytesIO(b"body"))

    async def task() -> None:
        await anyio.sleep(1)
        if fails:
            raise LookupError
        await anyio.sleep_forever()

    async def handler(request: web.Request) -> web.Response:
        request.spawn(task)
        return web.Response(body=file)

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        if fails:
            assert (await connection.answer()).status == 500
        else:
            await anyio.sleep(1)
            assert not file.closed
            connection.stream.close()
            await anyio.sleep(1)
        assert file.closed


async def test_a_connection_lives_on_behind_it():
    async def handler(request: web.Request) -> web.Response:
        request.spawn(anyio.sleep, 1)
        return web.Response(text="ok")

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        for _ in range(3):
            assert (await connection.ask()).text == "ok"


async def test_a_task_may_spawn_another_one():
    steps = []

    async def handler(request: web.Request) -> web.Response:
        async def first() -> None:
            await anyio.sleep(1)
            request.spawn(second)

        async def second() -> None:
            await anyio.sleep(1)
            steps.append("second")

        request.spawn(first)
        return web.Response()

    await ask(handler)
    assert steps == ["second"]


async def test_context_variables_are_those_of_the_handler():
    variable: ContextVar[str] = ContextVar("variable")
    seen = []

    async def look() -> None:
        seen.append(variable.get())

    async def handler(request: web.Request) -> web.Response:
        variable.set("the handler's")
        request.spawn(look)
        return web.Response()

    await ask(handler)
    assert seen == ["the handler's"]


@pytest.mark.parametrize("waits", [False, True])
async def test_what_a_task_raises_is_answered(waits: bool, caplog):
    """Whether the handler has returned by then or not: it is cancelled, and so are the siblings."""
    ends = []

    async def sibling() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("sibling")

    async def fail() -> None:
        await anyio.sleep(1)
        raise ZeroDivisionError("of a task")

    async def handler(request: web.Request) -> web.Response:
        request.spawn(sibling)
        request.spawn(fail)
        if waits:
            try:
                await anyio.sleep_forever()
            finally:
                ends.append("handler")
        return web.Response(text="never seen")

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        answer = await connection.ask()
        assert await connection.rest() == b""
    assert answer.status == 500
    assert answer.headers["connection"] == "close"
    assert "ZeroDivisionError: of a task" in caplog.text
    assert sorted(ends) == (["handler", "sibling"] if waits else ["sibling"])


async def test_a_task_may_raise_a_response():
    async def fail() -> None:
        raise web.HTTPNotFound(text="no such thing")

    async def handler(request: web.Request) -> web.Response:
        request.spawn(fail)
        await anyio.sleep_forever()
        raise AssertionError("never here")

    reply = await ask(handler)
    assert (reply.status, reply.body) == (404, b"no such thing")


async def test_a_handler_that_raises_has_its_tasks_cancelled():
    ends = []

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("task")

    async def handler(request: web.Request) -> web.Response:
        request.spawn(task)
        await anyio.sleep(1)
        raise web.HTTPConflict(text="taken")

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        answer = await connection.ask()
        assert (answer.status, answer.text, ends) == (409, "taken", ["task"])
        assert (await connection.ask()).status == 409  # and the connection lives on


async def test_tasks_that_fail_while_they_are_cancelled_are_logged(caplog):
    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ZeroDivisionError("of a task")

    async def handler(request: web.Request) -> web.Response:
        request.spawn(task)
        await anyio.sleep(1)
        raise web.HTTPConflict(text="taken")

    async with serving(app_of(handler)) as served:
        assert (await served.connect().ask()).status == 409
    assert "Tasks of <Head GET / HTTP/1.1> failed as well" in caplog.text
    assert "ZeroDivisionError: of a task" in caplog.text


async def test_a_client_cannot_fill_the_log_by_failing_tasks(caplog):
    """One whose body does not go on, while the handler has failed of its own, and waits for a task behind a shield."""

    async def read(request: web.Request) -> None:
        async with request.atomic(deadline=1000):
            await request.read()

    async def handler(request: web.Request) -> web.Response:
        request.spawn(read, request)
        await anyio.sleep(1)
        raise web.HTTPConflict

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get("/", "Content-Length: 100", method="POST"))
        assert (await connection.answer()).status == 409
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_client_that_leaves_ends_handler_and_tasks(caplog):
    ends = []
    all_ended = anyio.Event()

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("task")
            all_ended.set()

    async def handler(request: web.Request) -> web.Response:
        request.spawn(task)
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("handler")
        raise AssertionError("never here")

    async with serving(app_of(handler)) as served:
        client = served.connect().stream
        await client.send(get())
        await anyio.wait_all_tasks_blocked()
        await client.aclose()
        await all_ended.wait()
        await anyio.wait_all_tasks_blocked()
        assert not served.engine.connections
    assert ends == ["handler", "task"]
    assert "Error" not in caplog.text


async def test_a_streamed_response_is_finished_behind_its_tasks():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)

        async def write() -> None:
            for number in range(3):
                await anyio.sleep(1)
                await response.write(b"%d " % number)

        request.spawn(write)
        return response

    reply = await ask(handler)
    assert reply.body == b"0 1 2 "


async def test_a_task_that_fails_behind_a_streamed_head_cuts_the_response(caplog):
    async def fail() -> None:
        await anyio.sleep(1)
        raise ZeroDivisionError

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        request.spawn(fail)
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        received = await connection.stream.receive_until(b"begun\r\n")
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert await connection.rest() == b""  # without the last chunk
    assert "ZeroDivisionError" in caplog.text


async def test_what_is_spawned_while_the_response_is_prepared_is_waited_for():
    ends = []

    async def task() -> None:
        await anyio.sleep(1)
        ends.append("task")

    async def spawn(request: web.Request, response: web.StreamResponse) -> None:
        request.spawn(task)

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app = app_of(handler)
    app.on_response_prepare.append(spawn)
    async with serving(app) as served:
        connection = served.connect()
        await connection.ask()
        await connection.ask()
        assert ends[0] == "task"


async def test_a_request_that_is_over_spawns_nothing():
    requests = []

    async def handler(request: web.Request) -> web.Response:
        requests.append(request)
        return web.Response()

    await ask(handler)
    with pytest.raises(RuntimeError, match=r"cannot spawn <function sleep .*>: <Head GET / HTTP/1.1> is over"):
        requests[0].spawn(anyio.sleep, 1)


async def test_the_tasks_of_a_clone_are_the_requests():
    steps = []

    async def task() -> None:
        await anyio.sleep(1)
        steps.append("task")

    async def handler(request: web.Request) -> web.Response:
        request.clone(method="POST").spawn(task)
        return web.Response()

    async with serving(app_of(handler)) as served:
        await served.connect().ask()
        assert steps == ["task"]


async def test_a_task_that_ends_the_program_ends_it():
    async def fail() -> None:
        raise SystemExit(3)

    async def handler(request: web.Request) -> web.Response:
        request.spawn(fail)
        await anyio.sleep_forever()
        raise AssertionError("never here")

    with pytest.raises(SystemExit):
        async with serving(app_of(handler)) as served:
            await served.connect().stream.send(get())
            await anyio.sleep_forever()


async def test_what_is_no_function_is_refused_where_it_is_given():
    """A coroutine is what people bring who know create_task; the application must not end for it."""

    async def work() -> None:
        """Never runs."""

    said = []

    async def handler(request: web.Request) -> web.Response:
        for take in (request.spawn, request.app.start_soon):
            for wrong in (work(), 5):
                with pytest.raises(TypeError) as caught:
                    take(wrong)
                said.append(str(caught.value))
        return web.Response(text="goes on")

    async with serving(app_of(handler)) as served:
        assert (await served.ask()).text == "goes on"
        assert (await served.ask()).text == "goes on"
    assert said[0].startswith("request.spawn() takes an async function and its arguments, got <coroutine object")
    assert said[0].endswith("work, name it and put its arguments behind it")
    assert said[1] == "request.spawn() takes an async function and its arguments, got 5"
    assert said[2].startswith("app.start_soon() takes an async function and its arguments, got <coroutine object")


async def test_a_plain_function_is_named_when_it_was_called(caplog):
    async def handler(request: web.Request) -> web.Response:
        request.spawn(print)  # type: ignore[arg-type]  # is what it tests
        return web.Response()

    reply = await ask(handler)
    assert reply.status == 500
    assert "a task must be an async function, got <built-in function print>, which returned None" in caplog.text


@pytest.mark.parametrize("before", [False, True], ids=["the first", "another one"])
@pytest.mark.parametrize("error", [ValueError, web.HTTPConflict])
async def test_what_is_spawned_while_a_failure_is_answered_is_waited_for(before: bool, error: type[Exception], caplog):
    """By a receiver of on_response_prepare, or by whoever else still holds the request, a job say."""
    ended: list[str] = []

    async def late() -> None:
        await anyio.sleep(1)
        ended.append("late")

    async def handler(request: web.Request) -> web.Response:
        if before:
            request.spawn(anyio.lowlevel.checkpoint)
            await anyio.sleep(1)
        raise error

    async def receiver(request: web.Request, response: web.StreamResponse) -> None:
        request.spawn(late)

    app = app_of(handler)
    app.on_response_prepare.append(receiver)
    async with serving(app) as served:
        connection = served.connect()
        assert (await connection.ask("/", "Connection: close")).status == (500 if error is ValueError else 409)
        assert await connection.rest() == b""
        assert ended == ["late"]


async def test_a_task_of_an_answered_failure_that_fails_is_logged(caplog):
    """The answer is on its way: there is no other."""

    async def late() -> None:
        await anyio.sleep(1)
        raise OSError("disk full")

    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPConflict

    async def receiver(request: web.Request, response: web.StreamResponse) -> None:
        request.spawn(late)

    app = app_of(handler)
    app.on_response_prepare.append(receiver)
    async with serving(app) as served:
        assert (await served.connect().ask()).status == 409
        await anyio.sleep(2)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "failed as well" in record.getMessage()
    assert isinstance(record.exc_info[1], OSError)


async def test_a_client_that_leaves_while_a_failure_is_answered_takes_its_tasks_along():
    ended: list[str] = []

    async def late() -> None:
        try:
            await anyio.sleep(100)
        finally:
            ended.append("late")

    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPConflict

    async def receiver(request: web.Request, response: web.StreamResponse) -> None:
        request.spawn(late)
        await anyio.sleep(100)

    app = app_of(handler)
    app.on_response_prepare.append(receiver)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(get("/"))
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
        assert ended == ["late"]


async def test_a_request_that_can_only_be_cut_spawns_nothing():
    """Its error was answered with an error: nobody would wait for the task."""
    refused: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPConflict

    async def receiver(request: web.Request, response: web.StreamResponse) -> None:
        elsewhere.start_soon(job, request)
        raise OSError("disk full")

    async def job(request: web.Request) -> None:
        await cut.wait()
        with pytest.raises(RuntimeError, match="cannot start a task: a request is ending"):
            request.spawn(anyio.sleep, 100)
        refused.append("job")

    cut = anyio.Event()
    app = app_of(handler)
    app.on_response_prepare.append(receiver)
    async with anyio.create_task_group() as elsewhere, serving(app) as served:
        client, server = memory_pipe(10)
        elsewhere.start_soon(served.engine.serve_stream, server)
        await client.send(get("/"))
        await anyio.wait_all_tasks_blocked()  # the last resort is on its way
        cut.set()
        await anyio.wait_all_tasks_blocked()
        assert refused == ["job"]
        assert b"500 Internal Server Error" in await client.receive_all()


@pytest.mark.parametrize("holds", [2.0, 1000.0])
@pytest.mark.parametrize("attempt", range(5))  # on trio, which of two tasks runs first is up to a coin
async def test_a_shutdown_waits_for_a_shield_that_goes_up_as_another_one_comes_down(holds: float, attempt: int):
    """A task that begins in the last moment of a handler's shield is cancelled with the handler, and not before."""
    steps: list[str] = []

    async def task(request: web.Request) -> None:
        async with request.atomic(deadline=5000):
            await anyio.sleep(holds)
            steps.append("task")

    async def handler(request: web.Request) -> web.Response:
        async with request.atomic():
            await anyio.sleep(5)
            request.spawn(task, request)
        raise AssertionError("never here")

    async with serving(app_of(handler)) as served:
        await served.connect().stream.send(get())
        await anyio.wait_all_tasks_blocked()
        start = anyio.current_time()
        report = await served.engine.shutdown(1)
        took = anyio.current_time() - start
    if steps:
        assert took == pytest.approx(5 + holds, abs=0.2)
        assert report.lifted == ()
    else:  # it was lifted, or the task was cancelled before it began
        assert took <= 1 + 10 + 0.3  # what shields have at a shutdown
        assert len(report.lifted) == (took > 6)
    assert (len(report.cancelled), report.abandoned) == (1, ())
