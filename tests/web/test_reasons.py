"""Every cancellation has its reason: in the log, and for the handler that asks (B-09)."""

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest

from structweb import jobs, web
from structweb.web import CancelReason
from tests.web.served import Connection, get, serving

pytestmark = pytest.mark.anyio


class Witness:
    """A handler that waits for ever, and what its clean-up is told."""

    def __init__(self) -> None:
        self.began = anyio.Event()
        self.told = anyio.Event()
        self.before: object = "nothing"
        self.reason: object = "nothing"
        self.message = ""

    async def __call__(self, request: web.Request) -> web.Response:
        self.before = request.cancel_reason
        self.began.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            self.reason, self.message = request.cancel_reason, str(exc)
            self.told.set()
            raise

    async def heard(self, app: web.Application, strike: Callable[[Connection], Awaitable[object]]) -> object:
        """Return what it is told when `strike` is done to it."""
        async with serving(app) as served:
            connection = served.connect()
            await connection.stream.send(get())
            await self.began.wait()
            await strike(connection)
            await self.told.wait()
        return self.reason


def app_with(handler: object, **options: object) -> web.Application:
    app = web.Application()
    app.router.add_get("/", handler, **options)
    return app


async def wait(connection: Connection) -> None:
    """Do nothing to it."""


def logged(caplog: pytest.LogCaptureFixture, words: str) -> list[int]:
    return [record.levelno for record in caplog.records if words in record.getMessage()]


async def test_the_client_is_gone(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    witness = Witness()

    async def leave(connection: Connection) -> None:
        connection.stream.close()

    assert await witness.heard(app_with(witness), leave) is CancelReason.CLIENT_GONE
    assert witness.before is None
    assert "client gone" in witness.message  # anyio's reason, for tracebacks: it comes along on both backends
    assert logged(caplog, "cancelled, client gone") == [logging.DEBUG]


async def test_the_deadline_has_passed(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    witness = Witness()
    assert await witness.heard(app_with(witness, handler_timeout=5), wait) is CancelReason.DEADLINE
    assert logged(caplog, "cancelled, deadline") == [logging.DEBUG]


async def test_a_middleware_can_still_ask_about_the_deadline():
    reasons = []

    @web.middleware
    async def asks(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        try:
            response = await handler(request)
        except TimeoutError:
            response = web.Response(status=503)
        reasons.append(request.cancel_reason)
        return response

    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(float(request.query["seconds"]))
        return web.Response()

    app = web.Application(middlewares=[asks], handler_timeout=5)
    app.router.add_get("/", handler)
    async with serving(app) as served:
        assert (await served.ask("/?seconds=9")).status == 503
        assert (await served.ask("/?seconds=1")).status == 200
    assert reasons == [CancelReason.DEADLINE, None]


async def test_the_server_shuts_down(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    witness = Witness()
    async with serving(app_with(witness)) as served:
        await served.connect().stream.send(get())
        await witness.began.wait()
        report = await served.engine.shutdown(3)
    assert witness.reason is CancelReason.SHUTDOWN
    assert [record.reason for record in report.cancelled] == ["server shutdown"]
    assert logged(caplog, "Connection cancelled, server shutdown") == [logging.DEBUG]


async def test_a_task_of_the_request_has_failed(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    witness, sibling = Witness(), Witness()

    async def fail() -> None:
        raise LookupError("no such row")

    async def handler(request: web.Request) -> web.Response:
        request.spawn(sibling, request)
        await sibling.began.wait()
        request.spawn(fail)
        return await witness(request)

    assert await witness.heard(app_with(handler), wait) is CancelReason.SIBLING_ERROR
    assert sibling.reason is CancelReason.SIBLING_ERROR
    assert logged(caplog, "a task of the request failed") == [logging.DEBUG]


async def test_the_handler_has_failed_beside_its_tasks(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    sibling = Witness()

    async def handler(request: web.Request) -> web.Response:
        request.spawn(sibling, request)
        await sibling.began.wait()
        raise LookupError("no such row")

    assert await sibling.heard(app_with(handler), wait) is CancelReason.SIBLING_ERROR
    assert logged(caplog, "Tasks cancelled, sibling error") == [logging.DEBUG]


async def test_a_limit_of_the_server(caplog: pytest.LogCaptureFixture):
    """A head that does not come to its end: nobody handles it yet, so the log is who is told."""
    caplog.set_level(logging.DEBUG)
    async with serving(app_with(Witness())) as served:
        connection = served.connect()
        await connection.stream.send(b"GET / HT")
        await connection.rest()
    assert logged(caplog, "Connection cancelled, head timeout") == [logging.DEBUG]


async def test_somebody_else_has_no_reason():
    reasons = []

    async def handler(request: web.Request) -> web.Response:
        with anyio.move_on_after(1):
            try:
                await anyio.sleep_forever()
            finally:
                reasons.append(request.cancel_reason)
        return web.Response()

    async with serving(app_with(handler)) as served:
        assert (await served.ask()).status == 200
    assert reasons == [None]


async def test_the_first_reason_of_a_connection_counts():
    """A client that leaves while the shutdown waits for a shield does not become the reason."""
    reasons = []
    inside, go_on = anyio.Event(), anyio.Event()

    async def handler(request: web.Request) -> web.Response:
        try:
            async with request.atomic():
                inside.set()
                await go_on.wait()
        finally:
            reasons.append(request.cancel_reason)
        return web.Response()

    async with serving(app_with(handler)) as served, anyio.create_task_group() as tasks:
        connection = served.connect()
        await connection.stream.send(get())
        await inside.wait()
        tasks.start_soon(served.engine.shutdown, 0)
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
        go_on.set()
    assert reasons == [CancelReason.SHUTDOWN]


async def test_a_job_has_its_reason_in_the_log_and_for_who_waits(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with jobs.Scheduler(wait_timeout=1) as scheduler:
        job = await scheduler.spawn(anyio.sleep_forever)
    with pytest.raises(jobs.JobCancelled, match="its scheduler was closed"):
        await job.wait()
    assert logged(caplog, "cancelled, its scheduler was closed") == [logging.DEBUG]
