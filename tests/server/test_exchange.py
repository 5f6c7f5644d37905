"""One exchange: streamed answers, what is refused, who is told of a departure, and whose context it is."""

import logging
from contextvars import ContextVar
from pathlib import Path

import anyio
import pytest

from structweb import ClientConnectionResetError
from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._wire.limits import Limits, Timeouts
from tests.server.peers import FIELDS, GET, answering, read_answer, serving, status_of, unstamped

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings with short patience; time is virtual."""
    return ServerConfig(express=express, timeouts=Timeouts(keepalive=30, body=20, send=20, linger=10))


async def stream(exchange: Exchange) -> None:
    """Answer in two pieces, of unknown length."""
    await exchange.start(200, "OK", FIELDS)
    await exchange.write(b"one")
    await exchange.write(b"")
    await exchange.write(memoryview(b"two"))
    await exchange.finish()


async def test_a_streamed_answer_is_chunked(config: ServerConfig) -> None:
    """W-065: the default of HTTP/1.1 without a length; the connection is kept."""
    async with serving(stream, config) as site:
        client = site.connect()
        for _ in range(2):
            await client.send(GET)
            answer = await client.receive_until(b"0\r\n\r\n")
            assert unstamped(answer) == (
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            )


async def test_to_http_1_0_it_ends_with_the_connection(config: ServerConfig) -> None:
    """W-065."""
    async with serving(stream, config) as site:
        client = site.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert unstamped(await client.receive_all()) == b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nonetwo"


async def test_to_head_no_byte_follows(config: ServerConfig) -> None:
    """W-067: what is written behind a HEAD head is swallowed, and the next answer starts where it should."""
    async with serving(stream, config) as site:
        client = site.connect()
        await client.send(GET.replace(b"GET", b"HEAD"))
        assert b"Transfer-Encoding" not in await client.receive_until(b"\r\n\r\n")  # W-066
        await client.send(GET)
        assert (await client.receive_until(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


async def test_a_declared_length_is_kept(config: ServerConfig) -> None:
    """W-068: exact is fine, and more is refused before it is sent."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS, length=6)
        await exchange.write(b"abc")
        with pytest.raises(ValueError, match="cannot write 4 bytes: Content-Length leaves 3"):
            await exchange.write(b"defg")
        await exchange.write(bytearray(b"def"))
        await exchange.finish()
        await exchange.finish()

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        assert (await read_answer(client)).endswith(b"\r\n\r\nabcdef")


async def test_a_short_body_closes_the_connection(config: ServerConfig, caplog: pytest.LogCaptureFixture) -> None:
    """W-068: the client sees the truncation instead of waiting for ever."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS, length=6)
        await exchange.write(b"abc")
        await exchange.finish()

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        assert (await client.receive_all()).endswith(b"\r\n\r\nabc")
    assert "ended 3 bytes before its Content-Length" in caplog.text


@pytest.mark.real_backends
async def test_a_file_that_shrinks_without_a_length_is_cut_off(config: ServerConfig, tmp_path: Path) -> None:
    """Chunks that came to their end would make the part look like the whole."""
    (tmp_path / "short").write_bytes(b"abc")
    caught = []

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS)
        with (tmp_path / "short").open("rb") as file:
            try:
                await exchange.send_file(file.fileno(), 0, 6)
            except OSError as exc:
                caught.append(str(exc))

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        assert (await client.receive_all()).endswith(b"\r\n3\r\nabc\r\n")
    assert caught == ["the file ended 3 bytes short of what was to be sent"]


async def test_one_answer_only(config: ServerConfig) -> None:
    """A second answer is an error of the program, and never reaches the wire."""

    async def handler(exchange: Exchange) -> None:
        with pytest.raises(RuntimeError, match="response is open, expected started"):
            await exchange.write(b"x")
        with pytest.raises(RuntimeError, match="was not started"):
            await exchange.finish()
        await exchange.respond(200, "OK", FIELDS, b"ok")
        with pytest.raises(RuntimeError, match="cannot send 404 after 200"):
            await exchange.respond(404, "", FIELDS, b"")
        with pytest.raises(RuntimeError, match="cannot send 500 after 200"):
            await exchange.start(500, "", FIELDS)
        with pytest.raises(RuntimeError, match="response is finished, expected started"):
            await exchange.write(b"x")

    async with serving(handler, config) as site:
        client = site.connect()
        for _ in range(2):
            await client.send(GET)
            assert (await read_answer(client)).endswith(b"\r\n\r\nok")


async def test_what_must_not_be_sent_leaves_the_exchange_open(config: ServerConfig) -> None:
    """W-069: the floor above can still answer 500."""

    async def handler(exchange: Exchange) -> None:
        with pytest.raises(ValueError, match="control characters"):
            await exchange.respond(200, "OK", [("X", "a\r\nSet-Cookie: b=c")], b"")
        with pytest.raises(ValueError, match="control characters"):
            await exchange.start(200, "O\nK", [])
        with pytest.raises(ValueError, match=r"for HTTP/1.1, the request is HTTP/1.0"):
            await exchange.start(200, "OK", [], chunked=True)
        assert not exchange.started
        assert exchange.bytes_sent == 0
        await exchange.respond(500, "", FIELDS, b"")

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert status_of(await client.receive_all()) == 500


async def test_a_large_body_goes_out_whole(config: ServerConfig) -> None:
    """Past what is sent in one piece, with a peer that reads slowly."""
    body = bytes(range(256)) * 4096

    async with serving(answering(body), config) as site:
        client = site.connect(capacity=1000)
        await client.send(GET)
        assert (await read_answer(client)).endswith(b"\r\n\r\n" + body)


async def test_writing_waits_for_a_slow_reader(config: ServerConfig) -> None:
    """W-093: an endless stream to a peer that does not read stays where it is."""
    written = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal written
        await exchange.start(200, "OK", FIELDS)
        while True:
            await exchange.write(b"x" * 1000)
            written += 1000

    async with serving(endless, config) as site:
        client = site.connect(capacity=10000)
        client.stall()
        await client.send(GET)
        await anyio.sleep(5)
        assert written <= 10000 + config.limits.write_buffer + 2000


async def test_a_stalled_reader_is_given_up(config: ServerConfig) -> None:
    """A peer that takes no byte for `Timeouts.send` is gone, and the handler learns of it."""
    failures: list[BaseException] = []

    async def endless(exchange: Exchange) -> None:
        try:
            await exchange.start(200, "OK", FIELDS)
            while True:
                await exchange.write(b"x" * 1000)
        except ClientConnectionResetError as exc:
            failures.append(exc)
            raise

    async with serving(endless, config) as site:
        client = site.connect(capacity=10000)
        client.stall()
        await client.send(GET)
        await anyio.sleep(23)
        assert [str(failure) for failure in failures] == ["cannot send: the peer is gone"]
        assert not site.engine.connections


async def test_a_writer_that_never_waits_leaves_others_their_turn(config: ServerConfig) -> None:
    """Swallowed bytes (HEAD) never block; the handler still gives way."""

    async def endless(exchange: Exchange) -> None:
        if exchange.head.method == "GET":
            await exchange.respond(200, "OK", FIELDS, b"ok")
            return
        await exchange.start(200, "OK", FIELDS)
        while True:
            await exchange.write(b"x" * 1000)

    async with serving(endless, config) as site:
        greedy, modest = site.connect(), site.connect()
        await greedy.send(GET.replace(b"GET", b"HEAD"))
        await modest.send(GET)
        assert status_of(await read_answer(modest)) == 200


# -- departures ------------------------------------------------------------------------------------------------------


class Witness:
    """A handler that waits, and notes what became of it."""

    def __init__(self, disconnect: str = "cancel") -> None:
        self.started = anyio.Event()
        self.go_on = anyio.Event()
        self.cancelled = False
        self.finished = False
        self.status = -1
        self.disconnect = disconnect

    async def __call__(self, exchange: Exchange) -> None:
        exchange.disconnect = self.disconnect
        self.started.set()
        try:
            await self.go_on.wait()
            self.finished = True
            await exchange.respond(200, "OK", FIELDS, b"ok")
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        finally:
            self.status = exchange.status


@pytest.mark.parametrize("how", ["half_close", "reset", "close"])
async def test_a_waiting_handler_is_cancelled_when_its_client_leaves(config: ServerConfig, how: str) -> None:
    """S-27, X-19: at once, whatever it waits for, and the log reads 499."""
    witness = Witness()
    async with serving(witness, config) as site:
        client = site.connect()
        await client.send(GET)
        await witness.started.wait()
        await anyio.wait_all_tasks_blocked()
        if how == "half_close":
            await client.half_close()
        else:
            getattr(client, how)()
        await anyio.wait_all_tasks_blocked()
        assert witness.cancelled
        assert witness.status == 499
        assert not site.engine.connections


async def test_it_may_finish_where_that_is_the_policy(config: ServerConfig) -> None:
    """S-28: the work is done though nobody waits for the answer."""
    witness = Witness("finish")
    async with serving(witness, config) as site:
        client = site.connect()
        await client.send(GET)
        await witness.started.wait()
        client.close()
        await anyio.wait_all_tasks_blocked()
        assert not witness.cancelled
        witness.go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert witness.finished


async def test_half_close_can_be_served(express: bool) -> None:
    """X-20: a site that must answer clients which end their side first."""
    witness = Witness()
    async with serving(witness, ServerConfig(express=express, half_close="serve")) as site:
        client = site.connect()
        await client.send(GET)
        await client.half_close()
        await witness.started.wait()
        await anyio.wait_all_tasks_blocked()
        witness.go_on.set()
        assert (await client.receive_all()).endswith(b"\r\n\r\nok")


async def test_where_half_close_is_served_a_reset_still_cancels(express: bool) -> None:
    """X-20: a connection that broke carries no answer."""
    witness = Witness()
    async with serving(witness, ServerConfig(express=express, half_close="serve")) as site:
        client = site.connect()
        await client.send(GET)
        await witness.started.wait()
        await anyio.wait_all_tasks_blocked()
        client.reset()
        await anyio.wait_all_tasks_blocked()
        assert witness.cancelled


async def test_work_behind_a_complete_answer_is_not_cancelled(config: ServerConfig) -> None:
    """W-071: the client has all it asked for; that it leaves concerns nobody."""
    done = anyio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.respond(200, "OK", FIELDS, b"ok")
        await anyio.sleep(60)
        done.set()

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(GET)
        await read_answer(client)
        client.close()
        await done.wait()


async def test_an_upload_that_breaks_off_tells_the_handler(config: ServerConfig) -> None:
    """W-094: reading raises ConnectionResetError."""
    failures: list[str] = []

    async def handler(exchange: Exchange) -> None:
        try:
            while await exchange.body.receive():
                pass
        except ConnectionResetError as exc:
            failures.append(str(exc))
            raise

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        await anyio.wait_all_tasks_blocked()
        client.close()
        await anyio.wait_all_tasks_blocked()
    assert failures == ["the peer left before the end of the request body"]


async def test_a_flood_behind_a_waiting_handler_is_held_back(express: bool) -> None:
    """X-19: what is read ahead has a budget, and nothing of it is lost."""
    witness = Witness()
    config = ServerConfig(express=express, limits=Limits(read_ahead=4096))
    async with serving(witness, config) as site, anyio.create_task_group() as group:
        client = site.connect(capacity=1024)
        await client.send(GET)
        await witness.started.wait()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await client.send(GET)
                sent += len(GET)

        group.start_soon(flood)
        await anyio.wait_all_tasks_blocked()
        assert sent <= 4096 + 65536 + 1024
        before = sent
        witness.go_on.set()
        for _ in range(before // len(GET) + 50):
            assert status_of(await read_answer(client)) == 200
        group.cancel_scope.cancel()


async def test_the_reason_is_logged_at_debug(config: ServerConfig, caplog: pytest.LogCaptureFixture) -> None:
    """B-09: a client that leaves is no error."""
    caplog.set_level(logging.DEBUG, "structweb")
    witness = Witness()
    async with serving(witness, config) as site:
        client = site.connect()
        await client.send(GET)
        await witness.started.wait()
        await anyio.wait_all_tasks_blocked()
        client.close()
        await anyio.wait_all_tasks_blocked()
    assert "Connection cancelled, client gone" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


# -- contexts --------------------------------------------------------------------------------------------------------

variable: ContextVar[str] = ContextVar("variable", default="untouched")


@pytest.mark.parametrize("waits", [False, True])
async def test_each_request_has_a_context_of_its_own(config: ServerConfig, waits: bool) -> None:
    """W-009, X-23: what a handler sets, the next request of the connection does not see; tasks of the handler do."""
    seen: list[str] = []

    async def child() -> None:
        seen.append(variable.get())

    async def handler(exchange: Exchange) -> None:
        seen.append(variable.get())
        variable.set("changed")
        if waits:
            await anyio.sleep(1)
            async with anyio.create_task_group() as group:
                group.start_soon(child)
        seen.append(variable.get())
        await exchange.respond(200, "OK", FIELDS, b"ok")

    variable.set("of startup")
    async with serving(handler, config) as site:
        client = site.connect()
        for _ in range(2):
            await client.send(GET)
            await read_answer(client)
    one = ["of startup", "changed", "changed"] if waits else ["of startup", "changed"]
    assert seen == one * 2


async def test_cancel_scopes_and_timeouts_work_in_a_handler(config: ServerConfig) -> None:
    """Stepping the handler by hand changes nothing for what it uses."""

    async def handler(exchange: Exchange) -> None:
        with anyio.move_on_after(5) as scope:
            await anyio.sleep(60)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(5):
                await anyio.sleep(60)
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(handler, config) as site:
        client = site.connect()
        start = anyio.current_time()
        await client.send(GET)
        await read_answer(client)
        assert anyio.current_time() - start == pytest.approx(10)


async def test_concurrent_writers_do_not_mix(express: bool) -> None:
    """X-24: two tasks of a handler write; every chunk arrives whole."""
    config = ServerConfig(express=express, limits=Limits(write_buffer=2000))

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, "OK", FIELDS)

        async def write(letter: bytes) -> None:
            for _ in range(50):
                await exchange.write(letter * 100)

        async with anyio.create_task_group() as group:
            group.start_soon(write, b"a")
            group.start_soon(write, b"b")
        await exchange.finish()

    async with serving(handler, config) as site:
        client = site.connect(capacity=500)
        await client.send(GET)
        answer = await client.receive_until(b"\r\n0\r\n\r\n")
    chunks = answer.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n0\r\n\r\n").split(b"\r\n")[1::2]
    assert sorted(chunks) == [b"a" * 100] * 50 + [b"b" * 100] * 50
