"""cancel_everywhere finds the one checkpoint at which cancellation does harm (B-06)."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import anyio
import pytest

from structweb import web
from structweb.testing import (
    CANCELLATION,
    DEADLINE,
    DISCONNECT,
    RESET,
    SHUTDOWN,
    Cause,
    HalfResponseError,
    LeakError,
    Moment,
    Visit,
    cancel_everywhere,
)

BACKENDS = ["asyncio", "trio"]


class Bank:
    """Two accounts, and slow ways to move money between them."""

    def __init__(self) -> None:
        self.accounts = {"here": 100, "there": 0}

    async def transfer(self) -> None:
        """Lose 10 if cancelled between the two steps."""
        await anyio.sleep(1)
        self.accounts["here"] -= 10
        await anyio.sleep(1)
        self.accounts["there"] += 10
        await anyio.sleep(1)

    async def transfer_safely(self) -> None:
        """Do both steps or none."""
        await anyio.sleep(1)
        with anyio.move_on_after(5, shield=True):
            self.accounts["here"] -= 10
            await anyio.sleep(1)
            self.accounts["there"] += 10
        await anyio.sleep(1)

    def check(self) -> None:
        """Nothing is lost."""
        assert sum(self.accounts.values()) == 100, "money was lost"


def notes(caught: pytest.ExceptionInfo[BaseException]) -> str:
    return "\n".join(getattr(caught.value, "__notes__", ()))


# -- functions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_finds_the_checkpoint_that_loses_money(backend):
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        bank = Bank()
        yield bank.transfer
        bank.check()

    with pytest.raises(AssertionError, match="money was lost") as caught:
        cancel_everywhere(scene, backends=[backend])
    assert re.fullmatch(
        rf"cancel_everywhere: cancellation at checkpoint 2 on {backend}, at {re.escape(__file__)}:\d+ in .*Bank.transfer",
        notes(caught),
    )


def test_it_runs_every_case_on_both_backends_and_says_how_many():
    ends = []
    said: list[str] = []

    @asynccontextmanager
    async def transfer() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        bank = Bank()
        yield bank.transfer_safely
        bank.check()
        ends.append(bank.accounts["there"])

    sweep = cancel_everywhere(transfer, say=said.append)
    assert len(sweep) == 6
    assert ends == [0, 10, 10, 10] * 2  # the last one of each backend was not cancelled
    assert [(case.backend, case.cause, case.checkpoint) for case in sweep.cases] == [
        (backend, "cancellation", checkpoint) for backend in BACKENDS for checkpoint in (1, 2, 3)
    ]
    assert said == [str(sweep)]
    assert said == ["transfer: 6 cases of cancellation (3 x cancellation on asyncio, 3 x cancellation on trio)"]


def test_it_prints_by_itself(capsys):
    @asynccontextmanager
    async def swift() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def run() -> None: ...

        yield run

    assert len(cancel_everywhere(swift)) == 0
    assert capsys.readouterr().out == "swift: 0 cases of cancellation (it never waits)\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_checkpoints_of_tasks_count(backend):
    """The child loses money, at a moment when the function itself only waits for it."""

    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        bank = Bank()

        async def both() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bank.transfer)
                tasks.start_soon(anyio.sleep, 10)

        yield both
        bank.check()

    with pytest.raises(AssertionError, match="money was lost") as caught:
        cancel_everywhere(scene, backends=[backend])
    assert notes(caught).endswith(" in Bank.transfer")


def test_tasks_of_asyncio_count():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def gather() -> None:
            await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))

        yield gather

    assert len(cancel_everywhere(scene, backends=["asyncio"])) == 3


def test_a_task_that_never_starts_leaves_no_warning():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def hasty() -> None:
            task = asyncio.create_task(asyncio.sleep(1))
            task.cancel()
            await anyio.sleep(1)

        yield hasty

    assert len(cancel_everywhere(scene, backends=["asyncio"])) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_left_behind_is_found(backend):
    kept: list[socket.socket] = []

    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def connect() -> None:
            kept.append(socket.socket())
            await anyio.sleep(1)
            kept.pop().close()

        yield connect

    with pytest.raises(LeakError, match="an open socket") as caught:
        cancel_everywhere(scene, backends=[backend])
    assert "cancellation at checkpoint 1" in notes(caught)
    kept.pop().close()


def test_an_exception_of_the_function_is_a_failure():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def careless() -> None:
            try:
                await anyio.sleep(1)
                done = True
            finally:
                assert done  # unbound, when cancelled

        yield careless

    with pytest.raises(UnboundLocalError) as caught:
        cancel_everywhere(scene)
    assert "cancellation at checkpoint 1 on asyncio" in notes(caught)


def test_the_run_that_is_not_cancelled_counts_too():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def broken() -> None:
            raise LookupError("broken anyway")

        yield broken

    with pytest.raises(LookupError) as caught:
        cancel_everywhere(scene, backends=["trio"])
    assert notes(caught) == "cancel_everywhere: on trio, in the run that was not cancelled"


def test_what_has_no_end_needs_a_limit():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def tick() -> None:
            for _ in count():
                await anyio.sleep(1)

        yield tick

    assert len(cancel_everywhere(scene, most=5)) == 10


def test_what_has_no_end_is_noticed(monkeypatch):
    monkeypatch.setattr("structweb.testing.everywhere.MANY", 20)

    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        async def tick() -> None:
            for _ in count():
                await anyio.sleep(1)

        yield tick

    with pytest.raises(RuntimeError, match="at checkpoint 20 on asyncio, at .* in .*tick: it seems to have no end"):
        cancel_everywhere(scene)


def test_a_cause_of_ones_own():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        yield Bank().transfer

    def strike(moment: Moment) -> None:
        moment.scope.deadline = anyio.current_time()

    sweep = cancel_everywhere(scene, causes=[Cause("deadline", strike), CANCELLATION], backends=["asyncio"])
    assert [(case.cause, case.checkpoint) for case in sweep.cases] == [
        (cause, checkpoint) for cause in ("deadline", "cancellation") for checkpoint in (1, 2, 3)
    ]


@pytest.mark.anyio
async def test_it_has_loops_of_its_own():
    @asynccontextmanager
    async def scene() -> AsyncIterator[Callable[[], Awaitable[None]]]:
        yield Bank().transfer

    with pytest.raises(RuntimeError, match=r"(?i)already running|nested"):
        cancel_everywhere(scene)


# -- visits --------------------------------------------------------------------------------------------------------


def transfers(bank: Bank, way: Callable[[], Awaitable[None]]) -> web.Application:
    async def handler(request: web.Request) -> web.Response:
        await way()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", handler)
    return app


@pytest.mark.parametrize("cause", [DISCONNECT, RESET, SHUTDOWN, DEADLINE], ids=lambda cause: cause.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_finds_the_handler_that_loses_money(backend, cause):
    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        bank = Bank()
        yield Visit(transfers(bank, bank.transfer))
        bank.check()

    with pytest.raises(AssertionError, match="money was lost") as caught:
        cancel_everywhere(scene, causes=[cause], backends=[backend])
    assert re.search(rf"{cause.name} at checkpoint 2 on {backend}, at .* in Bank.transfer$", notes(caught))


def test_a_handler_that_is_right_passes():
    answers, late = [], []

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        bank = Bank()
        visit = Visit(transfers(bank, bank.transfer_safely))
        yield visit
        bank.check()
        if b" 504 " in visit.answer:
            late.append(bank.accounts["there"])
        elif visit.answer:
            assert visit.answer.endswith(b"done")
            assert bank.accounts["there"] == 10
            answers.append(bytes(visit.answer))

    sweep = cancel_everywhere(scene)
    assert {case.cause for case in sweep.cases} == {"disconnect", "deadline", "shutdown"}
    assert [case.where.split(" in ")[1] for case in sweep.cases].count("Bank.transfer_safely") == 18
    assert late == [0, 10, 10] * 2  # in time the transfer has not begun, or it is done
    assert len(sweep) > 12  # the sending of the response waits, too
    assert len(answers) >= 4  # at least one run went through for each cause and backend
    assert all(b"200 OK" in answer for answer in answers)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_trivial_checkpoint_is_struck_no_later_than_at_the_next_one(backend):
    """The news of a departure travels through other tasks: the handler waits for it, and gets no further meanwhile."""
    passed = []

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        steps = []
        passed.append(steps)

        async def handler(request: web.Request) -> web.Response:
            for step in range(5):
                await anyio.lowlevel.checkpoint()
                steps.append(step)
            return web.Response()

        app = web.Application()
        app.router.add_get("/", handler)
        yield Visit(app)

    for cause in (DISCONNECT, RESET, SHUTDOWN, DEADLINE):
        passed.clear()
        cancel_everywhere(scene, causes=[cause], backends=[backend])
        # Case n strikes at checkpoint n, and no step behind checkpoint n + 1 is done.
        assert [number for number, steps in enumerate(passed[:5], 1) if len(steps) > number] == []


def test_a_request_that_is_never_complete_is_given_up():
    """The server's patience with the head ends before that of the case."""

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        bank = Bank()
        yield Visit(transfers(bank, bank.transfer), b"GET / HTTP/1.1\r\nHo")

    with pytest.raises(TimeoutError) as caught:
        cancel_everywhere(scene, backends=["asyncio"])
    assert "in the run that was not cancelled" in notes(caught)


def test_settings_of_the_server_count():
    """Where disconnect is "finish", a departure does no harm to the first version either."""

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        bank = Bank()
        yield Visit(transfers(bank, bank.transfer), options={"disconnect": "finish"})
        bank.check()

    sweep = cancel_everywhere(scene, causes=[DISCONNECT])
    assert [case.where.split(" in ")[1] for case in sweep.cases].count("Bank.transfer") == 6


def test_a_deadline_of_the_route_is_the_one_that_passes():
    """Outside of it a middleware sees the TimeoutError, as it will in production, and there it is no case of it."""
    seen = []

    @web.middleware
    async def outer(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        await anyio.sleep(1)
        try:
            response = await handler(request)
        except TimeoutError:
            seen.append(request.deadline)
            return web.Response(status=503)
        await anyio.sleep(1)
        return response

    async def handler(request: web.Request) -> web.Response:
        await anyio.sleep(1)
        await anyio.sleep(1)
        return web.Response()

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        app = web.Application(middlewares=[outer])
        app.router.add_get("/", handler, handler_timeout=1000)
        visit = Visit(app)
        yield visit
        answers.append(bytes(visit.answer[9:12]))

    answers: list[bytes] = []
    sweep = cancel_everywhere(scene, causes=[DEADLINE], backends=["asyncio"])
    assert len(seen) == 2
    assert answers == [b"504", b"503", b"503", b"504", *[b"200"] * (len(answers) - 4)]
    assert len(sweep) == 4  # the sending of the response has no deadline


# -- the connection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", "a response was cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf", "are no response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the next request on the connection was answered"),
        (b"\x00half", "are no response"),
    ],
    ids=["length", "chunked", "a-second-response", "rubbish"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_a_response_in_front_of_another_is_found(backend, planted, words):
    """A bug in a server, played by the cause: what it has sent of one response is followed by the next one."""

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        yield Visit(transfers(Bank(), lambda: anyio.sleep(1)))

    def strike(moment: Moment) -> None:
        assert moment.exchange is not None
        moment.exchange.transport.write(planted)

    with pytest.raises(HalfResponseError, match=words) as caught:
        cancel_everywhere(scene, causes=[Cause("a bug", strike)], backends=[backend])
    assert "a bug at checkpoint 1" in notes(caught)


def test_the_question_whether_the_connection_is_usable_is_no_part_of_the_answer():
    answers = []

    @asynccontextmanager
    async def scene() -> AsyncIterator[Visit]:
        visit = Visit(transfers(Bank(), lambda: anyio.sleep(1)), b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 2)
        yield visit
        answers.append(bytes(visit.answer))

    cancel_everywhere(scene, causes=[Cause("nothing", lambda moment: None)])
    assert all(answer.count(b"HTTP/1.1 200 OK") == 2 and answer.endswith(b"done") for answer in answers)
