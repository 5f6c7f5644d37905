"""What a handler may know and say about its own end, over a runner on virtual time and memory pipes."""

import math

import anyio
import pytest

from structweb import web
from structweb.testing import memory_pipe
from tests.web.served import Connection

pytestmark = pytest.mark.anyio


class Stage:
    """A runner with an application, in a task of its own, which is told to stop by cancelling `scope`."""

    def __init__(self, app: web.Application, group: anyio.abc.TaskGroup, **options: object) -> None:
        self.runner = web.AppRunner(app, access_log=None, **options)
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._group = group

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self.scope:
            async with self.runner:
                task_status.started()
                await anyio.sleep_forever()
        self.ended.set()

    def connect(self) -> Connection:
        client, server = memory_pipe()
        self._group.start_soon(self.runner.server, server)
        return Connection(client)


@pytest.fixture
async def stage():
    """Set an application on a stage."""
    async with anyio.create_task_group() as group:

        async def stage_(app: web.Application, **options: object) -> Stage:
            made = Stage(app, group, **options)
            await group.start(made.run)
            return made

        yield stage_
        group.cancel_scope.cancel()


async def test_atomic_runs_to_its_end_though_the_client_leaves(stage):
    """The documentation's two databases: both are written, or none."""
    entered, ended, written = anyio.Event(), anyio.Event(), []

    async def handler(request: web.Request) -> web.Response:
        entered.set()
        try:
            async with request.atomic():
                await anyio.sleep(1)
                written.append("redis")
                await anyio.sleep(1)
                written.append("postgres")
        finally:
            ended.set()
        written.append("too much")
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handler)
    client = (await stage(app)).connect().stream
    await client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
    await entered.wait()
    await client.aclose()
    await ended.wait()
    assert written == ["redis", "postgres"]


async def test_atomic_holds_through_a_shutdown_and_is_lifted_by_name(stage):
    async def handler(request: web.Request) -> web.Response:
        async with request.atomic(deadline=100):
            await anyio.sleep_forever()
        raise AssertionError("never here")

    app = web.Application()
    app.router.add_get("/orders/{id}", handler)
    made = await stage(app, shutdown_timeout=2, shield_timeout=3)
    client = made.connect().stream
    await client.send(b"GET /orders/7 HTTP/1.1\r\nHost: test\r\n\r\n")
    await anyio.sleep(10.5)
    start = anyio.current_time()
    made.scope.cancel()
    await made.ended.wait()
    assert 5 <= anyio.current_time() - start <= 5.3
    (record,) = made.runner.report.lifted
    assert (record.request, record.route) == ("GET /orders/7", "GET /orders/{id}")
    assert record.seconds == pytest.approx(15, abs=1.1)
    line = handler.__code__.co_firstlineno + 2
    assert record.waits_at == f"{__file__}:{line} in {handler.__qualname__}"


async def test_handlers_and_tasks_hear_of_the_shutdown_before_they_are_cancelled(stage):
    heard = []

    async def handler(request: web.Request) -> web.Response:
        assert not request.shutting_down
        await request.shutting_down.wait()
        assert request.shutting_down
        await request.shutting_down.wait()  # returns at once from now on
        heard.append("handler")
        return web.Response(text="bye")

    async def task(app: web.Application) -> None:
        assert repr(app.shutting_down) == "<ShutdownNotice not given>"
        await app.shutting_down.wait()
        heard.append("task")
        assert repr(app.shutting_down) == "<ShutdownNotice given>"

    async def start(app: web.Application) -> None:
        app.start_soon(task, app)

    app = web.Application()
    app.router.add_get("/", handler)
    app.on_startup.append(start)
    made = await stage(app, shutdown_timeout=60)
    client = made.connect()
    await client.stream.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    await anyio.wait_all_tasks_blocked()
    made.scope.cancel()
    assert (await client.answer()).text == "bye"
    await made.ended.wait()
    assert sorted(heard) == ["handler", "task"]


def test_what_does_not_run_is_not_shut_down():
    with pytest.raises(RuntimeError, match="is not running: nothing shuts it down"):
        assert not web.Application().shutting_down


async def test_probes_see_503_while_the_server_goes_on_serving(stage):
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/", hello), web.get("/ready", web.readiness)])
    made = await stage(app, drain_delay=5, shutdown_timeout=1)
    probe, old = made.connect(), made.connect()
    answer = await probe.ask("/ready")
    assert (answer.status, answer.text, answer.headers["cache-control"]) == (200, "ready", "no-store")
    start = anyio.current_time()
    made.scope.cancel()
    await anyio.sleep(4)
    answer = await probe.ask("/ready")
    assert (answer.status, answer.text) == (503, "shutting down")
    assert (await old.ask()).text == "hello"
    assert (await made.connect().ask()).text == "hello"  # load balancers that have not heard of it yet
    assert not made.ended.is_set()
    await made.ended.wait()
    assert anyio.current_time() - start == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("delay", [-1, math.inf, math.nan])
async def test_a_drain_delay_is_finite(delay: float):
    with pytest.raises(ValueError, match="drain_delay must be (a number of seconds from 0|finite), got"):
        web.AppRunner(web.Application(), drain_delay=delay)


async def test_the_patience_with_shields_is_finite():
    with pytest.raises(ValueError, match=r"AppRunner\(\): shield_timeout must be finite, got inf"):
        web.AppRunner(web.Application(), shield_timeout=math.inf)
