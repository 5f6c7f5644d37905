"""What may hold a shutdown, one after the other and all together: it ends in time, cleans up, and names the culprit."""

import json
import logging
import math

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from structweb import jobs, web
from structweb.testing import memory_pipe

pytestmark = pytest.mark.anyio

#: Seconds for requests to finish, and what each step of the clean-up has.
TIMEOUT, CLEANUP = 2.0, 3.0
#: What a shutdown may take beyond its budgets.
LEEWAY = 0.3
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def line(func, offset: int) -> str:
    """Return how a report names a line of a function, counted from its ``def``."""
    code = func.__code__
    return f"{__file__}:{code.co_firstlineno + offset} in {code.co_qualname}"


class House:
    """An application with a runner in a task of its own, and clients in memory."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self.app = web.Application()
        self.cleaned: list[str] = []
        self.took = math.nan
        self.report = None
        self.error: BaseException | None = None
        self._group = group
        self._stop, self._ended = anyio.Event(), anyio.Event()
        self.app.cleanup_ctx.append(self._first)

    async def _first(self, app: web.Application):
        """The context that is left last: it runs whatever became of the others."""
        yield
        await anyio.lowlevel.checkpoint()
        self.cleaned.append("first")

    async def open(self, **options: object) -> None:
        async def goodbye(app: web.Application) -> None:
            self.cleaned.append("on_cleanup")

        self.app.on_cleanup.append(goodbye)
        limits = {"shutdown_timeout": TIMEOUT, "cleanup_timeout": CLEANUP, "shield_timeout": 1.0}
        self._runner = web.AppRunner(self.app, access_log=None, **{**limits, **options})
        await self._group.start(self._run)

    async def _run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            async with self._runner:
                task_status.started()
                await self._stop.wait()
                start = anyio.current_time()
        except Exception as exc:  # noqa: BLE001 - it is for the test to look at
            self.error = exc
        self.took = anyio.current_time() - start
        self.report = self._runner.report
        self._ended.set()

    async def connect(self, sent: bytes = b"", capacity: int = 65536):
        client, server = memory_pipe(capacity)
        self._group.start_soon(self._runner.server, server)
        await client.send(sent)
        await anyio.sleep(0.1)
        return client

    async def close(self) -> web.AppRunner:
        """Shut down as a signal does, and wait for the end."""
        self._stop.set()
        await self._ended.wait()
        assert self.cleaned == ["first", "on_cleanup"]
        return self.report


@pytest.fixture
async def house():
    async with anyio.create_task_group() as group:
        yield House(group)
        group.cancel_scope.cancel()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 10_000)
        await anyio.sleep(0.01)


async def atomic(request: web.Request) -> web.Response:
    async with request.atomic(deadline=1000):
        await anyio.sleep_forever()
    raise AssertionError("never here")


async def websocket(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


async def stubborn_job() -> None:
    await anyio.sleep_forever()


async def test_idle_and_silent_connections_cost_nothing(house):
    house.app.router.add_get("/", lambda request: web.Response())
    await house.open()
    await house.connect(get("/"))
    await house.connect()
    await house.connect(b"GET /")
    report = await house.close()
    assert house.took == 0
    assert (report.idle, report.clean) == (3, True)
    assert [step.outcome for step in report.steps] == ["done", "done"]


@pytest.mark.parametrize("capacity", [30_000, 10_000_000], ids=["stalled reader", "endless stream"])
async def test_a_stream_without_an_end(house, capacity):
    house.app.router.add_get("/endless", endless)
    await house.open()
    client = await house.connect(get("/endless"), capacity)
    report = await house.close()
    assert TIMEOUT <= house.took <= TIMEOUT + LEEWAY
    (record,) = report.cancelled
    assert record.route == "GET /endless"
    assert record.waits_at == line(endless, 4 if capacity == 30_000 else 5)
    await client.aclose()


async def test_an_idle_websocket(house):
    house.app.router.add_get("/ws", websocket)
    await house.open()
    await house.connect(WEBSOCKET)
    report = await house.close()
    assert house.took <= TIMEOUT + LEEWAY
    (record,) = report.cancelled
    # The handler has ended, told of 1001: what is waited for is the peer's own goodbye.
    assert (record.phase, record.route, record.waits_at) == ("upgraded", "GET /ws", "")


async def test_a_handler_behind_a_shield_for_ever(house):
    house.app.router.add_get("/atomic", atomic)
    await house.open()
    await house.connect(get("/atomic"))
    report = await house.close()
    assert TIMEOUT + 1 <= house.took <= TIMEOUT + 1 + LEEWAY
    (record,) = report.lifted
    assert record.waits_at == line(atomic, 2)


async def test_a_task_of_a_handler_that_has_returned(house):
    """The handler waits inside of structweb then: it is the task that does not end."""

    async def mail() -> None:
        await anyio.sleep_forever()

    async def handler(request: web.Request) -> web.Response:
        request.spawn(mail)
        return web.Response()

    house.app.router.add_get("/", handler)
    await house.open()
    await house.connect(get("/"))
    report = await house.close()
    assert TIMEOUT <= house.took <= TIMEOUT + LEEWAY
    (record,) = report.cancelled
    assert record.waits_at == line(mail, 1)


@pytest.mark.parametrize("way", ["spawn", "shield"])
async def test_a_job_that_goes_on_until_its_shield_is_lifted(house, way):
    async def handler(request: web.Request) -> web.Response:
        if way == "spawn":
            await jobs.spawn(request, stubborn_job)
        else:
            jobs.shield(request, stubborn_job)
        return web.Response()

    house.app.router.add_get("/", handler)
    jobs.setup(house.app, wait_timeout=5.0)  # more than a step has that says nothing of itself
    await house.open()
    await house.connect(get("/"))
    report = await house.close()
    assert 5 <= house.took <= 5 + LEEWAY
    (job,) = [step for step in report.steps if step.kind == "job"]
    assert (job.name, job.outcome) == ("stubborn_job", "cut short")
    assert job.waits_at == line(stubborn_job, 1)
    assert "structweb.jobs.application.setup" in [step.name for step in report.steps if step.kind == "context"]
    assert not report.clean


async def test_a_service_that_crashes_while_stopping(house):
    async def crash() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("the disk is gone")

    house.app.service(crash)
    await house.open()
    report = await house.close()
    assert house.took == 0
    assert isinstance(house.error, OSError)
    (step,) = [step for step in report.steps if step.kind == "service"]
    assert (step.outcome, step.error) == ("failed", "OSError('the disk is gone')")
    assert step.name == "crash"


async def test_a_task_that_shields_itself_is_abandoned_by_name_and_the_rest_is_cleaned_up(house):
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(20)

    async def start(app: web.Application) -> None:
        app.start_soon(stubborn)

    house.app.on_startup.append(start)
    await house.open()
    await anyio.sleep(0.1)
    report = await house.close()
    assert house.took == pytest.approx(19.9)  # who leaves the application waits
    (step,) = [step for step in report.steps if step.kind == "task"]
    assert (step.outcome, step.waits_at) == ("abandoned", line(stubborn, 2))
    assert CLEANUP <= step.seconds <= CLEANUP + LEEWAY


@pytest.mark.parametrize("where", ["context", "on_cleanup"])
async def test_a_clean_up_that_hangs(house, where, caplog):
    async def hang(app: web.Application):
        await anyio.sleep_forever()

    async def held(app: web.Application):
        yield
        await hang(app)

    if where == "context":
        house.app.cleanup_ctx.append(held)
    else:
        house.app.on_cleanup.append(hang)
    await house.open()
    with caplog.at_level(logging.WARNING):
        report = await house.close()
    assert house.took == pytest.approx(CLEANUP)
    (step,) = [step for step in report.steps if step.outcome != "done"]
    assert (step.kind, step.outcome, step.seconds) == (where, "cut short", CLEANUP)
    assert step.waits_at == line(hang, 1)
    assert step.waits_at in caplog.text
    assert not report.clean
    assert str(step) in str(report)
    assert json.loads(report.to_json())["steps"][-1]["kind"] == "on_cleanup"


async def test_a_clean_up_that_does_not_end_even_then_is_named(house, caplog):
    async def stubborn(app: web.Application):
        yield
        with anyio.CancelScope(shield=True):
            await anyio.sleep(25)

    house.app.cleanup_ctx.append(stubborn)
    await house.open()
    report = await house.close()
    assert house.took == pytest.approx(25)
    assert caplog.text.count("which does not stop") == 2
    assert line(stubborn, 3) in caplog.text
    assert report.steps[0].waits_at == line(stubborn, 3)


async def test_each_step_has_its_own_budget(house):
    async def slow(app: web.Application):
        yield
        await anyio.sleep(CLEANUP - 0.5)

    house.app.cleanup_ctx.extend([slow, slow, slow])
    await house.open()
    report = await house.close()
    assert house.took == pytest.approx(3 * (CLEANUP - 0.5))
    assert report.clean
    assert [step.seconds for step in report.steps] == pytest.approx([CLEANUP - 0.5] * 3 + [0, 0])


async def test_all_of_it_at_once(house):
    """The sum of the budgets is the bound, and nobody is forgotten."""

    async def hang(app: web.Application):
        yield
        await anyio.sleep_forever()

    async def start(app: web.Application) -> None:
        app[jobs.AIOJOBS_SCHEDULER].shield(stubborn_job)

    jobs.setup(house.app, wait_timeout=5.0)
    house.app.cleanup_ctx.append(hang)
    house.app.on_startup.append(start)
    for handler in (endless, atomic, websocket):
        house.app.router.add_get(f"/{'ws' if handler is websocket else handler.__name__}", handler)
    await house.open()
    for sent in (get("/endless"), get("/atomic"), WEBSOCKET, b"", b"GET /"):
        await house.connect(sent, 30_000)
    report = await house.close()
    assert house.took <= TIMEOUT + 1 + CLEANUP + 5 + LEEWAY
    assert isinstance(report, web.ShutdownReport)
    assert {type(record) for record in report.cancelled} == {web.ConnectionRecord}
    assert {type(step) for step in report.steps} == {web.StepRecord}
    told = str(report)
    for culprit in (line(endless, 4), line(atomic, 2), line(stubborn_job, 1), line(hang, 2)):
        assert culprit in told


async def test_the_budget_is_a_number_of_seconds():
    with pytest.raises(ValueError, match="cleanup_timeout must be a number of seconds from 0, got nan"):
        web.AppRunner(web.Application(), cleanup_timeout=math.nan)
