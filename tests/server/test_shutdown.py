"""Shutdown: in virtual time, so that what is bounded is shown to the hundredth."""

import json
import logging
import math

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.listeners import open_tcp
from structweb._server.report import ConnectionRecord, ShutdownReport
from structweb.testing import ClientEnd, memory_pipe

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
#: What a shutdown may take longer than its timeout.
GRACE = 0.3


async def hello(exchange: Exchange) -> None:
    await exchange.respond(200, "OK", (), b"hello")


async def endless(exchange: Exchange) -> None:
    await exchange.start(200, "OK", (), chunked=True)
    while True:
        await exchange.write(b"x" * 1000)
        await anyio.sleep(0.01)


async def wait_for_ever(exchange: Exchange) -> None:
    await anyio.sleep_forever()


async def by_target(exchange: Exchange) -> None:
    match exchange.head.target:
        case "/endless":
            await endless(exchange)
        case "/big":
            await exchange.respond(200, "OK", (), b"x" * 10_000_000)
        case "/body":
            await exchange.body.receive()
        case _:
            await hello(exchange)


def get(target: str) -> bytes:
    return GET.replace(b" / ", f" {target} ".encode())


def slow(seconds: float):
    async def handler(exchange: Exchange) -> None:
        await anyio.sleep(seconds)
        await hello(exchange)

    return handler


@pytest.fixture
async def connect():
    """Bring a client to an engine, and wait until what it sends is being handled."""
    clients = []
    async with anyio.create_task_group() as group:

        async def connect_(engine: Engine, sent: bytes = b"", *, capacity: int = 65536) -> ClientEnd:
            client, server = memory_pipe(capacity)
            clients.append(client)
            group.start_soon(engine.serve_stream, server)
            await client.send(sent)
            await anyio.sleep(0.1)
            return client

        yield connect_
        for client in clients:
            client.close()


def engine_for(handler) -> Engine:
    return Engine(handler, ServerConfig())


def since(start: float) -> float:
    return anyio.current_time() - start


# -- without patience needed ---------------------------------------------------------------------------------------


async def test_nothing_to_wait_for():
    async with engine_for(hello) as engine:
        start = anyio.current_time()
        report = await engine.shutdown(60)
    assert since(start) == 0
    assert report == ShutdownReport()
    assert report.clean
    assert engine.report is report


async def test_idle_silent_and_half_asked_connections_end_at_once(connect):
    async with engine_for(hello) as engine:
        kept_alive = await connect(engine, GET)
        await kept_alive.receive_until(b"hello")
        clients = [kept_alive, await connect(engine), await connect(engine, GET[:10])]
        start = anyio.current_time()
        report = await engine.shutdown(60)
        for client in clients:
            assert await client.receive_all() == b""
    assert since(start) == 0
    assert (report.idle, report.finished, report.clean) == (3, (), True)


@pytest.mark.real_backends
async def test_new_connections_are_refused():
    async with engine_for(slow(0.2)) as engine:
        (listener,) = await open_tcp("127.0.0.1", 0)
        address = listener.address
        engine.listen(listener)
        async with await anyio.connect_tcp(*address) as client, anyio.create_task_group() as group:
            await client.send(GET)
            while not engine.requests_count:
                await anyio.lowlevel.checkpoint()
            refusals = []

            async def knock() -> None:
                with pytest.raises(OSError):
                    await anyio.connect_tcp(*address)
                refusals.append(True)

            report = await engine.shutdown(10, on_shutdown=knock)
            group.start_soon(knock)
            assert b"Connection: close" in await client.receive()
    assert len(refusals) == 2
    assert len(report.finished) == 1


# -- what may finish -----------------------------------------------------------------------------------------------


async def test_a_busy_exchange_finishes_says_so_and_is_the_last_one(connect):
    async with engine_for(slow(5)) as engine:
        client = await connect(engine, GET + GET)
        start = anyio.current_time()
        report = await engine.shutdown(60)
        answer = await client.receive_all()
    assert since(start) == pytest.approx(4.9)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"hello")
    (record,) = report.finished
    assert "192.0.2.1" in record.peer
    assert (record.request, record.phase, record.route) == ("GET /", "handler", "")
    assert record.waits_at.startswith(f"{__file__}:")
    assert report.seconds == pytest.approx(4.9)
    assert report.clean


async def test_patience_may_be_endless(connect):
    async with engine_for(slow(600)) as engine:
        client = await connect(engine, GET)
        report = await engine.shutdown(math.inf)
        assert (await client.receive_all()).endswith(b"hello")
    assert report.clean


async def test_a_request_body_still_arrives(connect):
    async def echo(exchange: Exchange) -> None:
        body = b""
        while data := await exchange.body.receive():
            body += data
        await exchange.respond(200, "OK", (), body)

    async with engine_for(echo) as engine, anyio.create_task_group() as group:
        client = await connect(engine, b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab")

        async def send_the_rest() -> None:
            await anyio.sleep(3)
            await client.send(b"cd")

        group.start_soon(send_the_rest)
        await engine.shutdown(10)
        assert (await client.receive_all()).endswith(b"\r\n\r\nabcd")


# -- what is cut short ---------------------------------------------------------------------------------------------


async def test_a_waiting_handler_is_cancelled_when_the_time_is_up(connect, caplog):
    cancelled = []

    async def handler(exchange: Exchange) -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(exchange.started)
            raise

    async with engine_for(handler) as engine:
        client = await connect(engine, GET)
        start = anyio.current_time()
        report = await engine.shutdown(5)
        assert 5 <= since(start) <= 5 + GRACE
        assert await client.receive_all() == b""
    assert cancelled == [False]
    assert (len(report.cancelled), report.finished, report.abandoned) == (1, (), ())
    assert not report.clean
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "1 cancelled" in record.getMessage()
    assert "GET /" in record.getMessage()


@pytest.mark.parametrize("timeout", [0, 5])
async def test_whatever_clients_do_it_is_bounded(connect, timeout):
    """A stalled reader, an endless stream, an idle keep-alive, a silent connection, a body that never comes."""
    async with engine_for(by_target) as engine, anyio.create_task_group() as group:

        async def drink(client: ClientEnd) -> None:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:
                    await client.receive()

        idle = [await connect(engine, GET), await connect(engine), await connect(engine, GET[:3])]
        await idle[0].receive_until(b"hello")
        for target in ("/big", "/endless"):
            client = await connect(engine, get(target))
            client.stall()
        group.start_soon(drink, await connect(engine, get("/endless")))
        await connect(engine, b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n")
        await anyio.sleep(1)

        async def watch_idle() -> None:
            begin = anyio.current_time()
            for client in idle:
                await client.receive_all()
            assert since(begin) == 0

        group.start_soon(watch_idle)
        start = anyio.current_time()
        report = await engine.shutdown(timeout)
        assert timeout <= since(start) <= timeout + GRACE
        assert (report.idle, len(report.cancelled), report.finished, report.abandoned) == (3, 4, (), ())
    assert since(start) <= timeout + GRACE


async def test_clean_up_in_a_short_shield_is_waited_for(connect):
    """Handlers get a moment for their clean-up before their sockets go."""
    steps = []

    async def handler(exchange: Exchange) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(1, shield=True):
                await anyio.sleep(0.05)
                steps.append("rolled back")

    async with engine_for(handler) as engine:
        await connect(engine, GET)
        report = await engine.shutdown(1)
        assert steps == ["rolled back"]
    assert len(report.cancelled) == 1
    assert not report.abandoned


async def test_a_shielded_wait_for_the_peer_ends_with_the_socket(connect):
    async def stubborn(exchange: Exchange) -> None:
        with anyio.CancelScope(shield=True):
            await exchange.start(200, "OK", (), chunked=True)
            while True:
                await exchange.write(b"x" * 65536)

    async with engine_for(stubborn) as engine:
        client = await connect(engine, GET)
        client.stall()
        start = anyio.current_time()
        report = await engine.shutdown(2)
        assert 2 < since(start) <= 2 + GRACE
    assert since(start) <= 2 + GRACE
    assert len(report.cancelled) == 1


async def test_a_handler_that_shields_itself_is_abandoned_by_name(connect, caplog):
    """The shutdown ends in time; leaving the engine waits, because nothing may outlive it."""
    steps = []

    async def stubborn(exchange: Exchange) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(20)
        steps.append("done")

    async with engine_for(stubborn) as engine:
        await connect(engine, GET)
        start = anyio.current_time()
        report = await engine.shutdown(1)
        assert since(start) <= 1 + GRACE
        assert (report.finished, report.cancelled, len(report.abandoned)) == ((), (), 1)
        assert report.abandoned[0].request == "GET /"
        assert report.abandoned[0].waits_at.endswith("stubborn")
        assert "1 abandoned" in caplog.text
        assert not steps
    assert steps == ["done"]


# -- on_shutdown ---------------------------------------------------------------------------------------------------


async def test_on_shutdown_runs_before_the_waiting(connect):
    """So that it can help handlers to an end, as one that closes websockets does."""
    over = anyio.Event()
    steps = []

    async def handler(exchange: Exchange) -> None:
        await over.wait()
        steps.append("handler")
        await hello(exchange)

    async def on_shutdown() -> None:
        await anyio.sleep(1)
        steps.append("on_shutdown")
        over.set()

    async with engine_for(handler) as engine:
        await connect(engine, GET)
        start = anyio.current_time()
        report = await engine.shutdown(60, on_shutdown=on_shutdown)
    assert steps == ["on_shutdown", "handler"]
    assert since(start) == pytest.approx(1)
    assert len(report.finished) == 1


async def test_on_shutdown_that_hangs_is_cancelled_with_the_rest(connect, caplog):
    async with engine_for(wait_for_ever) as engine:
        await connect(engine, GET)
        start = anyio.current_time()
        report = await engine.shutdown(3, on_shutdown=anyio.sleep_forever)
        assert 3 <= since(start) <= 3 + GRACE
    assert len(report.cancelled) == 1
    assert "on_shutdown did not end within the shutdown timeout of 3 s" in caplog.text


async def test_without_patience_on_shutdown_has_a_moment(connect, caplog):
    said = []

    async def on_shutdown() -> None:
        await anyio.sleep(0.05)
        said.append("goodbye")

    async with engine_for(wait_for_ever) as engine:
        await connect(engine, GET)
        start = anyio.current_time()
        await engine.shutdown(0, on_shutdown=on_shutdown)
        assert since(start) <= GRACE
    assert said == ["goodbye"]


async def test_an_error_of_on_shutdown_is_raised_when_everything_has_ended(connect):
    async def broken() -> None:
        raise ValueError("broken")

    async with engine_for(wait_for_ever) as engine:
        client = await connect(engine, GET)
        start = anyio.current_time()
        with pytest.raises(ValueError, match="broken"):
            await engine.shutdown(2, on_shutdown=broken)
        assert 2 <= since(start) <= 2 + GRACE
        assert await client.receive_all() == b""
        assert engine.report is not None
        assert len(engine.report.cancelled) == 1


# -- in a hurry, twice, cancelled ----------------------------------------------------------------------------------


async def test_hurry_during_a_shutdown_ends_it_at_once(connect, caplog):
    async with engine_for(wait_for_ever) as engine, anyio.create_task_group() as group:
        client = await connect(engine, GET)

        async def second_signal() -> None:
            await anyio.sleep(2)
            engine.hurry()
            engine.hurry()

        group.start_soon(second_signal)
        start = anyio.current_time()
        report = await engine.shutdown(60, on_shutdown=anyio.sleep_forever)
        assert since(start) == pytest.approx(2)
        assert await client.receive_all() == b""
    assert len(report.cancelled) == 1
    assert "on_shutdown was cancelled: the server is in a hurry" in caplog.text
    assert "within the shutdown timeout" not in caplog.text


async def test_hurry_before_a_shutdown_leaves_it_nothing_to_wait_for(connect):
    async with engine_for(wait_for_ever) as engine:
        (listener,) = await open_tcp("127.0.0.1", 0)
        engine.listen(listener)
        client = await connect(engine, GET)
        engine.hurry()
        assert await client.receive_all() == b""
        start = anyio.current_time()
        report = await engine.shutdown(60)
        assert since(start) == 0
        assert listener.socket.fileno() < 0
    assert len(report.cancelled) == 1
    assert report.finished == ()


async def test_hurry_does_not_hold_out_for_a_shielded_handler(connect):
    async def stubborn(exchange: Exchange) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(20)

    async with engine_for(stubborn) as engine, anyio.create_task_group() as group:
        await connect(engine, GET)

        async def second_signal() -> None:
            await anyio.sleep(2)
            engine.hurry()

        group.start_soon(second_signal)
        start = anyio.current_time()
        report = await engine.shutdown(60)
        assert since(start) <= 2 + GRACE
    assert len(report.abandoned) == 1


async def test_a_second_call_waits_for_the_first(connect):
    reports = []

    async with engine_for(slow(5)) as engine, anyio.create_task_group() as group:
        await connect(engine, GET)

        async def shut_down(timeout: float) -> None:
            reports.append(await engine.shutdown(timeout))

        group.start_soon(shut_down, 60)
        await anyio.lowlevel.checkpoint()
        group.start_soon(shut_down, 0)
    assert reports[0] is reports[1]
    assert len(reports[0].finished) == 1


async def test_a_second_call_after_a_failed_one(connect):
    """What concerns the program passes through a shutdown; there is no report then."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async with engine_for(hello) as engine:
        with pytest.raises(KeyboardInterrupt):
            await engine.shutdown(1, on_shutdown=interrupted)
        with pytest.raises(RuntimeError, match="there is no report"):
            await engine.shutdown(1)


async def test_in_a_cancelled_task_it_shields_itself_and_is_bounded(connect):
    """As in the `finally` of a main task that is being cancelled."""
    async with engine_for(slow(5)) as engine:
        client = await connect(engine, GET)
        await connect(engine, GET)
        start = anyio.current_time()
        with anyio.CancelScope() as scope:
            scope.cancel()
            report = await engine.shutdown(60)
        assert since(start) == pytest.approx(5, abs=0.2)
        assert (await client.receive_all()).endswith(b"hello")
    assert len(report.finished) == 2


# -- the report ----------------------------------------------------------------------------------------------------


def test_a_report_reads_as_a_paragraph():
    a, b = ConnectionRecord(peer="a", phase="send"), ConnectionRecord(peer="b", phase="body")
    c = ConnectionRecord(
        peer="c", phase="handler", request="GET /c", route="GET /{name}", seconds=61.04, waits_at="app.py:7 in get",
        reason="server shutdown",
    )  # fmt: skip
    report = ShutdownReport(finished=(a, b), cancelled=(c,), lifted=(c,), abandoned=(b,), idle=7, seconds=60.204)
    line = "peer c, handler, GET /c, route GET /{name}, for 61.0 s, at app.py:7 in get, server shutdown"
    assert str(report).splitlines() == [
        "Shut down in 60.20 s: 2 finished, 1 cancelled, 1 abandoned, 7 idle",
        f"  cancelled: {line}",
        f"  shield lifted: {line}",
        "  abandoned: peer b, body",
    ]


def test_a_report_is_json_too():
    record = ConnectionRecord(peer="a", phase="send")
    told = json.loads(ShutdownReport(cancelled=(record,), seconds=1.5).to_json())
    assert told == {
        "clean": False,
        "finished": [],
        "cancelled": [
            {"peer": "a", "phase": "send", "request": "", "route": "", "seconds": 0.0, "waits_at": "", "reason": ""}
        ],
        "lifted": [],
        "abandoned": [],
        "idle": 0,
        "seconds": 1.5,
        "steps": [],
    }


async def test_a_clean_shutdown_is_logged_quietly(caplog):
    caplog.set_level(logging.INFO, "structweb.server")
    async with engine_for(hello) as engine:
        await engine.shutdown(1)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == "Shut down in 0.00 s: 0 finished, 0 cancelled, 0 abandoned, 0 idle"
