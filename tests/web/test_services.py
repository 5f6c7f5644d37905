"""Services: tasks of an application from start-up until after the last handler (B-08, X-08, S-31, S-32)."""

import math
from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest
from anyio.abc import TaskStatus

from structweb import web
from structweb._web.lifespan import Lifespan
from structweb.testing import memory_pipe
from tests.web.faulty import STEADY, Faulty, only
from tests.web.served import get

pytestmark = pytest.mark.anyio


# -- the life of a service -----------------------------------------------------------------------------------------


async def test_it_runs_from_start_up_until_before_clean_up():
    diary = []
    app = web.Application()

    async def context(app: web.Application) -> AsyncIterator[None]:
        diary.append("enter context")
        yield
        diary.append("leave context")

    async def start(app: web.Application) -> None:
        diary.append("on_startup")

    async def clean(app: web.Application) -> None:
        diary.append("on_cleanup")

    @app.service
    async def beat() -> None:
        diary.append("beat")
        try:
            await anyio.sleep_forever()
        finally:
            diary.append("beat ends")

    app.cleanup_ctx.append(context)
    app.on_startup.append(start)
    app.on_cleanup.append(clean)
    assert only(app).state == "waiting"
    async with Lifespan(app):
        await anyio.sleep(1)
        assert only(app).state == "running"
    assert diary == ["enter context", "on_startup", "beat", "beat ends", "leave context", "on_cleanup"]
    assert only(app).state == "stopped"
    assert repr(only(app)) == "<Service 'beat' stopped>"


async def test_it_ends_after_the_last_handler():
    """A request that outlives the notice of the shutdown still finds the service at work."""
    diary = []
    app = web.Application()

    @app.service
    async def worker() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            diary.append("service ends")

    async def slow(request: web.Request) -> web.Response:
        await anyio.sleep(5)
        diary.append(f"handler ends, service is {only(request.app).state}")
        return web.Response(text="done")

    app.router.add_get("/", slow)
    client, server = memory_pipe()
    async with anyio.create_task_group() as tasks, web.AppRunner(app) as runner:
        tasks.start_soon(runner.server, server)
        await client.send(get())
        await anyio.sleep(1)
    assert diary == ["handler ends, service is running", "service ends"]
    assert (await client.receive_all()).endswith(b"done")


async def test_services_start_in_order_and_end_in_reverse():
    """Sub-applications' start behind their parent's; each is ready before the next one starts; loose tasks end first."""
    diary = []
    app, sub = web.Application(), web.Application()

    def service(name: str):
        async def run(of: web.Application, *, task_status: TaskStatus[None]) -> None:
            diary.append(f"start {name}")
            await anyio.sleep(1)
            diary.append(f"ready {name}")
            task_status.started()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)
                diary.append(f"end {name} of {'sub' if of is sub else 'app'}")

        return run

    async def loose() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            diary.append("loose task ends")

    sub.service(service("c"), name="c")
    app.add_subapp("/sub", sub)
    app.service(service("a"), name="a")
    app.service(service("b"), name="b")
    assert [each.name for each in app.services] == ["a", "b", "c"]
    async with Lifespan(app):
        app.start_soon(loose)
        assert diary == ["start a", "ready a", "start b", "ready b", "start c", "ready c"]
        await anyio.sleep(1)
        diary.clear()
    assert diary == ["loose task ends", "end c of sub", "end b of app", "end a of app"]


async def test_a_sub_application_under_two_prefixes_has_its_services_once():
    app, sub = web.Application(), web.Application()
    faulty = Faulty()
    sub.service(faulty, name="one")
    app.add_domain("one.example", sub)
    app.add_domain("two.example", sub)
    async with Lifespan(app):
        await anyio.sleep(1)
    assert len(faulty.runs) == 1
    assert only(app) is only(sub)


@pytest.mark.parametrize("restart", ["never", "on-failure"])
async def test_a_service_may_return(restart, caplog):
    app = web.Application()
    app.service(Faulty(None), restart=restart, name="once")
    async with Lifespan(app):
        await anyio.sleep(100)
        assert only(app).state == "finished"
        assert only(app).restarts == 0
    assert only(app).state == "finished"
    assert not caplog.records


async def test_what_may_be_a_service():
    got = []
    app = web.Application()

    async def nothing() -> None:
        got.append("nothing")

    async def of_app(app: web.Application) -> None:
        got.append(app)

    async def with_default(seconds: float = 5) -> None:
        got.append(seconds)

    async def of_queue(queue: list[str], app: web.Application) -> None:
        queue.append("queue")

    for func in (nothing, of_app, with_default, partial(of_queue, got)):
        assert app.service(func) is func
    assert [each.name for each in app.services] == ["nothing", "of_app", "with_default", "of_queue"]
    async with Lifespan(app):
        await anyio.sleep(1)
    assert got == ["nothing", app, 5, "queue"]


async def test_it_is_a_decorator_with_arguments_too():
    app = web.Application()

    @app.service(restart="always", critical=False, name="ticker")
    async def tick() -> None: ...

    assert callable(tick)
    service = only(app)
    assert (service.name, service.restart, service.critical, service.app) == ("ticker", "always", False, app)


async def test_an_application_that_starts_again_starts_them_again():
    app = web.Application()
    faulty = Faulty(LookupError("once"), lasting=1)
    app.service(faulty, restart="on-failure", backoff=STEADY, name="faulty")
    for runs, restarts in ((2, 1), (3, 0)):
        async with Lifespan(app):
            await anyio.sleep(10)
            assert len(faulty.runs) == runs
            assert only(app).restarts == restarts


# -- registration --------------------------------------------------------------------------------------------------


async def test_they_are_registered_before_the_start():
    app, sub = web.Application(), web.Application()
    app.add_subapp("/sub", sub)
    with pytest.raises(RuntimeError, match=r"cannot add service 'Faulty': <Application .*> is frozen"):
        sub.service(Faulty())
    app.on_startup.append(lambda app: app.service(Faulty(), name="last moment") and None)
    async with Lifespan(app):
        assert only(app).state == "running"
        with pytest.raises(RuntimeError, match="is frozen"):
            app.service(Faulty())


def test_arguments_are_checked():
    app = web.Application()

    async def two(app: web.Application, more: str) -> None: ...

    with pytest.raises(TypeError, match="must be an async function, got 42"):
        app.service(42)
    with pytest.raises(
        TypeError, match=r"service 'two' must take no more .* got \['app', 'more'\]: use functools.partial"
    ):
        app.service(two)
    with pytest.raises(TypeError, match=r"backoff must be a web\.Backoff, got 5 \(in service\)"):
        web.Application().service(anyio.sleep_forever, backoff=5)  # type: ignore[call-overload]  # is what it tests
    with pytest.raises(ValueError, match="restart must be one of 'never', 'on-failure', 'always', got 'sometimes'"):
        app.service(Faulty(), restart="sometimes")
    app.service(Faulty())
    with pytest.raises(ValueError, match="has a service 'Faulty' already: give this one another name"):
        app.service(Faulty())
    assert len(app.services) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"initial": -1},
        {"initial": 5, "maximum": 1},
        {"factor": 0.5},
        {"jitter": 2},
        {"attempts": 0},
        {"healthy": -1},
        *({name: math.nan} for name in ("initial", "maximum", "factor", "jitter", "attempts", "healthy")),
    ],
)
def test_back_off_is_checked(arguments):
    with pytest.raises(ValueError, match="got "):
        web.Backoff(**arguments)


# -- readiness -----------------------------------------------------------------------------------------------------


async def test_start_up_waits_for_who_says_when_it_is_ready():
    app, answer = web.Application(), web.AppKey("answer", int)

    @app.service
    async def slow(*, task_status: TaskStatus[str]) -> None:
        await anyio.sleep(5)
        app[answer] = 42  # not frozen yet
        task_status.started("ready")
        await anyio.sleep_forever()

    began = anyio.current_time()
    async with Lifespan(app):
        assert anyio.current_time() - began == pytest.approx(5)
        assert app[answer] == 42
        assert only(app).state == "running"


async def test_it_is_starting_until_then():
    app = web.Application()
    states = []

    @app.service
    async def slow(*, task_status: TaskStatus[None]) -> None:
        states.append(only(app).state)
        task_status.started()
        states.append(only(app).state)

    async with Lifespan(app):
        pass
    assert states == [web.ServiceState.STARTING, web.ServiceState.RUNNING]


async def test_one_that_crashes_before_it_is_ready_ends_the_start():
    app = web.Application()
    left = []

    async def context(app: web.Application) -> AsyncIterator[None]:
        yield
        left.append(True)

    @app.service
    async def broken(*, task_status: TaskStatus[None]) -> None:
        await anyio.sleep(1)
        raise LookupError("no database")

    app.cleanup_ctx.append(context)
    with pytest.raises(LookupError, match="no database"):
        await app.startup()
    assert left == [True]


async def test_one_that_is_restarted_holds_the_start_until_it_is_ready():
    app = web.Application()
    troubles = [LookupError("not yet")] * 2

    async def patient(*, task_status: TaskStatus[None]) -> None:
        if troubles:
            raise troubles.pop()
        task_status.started()
        await anyio.sleep_forever()

    app.service(patient, restart="on-failure", backoff=STEADY)
    began = anyio.current_time()
    async with Lifespan(app):
        assert anyio.current_time() - began == pytest.approx(1 + 2)


async def test_one_that_is_not_critical_does_not_hold_the_start_once_it_has_crashed(caplog):
    app = web.Application()

    async def broken(*, task_status: TaskStatus[None]) -> None:
        raise LookupError("no cache")

    app.service(broken, restart="on-failure", critical=False, backoff=STEADY)
    async with Lifespan(app):
        assert only(app).state == "backing off"


@pytest.mark.parametrize("critical", [True, False])
async def test_returning_before_it_is_ready_is_a_crash(critical, caplog):
    app = web.Application()

    async def forgetful(*, task_status: TaskStatus[None]) -> None: ...

    app.service(forgetful, critical=critical)
    if critical:
        with pytest.raises(RuntimeError, match=r"'forgetful' returned without a call of task_status.started\(\)"):
            await app.startup()
    else:
        async with Lifespan(app):
            assert only(app).state == "failed"


async def test_ready_twice_is_an_error():
    app = web.Application()

    @app.service
    async def eager(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    with pytest.raises(RuntimeError, match=r"service 'eager' called task_status.started\(\) twice"):
        async with Lifespan(app):
            await anyio.sleep_forever()


async def test_a_start_that_waits_for_one_can_be_cancelled():
    app = web.Application()

    @app.service
    async def never_ready(*, task_status: TaskStatus[None]) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(3) as scope:
        await app.startup()
    assert scope.cancelled_caught
    assert only(app).state == "stopped"
