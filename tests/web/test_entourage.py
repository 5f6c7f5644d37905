"""The tasks of a handler end with it, also where a middleware answers for it, and its deadline is theirs."""

import logging

import anyio
import pytest

from structweb import web
from tests.web.talk import ask

pytestmark = pytest.mark.anyio


@web.middleware
async def mend(request: web.Request, handler) -> web.StreamResponse:
    """Answer for a handler that fails."""
    try:
        return await handler(request)
    except (TimeoutError, LookupError) as exc:
        return web.Response(status=503, text=type(exc).__name__)


@web.middleware
async def hurry(request: web.Request, handler) -> web.StreamResponse:
    """Give a handler a second, in the middleware's own way."""
    with anyio.move_on_after(1):
        return await handler(request)
    return web.Response(status=503, text="hurry")


async def outcome(handler, around, **options: object) -> tuple[int, bytes, float]:
    """Return status, body and seconds of one request."""
    app = web.Application(middlewares=[] if around is None else [around])
    app.router.add_get("/", handler, **options)
    start = anyio.current_time()
    reply = await ask(app)
    return reply.status, reply.body, anyio.current_time() - start


@pytest.mark.parametrize("inside", [False, True])
async def test_a_middleware_that_answers_for_a_handler_does_not_wait_for_its_tasks(inside: bool):
    reasons = []

    async def handler(request: web.Request) -> web.Response:
        async def work() -> None:
            try:
                await anyio.sleep(100)
            finally:
                reasons.append(request.cancel_reason)

        request.spawn(work)
        await anyio.sleep(1)
        raise LookupError

    around, options = (None, {"middlewares": [mend]}) if inside else (mend, {})
    assert await outcome(handler, around, **options) == (503, b"LookupError", pytest.approx(1))
    assert reasons == [web.CancelReason.SIBLING_ERROR]


async def test_nor_one_that_cancels_it():
    async def handler(request: web.Request) -> web.Response:
        request.spawn(anyio.sleep, 100)
        await anyio.sleep(100)
        raise AssertionError

    assert await outcome(handler, hurry) == (503, b"hurry", pytest.approx(1))


@pytest.mark.parametrize(("around", "answer"), [(None, (504, b"")), (mend, (503, b"TimeoutError"))])
@pytest.mark.parametrize("returns", [False, True])
async def test_the_deadline_of_a_handler_is_that_of_its_tasks(around, answer: tuple[int, bytes], returns: bool):
    reasons = []

    async def handler(request: web.Request) -> web.Response:
        async def work() -> None:
            try:
                await anyio.sleep_until(request.deadline + 5)
            finally:
                reasons.append(request.cancel_reason)

        request.spawn(work)
        if not returns:
            await anyio.sleep(100)
        return web.Response(text="done")

    assert await outcome(handler, around, handler_timeout=2) == (*answer, pytest.approx(2))
    assert reasons == [web.CancelReason.DEADLINE]


async def test_tasks_that_end_in_time_are_waited_for():
    async def handler(request: web.Request) -> web.Response:
        request.spawn(anyio.sleep, 1)
        return web.Response(text="done")

    assert await outcome(handler, mend, handler_timeout=2) == (200, b"done", pytest.approx(1))


@pytest.mark.parametrize("options", [{}, {"handler_timeout": 2}])
async def test_the_tasks_of_a_middleware_are_its_own(options: dict[str, float]):
    steps = []

    async def audit() -> None:
        await anyio.sleep(5)
        steps.append("audited")

    @web.middleware
    async def audited(request: web.Request, handler) -> web.StreamResponse:
        request.spawn(audit)
        response = await mend(request, handler)
        request.spawn(audit)
        return response

    async def fail(request: web.Request) -> web.Response:
        request.spawn(anyio.sleep, 100)
        await anyio.sleep(1)
        raise LookupError

    async def succeed(request: web.Request) -> web.Response:
        request.spawn(anyio.sleep, 1)
        return web.Response(text="done")

    assert await outcome(fail, audited, **options) == (503, b"LookupError", pytest.approx(6))
    assert steps == ["audited"] * 2
    assert (await outcome(succeed, audited, **options))[:2] == (200, b"done")
    assert steps == ["audited"] * 4


async def test_what_tasks_raise_while_they_are_ended_is_logged(caplog: pytest.LogCaptureFixture):
    async def work() -> None:
        try:
            await anyio.sleep(100)
        finally:
            raise ValueError("on the way out")

    async def handler(request: web.Request) -> web.Response:
        request.spawn(work)
        await anyio.sleep(1)
        raise LookupError

    assert (await outcome(handler, mend))[:2] == (503, b"LookupError")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "Tasks of <Head GET / HTTP/1.1> failed as well" in record.getMessage()
    assert str(record.exc_info[1]) == "on the way out"


@pytest.mark.parametrize("options", [{}, {"handler_timeout": 5}])
async def test_a_task_that_fails_is_answered_through_middlewares(options: dict[str, float]):
    async def work() -> None:
        await anyio.sleep(1)
        raise web.HTTPConflict

    async def handler(request: web.Request) -> web.Response:
        request.spawn(work)
        request.spawn(anyio.sleep, 100)
        return web.Response(text="done")

    assert await outcome(handler, mend, **options) == (409, b"409: Conflict", pytest.approx(1))
