"""Start-up and clean-up (W-005, W-008, W-009, W-011, W-013..W-016, X-06..X-08)."""

import contextvars
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from structweb import jobs, web
from structweb._web.app import Application
from structweb._web.failures import CleanupError
from structweb._web.lifespan import Lifespan

pytestmark = pytest.mark.anyio


class Diary(list[str]):
    """What happened, in order; makes contexts and receivers that write into it."""

    def context(self, name: str):
        """Make a clean-up context."""

        async def context(app: Application) -> AsyncIterator[None]:
            self.append(f"enter {name}")
            yield
            self.append(f"leave {name}")

        return context

    def receiver(self, name: str):
        """Make a receiver."""

        async def receiver(app: Application) -> None:
            self.append(name)

        return receiver

    def keep(self, app: Application, name: str) -> Application:
        """Have every part of the life of `app` noted."""
        app.cleanup_ctx.append(self.context(f"{name} 1"))
        app.cleanup_ctx.append(self.context(f"{name} 2"))
        app.on_startup.append(self.receiver(f"startup {name}"))
        app.on_shutdown.append(self.receiver(f"shutdown {name}"))
        app.on_cleanup.append(self.receiver(f"cleanup {name}"))
        return app


async def test_contexts_then_receivers_and_contexts_in_reverse():
    diary = Diary()
    app = diary.keep(Application(), "app")
    async with Lifespan(app):
        assert diary == ["enter app 1", "enter app 2", "startup app"]
        diary.clear()
    assert diary == ["leave app 2", "leave app 1", "cleanup app"]


async def test_startup_shutdown_and_cleanup_are_the_loose_halves():
    diary = Diary()
    app = diary.keep(Application(), "app")
    await app.startup()
    assert app.frozen
    diary.clear()
    await app.shutdown()
    await app.cleanup()
    assert diary == ["shutdown app", "leave app 2", "leave app 1", "cleanup app"]
    await app.cleanup()
    assert len(diary) == 4


async def test_a_sub_application_lives_inside_its_parent():
    """Its receivers are called where it was added; its contexts are left before the parent's."""
    diary = Diary()
    app, sub = Application(), diary.keep(Application(), "sub")
    app.cleanup_ctx.append(diary.context("app"))
    for signal, name in (
        (app.on_startup, "startup"),
        (app.on_shutdown, "shutdown"),
        (app.on_cleanup, "cleanup"),
    ):
        signal.append(diary.receiver(f"{name} before"))
    app.add_subapp("/sub", sub)
    for signal, name in (
        (app.on_startup, "startup"),
        (app.on_shutdown, "shutdown"),
        (app.on_cleanup, "cleanup"),
    ):
        signal.append(diary.receiver(f"{name} after"))
    async with Lifespan(app):
        assert diary == [
            "enter app",
            "startup before",
            "enter sub 1",
            "enter sub 2",
            "startup sub",
            "startup after",
        ]
        diary.clear()
        await app.shutdown()
        assert diary == ["shutdown before", "shutdown sub", "shutdown after"]
        diary.clear()
    assert diary == ["leave sub 2", "leave sub 1", "leave app", "cleanup before", "cleanup sub", "cleanup after"]


async def test_receivers_get_their_own_application():
    got = []
    app, sub = Application(), Application()

    async def note(which: Application) -> None:
        got.append(which)

    sub.on_startup.append(note)
    sub.on_cleanup.append(note)
    app.add_subapp("/sub", sub)
    async with Lifespan(app):
        pass
    assert got == [sub, sub]


async def test_an_application_under_two_domains_lives_once():
    diary = Diary()
    app, sub = Application(), diary.keep(Application(), "sub")
    app.add_domain("one.example", sub)
    app.add_domain("two.example", sub)
    async with Lifespan(app):
        assert diary == ["enter sub 1", "enter sub 2", "startup sub"]
        diary.clear()
        await app.shutdown()
    assert diary == ["shutdown sub", "leave sub 2", "leave sub 1", "cleanup sub"]


async def test_an_application_under_two_parents_lives_once():
    diary = Diary()
    app, one, two, shared = Application(), Application(), Application(), diary.keep(Application(), "shared")
    one.add_subapp("/shared", shared)
    two.add_domain("shared.example", shared)
    app.add_subapp("/one", one)
    app.add_subapp("/two", two)
    async with Lifespan(app):
        diary.clear()
    assert diary == ["leave shared 2", "leave shared 1", "cleanup shared"]


async def test_a_function_may_return_an_async_context_manager():
    diary = Diary()
    app = Application()

    @asynccontextmanager
    async def context(which: Application) -> AsyncIterator[None]:
        assert which is app
        diary.append("enter")
        yield
        diary.append("leave")

    app.cleanup_ctx.append(context)
    async with Lifespan(app):
        assert diary == ["enter"]
    assert diary == ["enter", "leave"]


async def test_a_failed_start_unwinds_what_was_entered():
    """The original error comes out, contexts are left in reverse, on_cleanup is not sent."""
    diary = Diary()
    app = diary.keep(Application(), "app")
    trouble = LookupError("no database")

    async def fail(app: Application) -> None:
        raise trouble

    app.on_startup.insert(0, fail)
    with pytest.raises(LookupError) as caught:
        await app.startup()
    assert caught.value is trouble
    assert caught.value.__context__ is None
    assert diary == ["enter app 1", "enter app 2", "leave app 2", "leave app 1"]
    await app.cleanup()
    assert len(diary) == 4


async def test_code_behind_the_yield_runs_only_if_the_code_before_it_did():
    diary = Diary()
    app = Application()

    async def fails(app: Application) -> AsyncIterator[None]:
        diary.append("fails")
        raise LookupError("in context")
        yield

    app.cleanup_ctx.extend([diary.context("first"), fails, diary.context("never")])
    with pytest.raises(LookupError, match="in context"):
        await app.startup()
    assert diary == ["enter first", "fails", "leave first"]


async def test_errors_behind_a_failed_start_are_logged(caplog):
    app = Application()

    async def fails_on_leaving(app: Application) -> AsyncIterator[None]:
        yield
        raise OSError("leaving")

    async def fail(app: Application) -> None:
        raise LookupError("start")

    app.cleanup_ctx.append(fails_on_leaving)
    app.on_startup.append(fail)
    with pytest.raises(LookupError, match="start"):
        await app.startup()
    (record,) = caplog.records
    assert record.name == "structweb.web"
    assert record.levelno == logging.ERROR
    assert isinstance(record.exc_info[1], OSError)


async def test_a_group_of_one_comes_out_as_its_error():
    app = Application()
    trouble = LookupError("in a child")

    async def child() -> None:
        raise trouble

    async def start(app: Application) -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(child)

    app.on_startup.append(start)
    with pytest.raises(LookupError) as caught:
        await app.startup()
    assert caught.value is trouble


async def test_one_error_on_cleanup_is_raised_as_itself_and_everything_runs():
    diary = Diary()
    app = Application()
    trouble = OSError("leaving")

    async def fails(app: Application) -> AsyncIterator[None]:
        yield
        raise trouble

    app.cleanup_ctx.extend([diary.context("first"), fails, diary.context("last")])
    app.on_cleanup.append(diary.receiver("cleanup"))
    await app.startup()
    diary.clear()
    with pytest.raises(OSError, match="leaving") as caught:
        await app.cleanup()
    assert caught.value is trouble
    assert diary == ["leave last", "leave first", "cleanup"]


async def test_several_errors_on_cleanup_are_a_cleanup_error():
    diary = Diary()
    app, sub = Application(), Application()
    troubles = [OSError("context"), LookupError("receiver"), KeyError("sub")]

    async def fails(app: Application) -> AsyncIterator[None]:
        yield
        raise troubles[0]

    async def receiver(app: Application) -> None:
        raise troubles[1]

    async def sub_receiver(app: Application) -> None:
        raise troubles[2]

    app.cleanup_ctx.append(fails)
    app.on_cleanup.append(receiver)
    sub.on_cleanup.append(sub_receiver)
    app.add_subapp("/sub", sub)
    app.on_cleanup.append(diary.receiver("last"))
    await app.startup()
    with pytest.raises(CleanupError, match="Multiple errors on cleanup stage") as caught:
        await app.cleanup()
    assert list(caught.value.exceptions) == troubles
    assert isinstance(caught.value, ExceptionGroup)
    assert isinstance(caught.value, RuntimeError)
    assert diary == ["last"]


async def test_a_cleanup_error_can_be_split():
    error = CleanupError("Multiple errors on cleanup stage", [OSError("one"), LookupError("two")])
    match, rest = error.split(OSError)
    assert isinstance(match, CleanupError)
    assert isinstance(rest, CleanupError)


async def test_an_error_of_the_body_comes_out_and_errors_of_clean_up_are_logged(caplog):
    app = Application()

    async def fails(app: Application) -> None:
        raise OSError("cleanup")

    app.on_cleanup.append(fails)
    with pytest.raises(LookupError, match="body"):
        async with Lifespan(app):
            raise LookupError("body")
    (record,) = caplog.records
    assert isinstance(record.exc_info[1], OSError)


@pytest.mark.parametrize("times", [0, 2])
async def test_a_context_yields_once(times):
    app = Application()
    ended = []

    async def context(app: Application) -> AsyncIterator[None]:
        try:
            for _ in range(times):
                yield
        finally:
            ended.append(True)

    app.cleanup_ctx.append(context)
    with pytest.raises(RuntimeError, match=r"must yield once, .*context.* yield"):
        async with Lifespan(app):
            pass
    assert ended == [True]


async def test_what_is_no_context_is_named():
    app = Application()

    async def forgot_the_yield(app: Application) -> None: ...

    app.cleanup_ctx.append(forgot_the_yield)
    with pytest.raises(TypeError, match=r"async generator function .* got <coroutine .*forgot_the_yield"):
        await app.startup()
    app = Application()
    app.cleanup_ctx.append(lambda app: 42)
    with pytest.raises(TypeError, match=r"async generator function .* got 42 from .*lambda"):
        await app.startup()

    async def context(app: Application) -> AsyncIterator[None]:
        yield

    app = Application()
    app.cleanup_ctx.append(context(app))  # type: ignore[arg-type]  # is what it tests
    with pytest.raises(
        TypeError, match=r"a function that the application calls, got <async_generator object .*context"
    ):
        await app.startup()


# -- task groups held open -----------------------------------------------------------------------------------------


async def test_a_context_may_hold_a_task_group_open():
    app = Application()
    ticks = []

    async def ticker() -> None:
        while True:
            await anyio.sleep(1)
            ticks.append(anyio.current_time())

    async def context(app: Application) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(ticker)
            yield
            tg.cancel_scope.cancel()

    app.cleanup_ctx.append(context)
    async with Lifespan(app):
        await anyio.sleep(2.5)
    assert len(ticks) == 2


async def crash() -> None:
    await anyio.sleep(1)
    raise LookupError("crashed")


async def crashing_context(app: Application) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tg:
        tg.start_soon(crash)
        yield
        tg.cancel_scope.cancel()


async def test_a_crashed_task_of_a_context_stops_the_application():
    """Its own error comes out; contexts inside and outside clean up, with their awaits."""
    diary = Diary()
    app = Application()

    def slow(name: str):
        async def context(app: Application) -> AsyncIterator[None]:
            yield
            await anyio.sleep(3)
            diary.append(f"left {name}")

        return context

    async def receiver(app: Application) -> None:
        await anyio.sleep(3)
        diary.append("cleanup")

    app.cleanup_ctx.extend([slow("outer"), crashing_context, slow("inner")])
    app.on_cleanup.append(receiver)
    with pytest.raises(LookupError, match="crashed") as caught:
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert caught.value.__context__ is None
    assert diary == ["left inner", "left outer", "cleanup"]


async def test_a_task_that_crashes_during_the_start_ends_the_start():
    diary = Diary()
    app = Application()

    async def slow_start(app: Application) -> None:
        await anyio.sleep(10)

    app.cleanup_ctx.extend([diary.context("outer"), crashing_context])
    app.on_startup.append(slow_start)
    with pytest.raises(LookupError, match="crashed"):
        await app.startup()
    assert diary == ["enter outer", "leave outer"]


async def test_a_crash_reaches_the_loose_pair():
    app = Application()
    app.cleanup_ctx.append(crashing_context)

    async def run() -> None:
        await app.startup()
        try:
            await anyio.sleep_forever()
        finally:
            await app.cleanup()

    with pytest.raises(LookupError, match="crashed"):
        await run()


async def test_a_context_that_cancels_its_own_group_ends_the_body_quietly():
    diary = Diary()
    app = Application()

    async def stop_later(scope: anyio.CancelScope) -> None:
        await anyio.sleep(1)
        scope.cancel()

    async def context(app: Application) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(stop_later, tg.cancel_scope)
            yield

    app.cleanup_ctx.extend([diary.context("outer"), context])
    async with Lifespan(app):
        await anyio.sleep_forever()
    assert diary == ["enter outer", "leave outer"]


async def test_a_start_cancelled_by_its_own_scope_is_an_error():
    app = Application()

    async def context(app: Application) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tg:
            tg.cancel_scope.cancel()
            yield

    async def slow(app: Application) -> None:
        await anyio.sleep(1)

    app.cleanup_ctx.append(context)
    app.on_startup.append(slow)
    with pytest.raises(RuntimeError, match="cancelled by a cancel scope of one of its contexts"):
        await app.startup()


# -- cancellation from outside -------------------------------------------------------------------------------------


async def test_a_start_may_be_cancelled():
    diary = Diary()
    app = Application()

    async def slow(app: Application) -> None:
        await anyio.sleep(10)

    app.cleanup_ctx.append(diary.context("ctx"))
    app.on_startup.append(slow)
    with anyio.move_on_after(1) as scope:
        await app.startup()
    assert scope.cancelled_caught
    assert diary == ["enter ctx", "leave ctx"]


async def test_clean_up_of_a_cancelled_task_may_await():
    diary = Diary()
    app = Application()

    async def context(app: Application) -> AsyncIterator[None]:
        yield
        await anyio.sleep(5)
        diary.append("left")

    async def receiver(app: Application) -> None:
        await anyio.sleep(2)
        diary.append("cleanup")

    app.cleanup_ctx.append(context)
    app.on_cleanup.append(receiver)
    with anyio.move_on_after(1) as scope:
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert diary == ["left", "cleanup"]


@pytest.mark.parametrize("grace", [0, 7])
async def test_clean_up_of_a_cancelled_task_is_bounded(grace, caplog):
    """What takes longer than the grace is cut, what comes after it gets to its first await."""
    diary = Diary()
    app = Application()

    async def endless(app: Application) -> AsyncIterator[None]:
        yield
        diary.append("leaving")
        await anyio.sleep_forever()

    app.cleanup_ctx.extend([diary.context("outer"), endless])
    with anyio.move_on_after(1):
        async with Lifespan(app, grace=grace):
            began = anyio.current_time() + 1
            await anyio.sleep_forever()
    assert anyio.current_time() - began == pytest.approx(grace)
    assert diary == ["enter outer", "leaving", "leave outer"]
    assert "endless was cut short" in caplog.text


async def test_a_cancellation_cuts_the_step_under_way_and_shields_the_next():
    diary = Diary()
    app = Application()

    async def slow(app: Application) -> AsyncIterator[None]:
        yield
        await anyio.sleep(2)
        diary.append("outer left")

    async def endless(app: Application) -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    app.cleanup_ctx.extend([slow, endless])
    with anyio.move_on_after(1) as scope:
        async with Lifespan(app):
            pass
    assert scope.cancelled_caught
    assert diary == ["outer left"]


# -- background tasks ----------------------------------------------------------------------------------------------


async def test_background_tasks_end_before_contexts_are_left():
    diary = Diary()
    app = Application()

    async def background(word: str) -> None:
        diary.append(f"run {word}")
        try:
            await anyio.sleep_forever()
        finally:
            diary.append("background ends")

    async def start(app: Application) -> None:
        app.start_soon(background, "fast", name="mine")

    app.cleanup_ctx.append(diary.context("ctx"))
    app.on_startup.append(start)
    async with Lifespan(app):
        await anyio.sleep(1)
    assert diary == ["enter ctx", "run fast", "background ends", "leave ctx"]


async def test_a_crashed_background_task_stops_the_application():
    diary = Diary()
    app, sub = Application(), Application()
    sub.on_startup.append(lambda sub: sub.start_soon(crash))
    app.cleanup_ctx.append(diary.context("ctx"))
    app.add_subapp("/sub", sub)
    with pytest.raises(LookupError, match="crashed"):
        async with Lifespan(app):
            await anyio.sleep_forever()
    assert diary == ["enter ctx", "leave ctx"]


async def test_a_background_task_that_ends_is_forgotten():
    app = Application()

    async def short() -> None:
        await anyio.sleep(1)

    async with Lifespan(app):
        app.start_soon(short)
        await anyio.sleep(2)


async def test_background_tasks_need_a_running_application():
    app = Application()
    with pytest.raises(RuntimeError, match=r"cannot start .*crash.* is not running"):
        app.start_soon(crash)
    late = []

    async def context(app: Application) -> AsyncIterator[None]:
        yield
        with pytest.raises(RuntimeError, match="cannot start"):
            app.start_soon(crash)
        late.append(True)

    app.cleanup_ctx.append(context)
    await app.startup()
    await app.cleanup()
    assert late == [True]
    with pytest.raises(RuntimeError, match="is not running"):
        app.start_soon(crash)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_stops_the_program_stops_the_application(kind, caplog):
    diary = Diary()
    app = Application()

    async def leave() -> None:
        raise kind

    async def fails(app: Application) -> AsyncIterator[None]:
        yield
        raise OSError("leaving")

    app.cleanup_ctx.extend([diary.context("ctx"), fails])
    app.on_cleanup.append(diary.receiver("cleanup"))
    with pytest.raises(kind):
        async with Lifespan(app):
            app.start_soon(leave)
            await anyio.sleep_forever()
    assert diary == ["enter ctx", "leave ctx", "cleanup"]
    assert "after another error" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_stops_the_program_hides_no_error_of_the_body(kind, caplog):
    """On_shutdown runs in the body of a runner's lifespan."""
    app = Application()

    async def leave() -> None:
        raise kind

    with pytest.raises(kind):
        async with Lifespan(app):
            app.start_soon(leave)
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("shutting down")
    (record,) = caplog.records
    assert isinstance(record.exc_info[1], OSError)


async def test_what_stops_the_program_ends_the_start():
    app = Application()

    async def leave() -> None:
        raise SystemExit(3)

    async def start(app: Application) -> None:
        app.start_soon(leave)
        await anyio.sleep_forever()

    app.on_startup.append(start)
    with pytest.raises(SystemExit):
        await app.startup()


async def test_what_stops_the_program_may_come_from_a_clean_up():
    diary = Diary()
    app = Application()

    async def leave(app: Application) -> None:
        raise KeyboardInterrupt

    app.on_cleanup.append(leave)
    app.on_cleanup.append(diary.receiver("cleanup"))
    with pytest.raises(KeyboardInterrupt):
        async with Lifespan(app):
            pass
    assert diary == ["cleanup"]


def test_a_sub_applications_place_tells_whose_it_is():
    app, sub = Application(), Application()
    app.add_subapp("/sub", sub)
    assert repr(list(app.on_startup)) == f"[<on_startup of {sub!r}>]"


# -- misuse --------------------------------------------------------------------------------------------------------


async def test_the_same_task_starts_and_cleans_up():
    app = Application()
    errors = []

    async def other_task() -> None:
        try:
            await app.cleanup()
        except RuntimeError as exc:
            errors.append(str(exc))

    await app.startup()
    async with anyio.create_task_group() as tg:
        tg.start_soon(other_task)
    await app.cleanup()
    assert len(errors) == 1
    assert "must be cleaned up by the task that started it" in errors[0]


async def test_an_application_runs_once_at_a_time_and_may_start_again():
    diary = Diary()
    app = Application()
    app.cleanup_ctx.append(diary.context("ctx"))
    await app.startup()
    with pytest.raises(RuntimeError, match="already"):
        await app.startup()
    with pytest.raises(RuntimeError, match="already"):
        async with Lifespan(app):
            pass
    await app.cleanup()
    async with Lifespan(app) as lifespan:
        pass
    assert diary == ["enter ctx", "leave ctx"] * 2
    with pytest.raises(RuntimeError, match="ended"):
        await lifespan.__aenter__()
    with pytest.raises(RuntimeError, match="ended"):
        await lifespan.__aexit__(None, None, None)


async def test_contexts_cannot_be_added_once_they_were_entered():
    app = Application()

    async def late(app: Application) -> None:
        app.cleanup_ctx.append(crashing_context)

    app.on_startup.append(late)
    with pytest.raises(RuntimeError, match="Cannot modify frozen list"):
        await app.startup()


async def test_context_variables_of_the_start_are_seen_at_the_end():
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    app = Application()
    seen = []

    async def context(app: Application) -> AsyncIterator[None]:
        variable.set("context")
        yield
        seen.append(variable.get())

    async def start(app: Application) -> None:
        seen.append(variable.get())
        variable.set("startup")

    app.cleanup_ctx.append(context)
    app.on_startup.append(start)
    async with Lifespan(app):
        seen.append(variable.get())
    assert seen == ["context", "startup", "startup"]


async def test_contexts_may_set_state_at_each_start():
    """The suite takes warnings for errors."""
    key = web.AppKey("key", object)
    seen = []

    async def context(app: web.Application):
        app[key] = value = object()
        seen.append(value)
        yield
        assert app[key] is value

    app = web.Application()
    app.cleanup_ctx.append(context)
    jobs.setup(app)
    for _ in range(2):
        async with Lifespan(app):
            with pytest.warns(DeprecationWarning, match="changing the state of a running application"):
                app[key] = seen[-1]
    assert seen[0] is not seen[1]
