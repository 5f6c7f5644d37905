"""Server-sent events: what a client reads, and how the stream ends, on virtual time and memory pipes."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import pytest
from anyio.abc import TaskStatus

from structweb import web
from structweb.testing import memory_pipe
from tests.web.served import Connection, get, serving
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = pytest.mark.anyio

Use = Callable[[web.EventSourceResponse], Awaitable[None]]


def stream(use: Use, **options: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that uses an event stream."""

    async def handler(request: web.Request) -> web.StreamResponse:
        async with web.sse_response(request, **options) as response:
            await use(response)
        return response

    return handler


def sending(*args: object, **fields: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that sends one event."""
    return stream(lambda response: response.send(*args, **fields))


class Event(NamedTuple):
    """What a browser's listener gets."""

    type: str
    data: str
    last_event_id: str


def interpret(body: bytes) -> tuple[list[Event], int | None]:
    """Read a stream as section 9.2.6 of the HTML standard says; return its events and the reconnection time."""
    events, retry, last_id = [], None, ""
    data, kind = "", ""
    text = body.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                events.append(Event(kind or "message", data.removesuffix("\n"), last_id))
            data, kind = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            retry = int(value)
    return events, retry


# -- the format ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"data": "hello"}, b"data: hello\n\n"),
        ({"data": ""}, b"data: \n\n"),
        ({"data": " two spaces "}, b"data:  two spaces \n\n"),
        ({"data": "a\nb\r\nc\rd\n"}, b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        ({"data": "one\u2028line\x0b\x0c\x85"}, "data: one\u2028line\x0b\x0c\x85\n\n".encode()),
        ({"data": "d", "id": "7", "event": "news", "retry": 0}, b"id: 7\nevent: news\ndata: d\nretry: 0\n\n"),
        ({"data": "id: 1\n\ndata: x"}, b"data: id: 1\ndata: \ndata: data: x\n\n"),
        ({"data": None, "id": "", "retry": 2500}, b"id: \nretry: 2500\n\n"),
    ],
)
async def test_events_are_written_as_the_standard_reads_them(fields: dict[str, object], sent: bytes):
    reply = await ask(sending(**fields))
    assert reply.body == sent
    events, retry = interpret(reply.body)
    assert retry == fields.get("retry")
    if fields["data"] is not None:
        lines = str(fields["data"]).replace("\r\n", "\n").replace("\r", "\n")
        assert events == [Event(str(fields.get("event", "message")), lines, str(fields.get("id", "")))]
    else:
        assert events == []


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"data": "x", name: f"a{byte}data: injected"}, ValueError, f"{name} must not contain CR, LF or NUL")
        for name in ("id", "event")
        for byte in "\r\n\0"
    ]
    + [
        ({"data": "x", "retry": -1}, ValueError, "0 or more milliseconds, got -1"),
        ({"data": "x", "retry": 1.5}, TypeError, "retry must be an int"),
        ({"data": b"x"}, TypeError, "data must be a str or None, got b'x'"),
        ({"data": "x", "id": 7}, TypeError, "id must be a str, got 7"),
        ({"data": None}, ValueError, "must have one of"),
        ({"data": "\ud800"}, UnicodeEncodeError, "surrogates"),
    ],
)
async def test_what_is_refused_sends_nothing(fields: dict[str, object], error: type[Exception], words: str):
    async def use(response: web.EventSourceResponse) -> None:
        with pytest.raises(error, match=words):
            await response.send(**fields)
        await response.send("after")

    assert (await ask(stream(use))).body == b"data: after\n\n"


async def test_headers():
    """No cache keeps it, no proxy collects it, and nobody compresses it."""
    reply = await ask(sending("x"), "/", "Accept-Encoding: gzip, deflate")
    assert reply.get("Content-Type") == "text/event-stream"
    assert reply.get("Cache-Control") == "no-cache, no-store"
    assert reply.get("X-Accel-Buffering") == "no"
    assert reply.get("Content-Encoding") is None
    assert reply.get("Transfer-Encoding") == "chunked"


async def test_headers_of_the_users_own():
    headers = {"Cache-Control": "private", "X-Accel-Buffering": "yes", "Content-Type": "text/plain", "X-Own": "1"}
    reply = await ask(stream(lambda response: response.send("x"), headers=headers))
    found = [reply.get(name) for name in headers]
    assert found == ["private", "yes", "text/event-stream", "1"]


async def test_the_last_event_id():
    async def use(response: web.EventSourceResponse) -> None:
        await response.send(repr(response.last_event_id))

    for fields, data in ([], b"None"), (["Last-Event-ID: 41"], b"'41'"), (["Last-Event-ID: \u00e9"], "'é'".encode()):
        assert (await ask(stream(use), "/", *fields)).body == b"data: %b\n\n" % data


async def test_http_1_0_ends_with_the_connection():
    head, _, body = (await talk(sending("x"), request_bytes(version="1.0"))).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"data: x\n\n"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_methods_that_have_a_body(method: str):
    assert (await ask(sending("x"), method=method)).body == b"data: x\n\n"


@pytest.mark.parametrize("busy", [False, True])
async def test_head_has_the_headers_and_ends_at_once(busy: bool):
    """A stream without end would keep the next request on the connection waiting; the block is cancelled."""
    reached = []

    async def use(response: web.EventSourceResponse) -> None:
        while busy:
            await response.send("x")
        await anyio.sleep_forever()
        reached.append("too far")

    async with serving(app_of(stream(use))) as served:
        connection = served.connect()
        for _ in range(2):
            with anyio.fail_after(1):
                answer = await connection.ask(method="HEAD")
            assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert reached == []


# -- order and misuse ------------------------------------------------------------------------------------------------


async def test_what_must_come_first():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.EventSourceResponse()
        with pytest.raises(RuntimeError, match="prepare"):
            await response.send("x")
        with pytest.raises(RuntimeError, match=r"last_event_id must come after prepare\(\)"):
            _ = response.last_event_id
        with pytest.raises(RuntimeError, match=r"async with must come after prepare\(\)"):
            await response.__aenter__()
        with pytest.raises(RuntimeError, match="was entered"):
            response.stop_streaming()
        with pytest.raises(RuntimeError, match="was entered"):
            await response.wait()
        await response.prepare(request)
        assert await response.prepare(request) is response
        await response.send("before")
        assert not response.is_connected()
        async with response:
            assert response.is_connected()
            await response.send("inside")
        assert not response.is_connected()
        await response.send("behind")
        with pytest.raises(RuntimeError, match="once"):
            await response.__aenter__()
        return response

    assert (await ask(handler)).body == b"data: before\n\ndata: inside\n\ndata: behind\n\n"


@pytest.mark.parametrize(
    "options",
    [{"ping_interval": value} for value in (0, -1, float("inf"), float("nan"))]
    + [{"shutdown_retry": value} for value in ((-1, 1), (2, 1))],
)
async def test_intervals_that_cannot_be(options: dict[str, object]):
    with pytest.raises(ValueError, match="must be"):
        web.EventSourceResponse(**options)


async def test_milliseconds_are_whole():
    with pytest.raises(TypeError, match="integer"):
        web.EventSourceResponse(shutdown_retry=(0.5, 1))


async def test_an_error_in_the_block_comes_out_as_itself():
    """It cuts the stream, so that the client sees that something is missing."""
    caught = []

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            async with web.sse_response(request) as response:
                await response.send("x")
                raise ZeroDivisionError
        except ZeroDivisionError:
            caught.append(1)
            raise

    answer = await talk(handler, request_bytes())
    assert caught == [1]
    assert not answer.endswith(b"0\r\n\r\n")


# -- silence ---------------------------------------------------------------------------------------------------------


async def test_comments_keep_a_silent_stream_alive():
    """One after each interval without an event; clients see none of them."""

    async def use(response: web.EventSourceResponse) -> None:
        await anyio.sleep(35)
        await response.send("late")
        await anyio.sleep(14)
        await response.send("in time")
        await anyio.sleep(16)

    body = (await ask(stream(use))).body
    assert body == b": ping\n\n: ping\n\ndata: late\n\ndata: in time\n\n: ping\n\n"
    assert [event.data for event in interpret(body)[0]] == ["late", "in time"]


@pytest.mark.parametrize(("interval", "count"), [(0.5, 3), (None, 0)])
async def test_the_interval_of_comments(interval: float | None, count: int):
    async def use(_: web.EventSourceResponse) -> None:
        await anyio.sleep(1.75)

    assert (await ask(stream(use, ping_interval=interval))).body == b": ping\n\n" * count


async def test_no_comment_behind_the_end():
    steps = []

    async def use(response: web.EventSourceResponse) -> None:
        await response.write_eof(b"data: last\n\n")
        await anyio.sleep(100)
        steps.append("undisturbed")

    assert (await ask(stream(use))).body == b"data: last\n\n"
    assert steps == ["undisturbed"]


@pytest.mark.parametrize("compressed", [False, True])
async def test_no_comment_while_a_slow_client_takes_the_end(compressed: bool):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.EventSourceResponse(ping_interval=1)
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        async with response:
            await response.send("the last one")
            await response.write_eof()
        return response

    answer = await talk(handler, request_bytes())
    async with serving(app_of(handler)) as served, anyio.create_task_group() as group:
        client, server = memory_pipe(len(answer) - 3)  # all but its end fits
        group.start_soon(served.engine.serve_stream, server)
        await client.send(request_bytes())
        await anyio.sleep(10)
        reply = parse(await client.receive_all())
        client.close()
    assert reply.body == parse(answer).body


async def test_a_stream_that_is_stopped_while_a_slow_client_takes_the_end_ends_then():
    ended = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.EventSourceResponse(ping_interval=None)
        await response.prepare(request)
        start = anyio.current_time()
        async with response, anyio.create_task_group() as group:
            group.start_soon(stop, response)
            await response.send("the last one")
            await response.write_eof()
            await anyio.sleep(1000)
        ended.append(anyio.current_time() - start)
        return response

    async def stop(response: web.EventSourceResponse) -> None:
        await anyio.sleep(1)
        response.stop_streaming()

    answer = await talk(handler, request_bytes())
    async with serving(app_of(handler)) as served, anyio.create_task_group() as group:
        client, server = memory_pipe(len(answer) - 3)  # all but its end fits
        group.start_soon(served.engine.serve_stream, server)
        await client.send(request_bytes())
        await anyio.sleep(10)
        assert parse(await client.receive_all()).body == parse(answer).body
        client.close()
    assert ended == [pytest.approx(1), pytest.approx(10)]


async def test_compressed_events_arrive_one_by_one():
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.EventSourceResponse(ping_interval=1)
        response.enable_compression(web.ContentCoding.deflate)
        await response.prepare(request)
        async with response:
            await response.send("x")
            await anyio.sleep(1.5)
        return response

    reply = await ask(handler)
    assert zlib.decompress(reply.body) == b"data: x\n\n: ping\n\n"


# -- tasks, and slow clients -----------------------------------------------------------------------------------------


async def test_other_tasks_send_and_end_it():
    streams: list[web.EventSourceResponse] = []

    async def use(response: web.EventSourceResponse) -> None:
        streams.append(response)
        await response.wait()

    async with serving(app_of(stream(use))) as served, anyio.create_task_group() as group:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await anyio.wait_all_tasks_blocked()
        (response,) = streams
        for number in range(3):
            group.start_soon(response.send, str(number))
        await anyio.wait_all_tasks_blocked()
        response.stop_streaming()
        reply = parse(await connection.rest())
        await response.wait()  # returns at once
    assert sorted(event.data for event in interpret(reply.body)[0]) == ["0", "1", "2"]


async def test_a_slow_client_holds_send_back_and_gets_whole_events():
    """Nothing is collected for it, not even comments; a sender that gives up waiting for its turn has sent nothing."""
    sent = []

    async def handler(request: web.Request) -> web.StreamResponse:
        async with web.sse_response(request, ping_interval=0.1) as response, anyio.create_task_group() as group:

            async def flood() -> None:
                for number in range(20):
                    await response.send(f"{number:05}" * 10000)
                    sent.append(number)

            group.start_soon(flood)
            await anyio.sleep(1)
            with anyio.move_on_after(1) as scope:
                await response.send("gave up")
            assert scope.cancelled_caught
        return response

    async with serving(app_of(handler), min_rate=None) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        head = await connection.stream.receive_until(b"\r\n\r\n")
        connection.stream.stall()
        await anyio.sleep(5)
        assert len(sent) < 10
        connection.stream.resume()
        reply = parse(head + await connection.rest())
    events, _ = interpret(reply.body)
    assert b"ping" not in reply.body
    assert [event.data for event in events] == [f"{number:05}" * 10000 for number in range(20)]


# -- the client leaves -----------------------------------------------------------------------------------------------


async def test_the_client_leaves_and_the_handler_is_cancelled():
    ends, ended = [], anyio.Event()

    async def use(response: web.EventSourceResponse) -> None:
        try:
            await response.send("x")
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            ends.append("cancelled")
            raise
        finally:
            ended.set()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await stream(use)(request)
        ends.append("behind the block")
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(get())
        await connection.stream.receive_until(b"data: x\n\n")
        connection.stream.close()
        with anyio.fail_after(1):
            await ended.wait()
    assert ends == ["cancelled"]


@pytest.mark.parametrize("quiet", [False, True])
async def test_a_handler_that_may_finish_finds_nobody(quiet: bool):
    """The next event raises; with none to send, the next comment finds out, and the block ends all the same."""
    raised, ended = [], anyio.Event()

    async def use(response: web.EventSourceResponse) -> None:
        while not quiet:
            await response.send("x")
            await anyio.sleep(1)
        await anyio.sleep_forever()

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await stream(use)(request)
        except ConnectionResetError:
            raised.append(anyio.current_time())
            raise
        finally:
            ended.set()

    async with serving(app_of(handler, disconnect="finish")) as served:
        start = anyio.current_time()
        connection = served.connect()
        await connection.stream.send(get())
        await anyio.sleep(0.5)
        connection.stream.close()
        with anyio.fail_after(40):
            await ended.wait()
    (at,) = raised
    assert at - start == pytest.approx(15 if quiet else 1)


# -- a shutdown ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stoppable(handler: object, **options: object) -> AsyncIterator[tuple[Connection, anyio.CancelScope]]:
    """Serve a handler with a runner whose shutdown begins when the scope is cancelled."""
    runner = web.AppRunner(app_of(handler), access_log=None, shutdown_timeout=20, **options)

    async def run(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with scope:
            async with runner:
                task_status.started()
                await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        await group.start(run, scope)
        client, server = memory_pipe()
        group.start_soon(runner.server, server)
        try:
            yield Connection(client), scope
        finally:
            client.close()
            scope.cancel()


async def test_a_shutdown_ends_it_with_a_retry_and_a_clean_end():
    """Nobody waits for the timeout: the block is cancelled, and the handler goes on behind it."""
    steps = []

    async def use(response: web.EventSourceResponse) -> None:
        try:
            await response.send("x", id="1")
            await anyio.sleep_forever()
        finally:
            steps.append("cleaned up")

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await stream(use, shutdown_retry=(3000, 4000))(request)
        steps.append("behind the block")
        return response

    async with stoppable(handler) as (connection, scope):
        await connection.stream.send(get())
        await anyio.sleep(1)
        start = anyio.current_time()
        scope.cancel()
        reply = parse(await connection.rest())  # h11 complains about a body without its last chunk
        assert anyio.current_time() - start < 1
    events, retry = interpret(reply.body)
    assert events == [Event("message", "x", "1")]
    assert retry is not None
    assert 3000 <= retry <= 4000
    assert reply.body.endswith(b"\n\nretry: %d\n\n" % retry)
    assert steps == ["cleaned up", "behind the block"]


async def test_not_all_clients_come_back_at_once():
    retries = set()
    for _ in range(5):
        async with stoppable(stream(lambda response: response.wait())) as (connection, scope):
            await connection.stream.send(get())
            await anyio.sleep(1)
            scope.cancel()
            retry = interpret(parse(await connection.rest()).body)[1]
            assert retry is not None
            assert 1000 <= retry <= 10000
            retries.add(retry)
    assert len(retries) > 1


async def test_a_block_that_ends_by_itself_during_a_shutdown_says_it_too():
    async def use(response: web.EventSourceResponse) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
            await response.send("last")

    async with stoppable(stream(use, shutdown_retry=(7, 7))) as (connection, scope):
        await connection.stream.send(get())
        await anyio.sleep(1)
        scope.cancel()
        assert parse(await connection.rest()).body == b"data: last\n\nretry: 7\n\n"


async def test_nothing_is_said_behind_the_end():
    """A block that has ended its body itself is ended by a shutdown, too, and sends no more."""
    steps = []

    async def use(response: web.EventSourceResponse) -> None:
        await response.write_eof(b"data: last\n\n")
        await anyio.sleep_forever()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await stream(use)(request)
        steps.append("behind the block")
        return response

    async with stoppable(handler) as (connection, scope):
        await connection.stream.send(request_bytes())
        await anyio.sleep(1)
        scope.cancel()
        assert parse(await connection.rest()).body == b"data: last\n\n"
    assert steps == ["behind the block"]


@pytest.mark.parametrize("told", ["shutdown", "stop_streaming"])
async def test_its_end_waits_for_an_event_that_is_on_its_way(told: str):
    """Cancelled half-way, it would cut the stream.  Those of the block that wait for their turn are too late."""
    size, streams = 10**6, []

    async def use(response: web.EventSourceResponse) -> None:
        streams.append(response)
        async with anyio.create_task_group() as group:
            for letter in "xyz":
                group.start_soon(response.send, letter * size)
                await anyio.wait_all_tasks_blocked()

    async with stoppable(stream(use, shutdown_retry=(7, 7)), min_rate=None) as (connection, scope):
        await connection.stream.send(request_bytes())
        head = await connection.stream.receive_until(b"\r\n\r\n")
        connection.stream.stall()
        await anyio.sleep(1)
        if told == "shutdown":
            scope.cancel()
        else:
            streams[0].stop_streaming()
        await anyio.sleep(1)
        connection.stream.resume()
        events, retry = interpret(parse(head + await connection.rest()).body)
    assert [event.data for event in events] == ["x" * size]
    assert retry == (7 if told == "shutdown" else None)
