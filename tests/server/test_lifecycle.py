"""The engine: it owns connections, keeps their failures apart, and ends them all when it is left."""

import contextvars
import logging

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._server.listeners import open_tcp
from structweb.testing import ClientEnd, memory_pipe

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def hello(exchange: Exchange) -> None:
    await exchange.respond(200, "OK", (), b"hello")


async def wait_for_ever(exchange: Exchange) -> None:
    await anyio.sleep_forever()


@pytest.fixture
async def connect():
    """Bring a client to an engine; its end is closed after the test."""
    clients = []
    async with anyio.create_task_group() as group:

        def connect_(engine: Engine, sent: bytes = b"") -> ClientEnd:
            client, server = memory_pipe()
            clients.append(client)
            group.start_soon(engine.serve_stream, server)
            if sent:
                group.start_soon(client.send, sent)
            return client

        yield connect_
        for client in clients:
            client.close()


async def running(engine: Engine, requests: int = 1) -> None:
    """Wait until handlers have been started for so many requests."""
    while engine.requests_count < requests:
        await anyio.lowlevel.checkpoint()


def engine_for(handler, **settings) -> Engine:
    return Engine(handler, ServerConfig(**settings))


# -- serving -------------------------------------------------------------------------------------------------------


async def test_a_stream_is_served(connect):
    async with engine_for(hello) as engine:
        client = connect(engine, GET)
        for count in (1, 2):
            assert (await client.receive_until(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert engine.requests_count == count
            assert len(engine.connections) == 1
            await client.send(GET)


async def test_a_connection_that_ended_is_forgotten():
    async with engine_for(hello) as engine:
        client, server = memory_pipe()
        await client.send(GET)
        await client.half_close()
        await engine.serve_stream(server)
        assert not engine.connections
        assert (await client.receive_all()).endswith(b"hello")


@pytest.mark.real_backends
async def test_listeners_are_served_until_they_stop():
    async with engine_for(hello) as engine:
        first, second = await open_tcp("127.0.0.1", 0) + await open_tcp("127.0.0.1", 0)
        listenings = [engine.listen(first), engine.listen(second)]
        assert engine.listenings == tuple(listenings)
        async with await anyio.connect_tcp(*first.address) as client:
            await client.send(GET)
            assert (await client.receive()).startswith(b"HTTP/1.1 200 OK\r\n")
            address = first.address
            await listenings[0].stop()
            with pytest.raises(OSError):
                await anyio.connect_tcp(*address)
            assert engine.listenings == (listenings[1],)
            await client.send(GET)  # accepted connections live on
            assert (await client.receive()).startswith(b"HTTP/1.1 200 OK\r\n")
        async with await anyio.connect_tcp(*second.address) as client:
            await client.send(GET)
            assert (await client.receive()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.real_backends
async def test_leaving_closes_listeners_and_connections():
    async with engine_for(wait_for_ever) as engine:
        (listener,) = await open_tcp("127.0.0.1", 0)
        address = listener.address
        engine.listen(listener)
        client = await anyio.connect_tcp(*address)
        while not engine.connections:
            await anyio.lowlevel.checkpoint()
    async with client:
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await client.receive()
    with pytest.raises(OSError):
        await anyio.connect_tcp(*address)


async def test_long_handlers_are_left_in_peace(connect):
    """The patience with an idle connection does not go on when a request has come."""

    async def slow(exchange: Exchange) -> None:
        await anyio.sleep(3600)
        await hello(exchange)

    async with engine_for(slow) as engine:
        client = connect(engine)
        await anyio.sleep(60)
        await client.send(GET)
        assert (await client.receive_until(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")


# -- failures ------------------------------------------------------------------------------------------------------


async def test_a_failing_connection_is_one_record_and_leaves_its_siblings_alone(connect, caplog):
    async def failing(exchange: Exchange) -> None:
        if exchange.head.target == "/fail":
            raise ValueError("broken")
        await anyio.sleep(10)
        await hello(exchange)

    async with engine_for(failing) as engine:
        sibling = connect(engine, GET)
        victim = connect(engine, GET.replace(b" / ", b" /fail "))
        assert await victim.receive_all() == b""
        assert (await sibling.receive_until(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
        newcomer = connect(engine, GET)
        assert (await newcomer.receive_until(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("structweb.server", "ERROR")
    assert "192.0.2.1" in record.getMessage()
    assert record.exc_info[1].args == ("broken",)
    assert "handler, <Head GET /fail" in caplog.text  # the phase and the request


async def test_a_stray_cancellation_leaves_siblings_alone(connect):
    """On asyncio a handler can raise CancelledError by itself: that is its own affair."""

    async def stray(exchange: Exchange) -> None:
        if exchange.head.target == "/stray":
            with anyio.CancelScope() as scope:
                scope.cancel()
                try:
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class() as exc:
                    kept = exc
            raise kept
        await anyio.sleep(10)
        await hello(exchange)

    async with engine_for(stray) as engine:
        sibling = connect(engine, GET)
        victim = connect(engine, GET.replace(b" / ", b" /stray "))
        assert await victim.receive_all() == b""
        assert (await sibling.receive_until(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_concerns_the_program_ends_the_engine(connect, kind):
    """It is raised where the engine is left, as itself, after all clean-up."""
    steps = []

    async def handler(exchange: Exchange) -> None:
        if exchange.head.target == "/stop":
            raise kind("stop")
        try:
            await anyio.sleep_forever()
        finally:
            steps.append("sibling cleaned up")

    with pytest.raises(kind, match="stop"):
        async with engine_for(handler) as engine:
            connect(engine, GET)
            connect(engine, GET.replace(b" / ", b" /stop "))
            try:
                await anyio.sleep_forever()
            finally:
                steps.append("host cleaned up")
    assert sorted(steps) == ["host cleaned up", "sibling cleaned up"]


async def test_an_error_in_the_body_comes_out_as_itself(connect):
    error = ValueError("body")
    with pytest.raises(ValueError, match="body") as info:
        async with engine_for(wait_for_ever) as engine:
            connect(engine, GET)
            await running(engine)
            raise error
    assert info.value is error
    assert error.__context__ is None


async def test_several_errors_come_out_as_a_group():
    with pytest.raises(ExceptionGroup) as info:
        async with engine_for(hello), anyio.create_task_group() as group:
            group.start_soon(fail, KeyError("one"))
            group.start_soon(fail, ValueError("two"))
    assert {type(each) for each in info.value.exceptions} == {KeyError, ValueError}


async def fail(error: Exception) -> None:
    raise error


# -- leaving -------------------------------------------------------------------------------------------------------


async def test_leaving_without_shutdown_cancels_everything_at_once(connect):
    ended = []

    async def handler(exchange: Exchange) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(exchange.head.target)

    start = anyio.current_time()
    async with engine_for(handler) as engine:
        clients = [connect(engine), connect(engine, GET[:5]), connect(engine, GET)]
        await anyio.sleep(1)
    assert anyio.current_time() == start + 1
    assert ended == ["/"]
    assert engine.report is None
    for client in clients:
        assert await client.receive_all() == b""


async def test_an_outer_cancellation_ends_the_engine_at_once(connect):
    with anyio.move_on_after(5) as scope:
        async with engine_for(wait_for_ever) as engine:
            connect(engine, GET)
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not engine.connections


async def test_a_handler_that_shields_itself_is_waited_for_and_named_once_a_second(connect, caplog):
    ended = []

    async def stubborn(exchange: Exchange) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3.5)
        ended.append(True)

    async with engine_for(stubborn) as engine:
        connect(engine, GET)
        await running(engine)
        start = anyio.current_time()
    assert ended
    assert anyio.current_time() - start == pytest.approx(3.5)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 3
    assert all("192.0.2.1" in line and "GET /" in line for line in warnings)


async def test_a_shield_around_a_wait_for_the_peer_holds_nothing_up(connect):
    """Its socket is aborted, so there is nothing left to wait for."""

    async def stubborn(exchange: Exchange) -> None:
        with anyio.CancelScope(shield=True):
            await exchange.start(200, "OK", (), chunked=True)
            while True:
                await exchange.write(b"x" * 65536)

    start = anyio.current_time()
    async with engine_for(stubborn) as engine:
        client = connect(engine, GET)
        await client.receive_until(b"\r\n\r\n")
        client.stall()
    assert anyio.current_time() == start


async def test_cancelling_serve_stream_ends_its_connection_only(connect):
    async with engine_for(wait_for_ever) as engine:
        connect(engine, GET)
        client, server = memory_pipe()
        with anyio.move_on_after(5):
            await engine.serve_stream(server)
        assert await client.receive_all() == b""
        assert len(engine.connections) == 1


async def test_each_connection_starts_from_the_context_of_the_engine(connect):
    seen = []
    var = contextvars.ContextVar("var", default="unset")

    async def handler(exchange: Exchange) -> None:
        seen.append(var.get())
        var.set("leaked")
        await hello(exchange)

    async with engine_for(handler) as engine:
        for _ in range(2):
            client = connect(engine, GET + GET)
            await client.receive_until(b"hello")
            await client.receive_until(b"hello")
    assert seen == ["unset"] * 4


# -- misuse --------------------------------------------------------------------------------------------------------


async def test_before_it_is_entered_nothing_works():
    engine = engine_for(hello)
    (listener,) = await open_tcp("127.0.0.1", 0)
    client, server = memory_pipe()
    with pytest.raises(RuntimeError, match=r"cannot listen on http://127.0.0.1:\d+: the engine is not entered yet"):
        engine.listen(listener)
    with pytest.raises(RuntimeError, match="cannot serve a stream: the engine is not entered yet"):
        await engine.serve_stream(server)
    with pytest.raises(RuntimeError, match="cannot shut down: the engine is not entered yet"):
        await engine.shutdown(1)
    with pytest.raises(RuntimeError, match="cannot leave this engine: it is not entered yet"):
        await engine.__aexit__(None, None, None)
    engine.hurry()
    listener.close()
    client.close()
    server.close()


async def test_it_is_entered_once():
    engine = engine_for(hello)
    async with engine:
        with pytest.raises(RuntimeError, match="entered once, but this one is open"):
            await engine.__aenter__()
    with pytest.raises(RuntimeError, match="entered once, but this one is left"):
        await engine.__aenter__()


async def test_after_it_shut_down_nothing_is_taken():
    async with engine_for(hello) as engine:
        (listener,) = await open_tcp("127.0.0.1", 0)
        await engine.shutdown(0)
        with pytest.raises(RuntimeError, match="the engine is shut down"):
            engine.listen(listener)
        assert listener.socket.fileno() >= 0  # still its maker's
        listener.close()
        client, server = memory_pipe()
        await engine.serve_stream(server)
        assert await client.receive_all() == b""
        client.close()


async def test_another_task_cannot_leave_it():
    engine = engine_for(hello)
    errors = []

    async def leave() -> None:
        with pytest.raises(RuntimeError, match="the task that entered it .* must leave it") as info:
            await engine.__aexit__(None, None, None)
        errors.append(info.value)

    async with engine, anyio.create_task_group() as group:
        group.start_soon(leave)
    assert errors
