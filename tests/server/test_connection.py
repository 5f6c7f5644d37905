"""A connection over memory pipes: heads in, answers out, and what becomes of it behind each."""

from dataclasses import replace

import anyio
import pytest
from anyio import fail_after

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange
from structweb._wire.limits import Timeouts
from tests.server.peers import FIELDS, GET, answering, read_answer, serving, status_of, unstamped

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"


@pytest.fixture
def config(express: bool) -> ServerConfig:
    """Settings with short patience; time is virtual."""
    return ServerConfig(express=express, timeouts=Timeouts(keepalive=30, body=20, send=20, linger=10))


async def echo(exchange: Exchange) -> None:
    """Answer with the request body, or with what was wrong."""
    if exchange.refusal is not None:
        await exchange.respond(exchange.refusal.status, "", FIELDS, exchange.refusal.message.encode())
        return
    body = b""
    while piece := await exchange.body.receive():
        body += piece
    await exchange.respond(200, "OK", FIELDS, body)


async def test_a_request_is_answered_and_the_connection_kept(config: ServerConfig) -> None:
    """W-161: HTTP/1.1 keeps the connection without a word."""
    async with serving(answering(), config) as site:
        client = site.connect()
        for _ in range(3):
            await client.send(GET)
            assert unstamped(await read_answer(client)) == OK + b"\r\nok"


async def test_date_and_server_are_sent(config: ServerConfig) -> None:
    """W-061, W-175."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(GET)
        answer = await read_answer(client)
    assert b"\r\nServer: Python/3." in answer
    assert answer.count(b"\r\nDate: ") == 1
    assert b" GMT\r\n" in answer


async def test_the_server_header_can_be_left_out(express: bool) -> None:
    """W-175."""
    async with serving(answering(), ServerConfig(express=express, server_header=None)) as site:
        client = site.connect()
        await client.send(GET)
        assert b"Server:" not in await read_answer(client)


@pytest.mark.parametrize("split", [1, 7, 20])
async def test_a_head_may_come_in_pieces(config: ServerConfig, split: int) -> None:
    """The answer does not depend on how the bytes arrive."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.dribble(GET, [split] * 40)
        assert unstamped(await read_answer(client)) == OK + b"\r\nok"


async def test_connection_close_is_obeyed(config: ServerConfig) -> None:
    """W-161, W-170: data behind a closing request is not answered."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
        assert unstamped(await client.receive_all()) == OK + b"Connection: close\r\n\r\nok"


async def test_http_1_0_closes_unless_asked_to_keep(config: ServerConfig) -> None:
    """W-161: the answer speaks the client's version, and says keep-alive where it is kept."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert unstamped(await client.receive_all()) == OK.replace(b"1.1", b"1.0") + b"\r\nok"
        client = site.connect()
        for _ in range(2):
            await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            expected = OK.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\nok"
            assert unstamped(await read_answer(client)) == expected


async def test_pipelined_requests_are_answered_in_order(config: ServerConfig) -> None:
    """W-165: one at a time, in order, whatever each one takes."""

    async def by_number(exchange: Exchange) -> None:
        await anyio.sleep(10 - int(exchange.head.target[1:]))
        await exchange.respond(200, "OK", FIELDS, exchange.head.target.encode())

    async with serving(by_number, config) as site:
        client = site.connect()
        await client.send(b"".join(GET.replace(b"/ ", b"/%d " % n) for n in range(10)))
        for n in range(10):
            assert (await read_answer(client)).endswith(b"\r\n\r\n/%d" % n)


async def test_many_pipelined_requests_leave_others_their_turn(config: ServerConfig) -> None:
    """A peer with many requests in one piece does not keep its neighbours waiting for all of them."""
    served: list[str] = []

    async def note(exchange: Exchange) -> None:
        served.append(exchange.head.target)
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(note, config) as site:
        greedy, modest = site.connect(), site.connect()
        await greedy.send(GET * 500)
        await modest.send(GET.replace(b"/ ", b"/modest "))
        await read_answer(modest)
        assert served.index("/modest") < 100


async def test_head_answers_have_no_body(config: ServerConfig) -> None:
    """S-09, W-066: the length that GET would have, and no bytes."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(GET.replace(b"GET", b"HEAD") + GET)
        head = await client.receive_until(b"\r\n\r\n")
        assert unstamped(head) == OK + b"\r\n"
        assert unstamped(await read_answer(client)) == OK + b"\r\nok"


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body_have_none(config: ServerConfig, status: int) -> None:
    """W-066: neither bytes nor a length, and the connection goes on."""
    async with serving(answering(b"never", status), config) as site:
        client = site.connect()
        for _ in range(2):
            await client.send(GET)
            answer = await client.receive_until(b"\r\n\r\n")
            assert status_of(answer) == status
            assert b"Content-Length" not in answer
            assert b"Transfer-Encoding" not in answer


async def test_a_body_arrives_however_it_is_framed(config: ServerConfig) -> None:
    """Content-Length and chunked, in one piece and dribbled, then another request."""
    by_length = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    async with serving(echo, config) as site:
        client = site.connect()
        for request in (by_length, chunked):
            await client.send(request)
            assert (await read_answer(client)).endswith(b"\r\n\r\nhello world")
            await client.dribble(request, [1] * len(request))
            assert (await read_answer(client)).endswith(b"\r\n\r\nhello world")


async def test_an_unread_body_is_dropped_and_the_next_request_served(config: ServerConfig) -> None:
    """W-164: what the handler left is read away."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert unstamped(await read_answer(client)) == OK + b"\r\nok"
        await client.send(b"12345" + GET)
        assert unstamped(await read_answer(client)) == OK + b"\r\nok"


async def test_an_endless_unread_body_is_dropped_for_so_long(config: ServerConfig) -> None:
    """W-164: lingering has an end."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000000\r\n\r\n")
        start = anyio.current_time()
        assert unstamped(await client.receive_all()) == OK + b"\r\nok"
        assert 10 <= anyio.current_time() - start <= 12.1


async def test_no_lingering_closes_at_once(express: bool) -> None:
    """W-164: lingering_time=0."""
    config = ServerConfig(express=express, timeouts=Timeouts(linger=0))
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000000\r\n\r\n")
        start = anyio.current_time()
        await client.receive_all()
        assert anyio.current_time() == start


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET + b"GET /"])
async def test_silence_ends_the_connection(config: ServerConfig, sent: bytes) -> None:
    """W-162: before the first request, in mid-head, and between requests: closed without an answer."""
    async with serving(answering(), config) as site:
        client = site.connect()
        if sent:
            await client.send(sent)
        start = anyio.current_time()
        answer = await client.receive_all()
        assert answer.count(b"HTTP/1.1") == sent.count(GET)
        assert 30 <= anyio.current_time() - start <= 32.1


async def test_bytes_now_and_then_do_not_prolong_a_head(config: ServerConfig) -> None:
    """W-162: a slow head (slowloris) has the time of one head in all."""
    async with serving(answering(), config) as site:
        client = site.connect()
        start = anyio.current_time()
        with pytest.raises(anyio.BrokenResourceError):
            await client.dribble(GET, [1] * len(GET), delay=5)
        assert 30 <= anyio.current_time() - start <= 37.1


async def test_a_handler_may_take_its_time(config: ServerConfig) -> None:
    """W-162: the time of the handler does not count."""

    async def slow(exchange: Exchange) -> None:
        await anyio.sleep(3600)
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(slow, config) as site:
        client = site.connect()
        await client.send(GET)
        assert unstamped(await read_answer(client)) == OK + b"\r\nok"


async def test_keepalive_zero_closes_after_each_answer(express: bool) -> None:
    """W-162: keepalive_timeout=0."""
    async with serving(answering(), ServerConfig(express=express, timeouts=Timeouts(keepalive=0))) as site:
        client = site.connect()
        await client.send(GET)
        assert unstamped(await client.receive_all()) == OK + b"Connection: close\r\n\r\nok"


async def test_a_stalled_body_gets_408(config: ServerConfig) -> None:
    """W-163: an upload that stops is answered, and the connection closed."""

    async def handler(exchange: Exchange) -> None:
        try:
            await echo(exchange)
        except Exception as exc:  # noqa: BLE001 - the status is what matters
            await exchange.respond(exc.status, "", FIELDS, b"")  # type: ignore[attr-defined]

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        start = anyio.current_time()
        assert status_of(await client.receive_all()) == 408
        assert anyio.current_time() - start >= 20


async def test_a_slow_body_that_goes_on_is_served(config: ServerConfig) -> None:
    """W-163: each piece has the patience of its own, where no rate is asked for."""
    config = replace(config, timeouts=replace(config.timeouts, min_rate=None))
    async with serving(echo, config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        await client.dribble(b"0123456789", [1] * 10, delay=15)
        assert (await read_answer(client)).endswith(b"0123456789")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ],
)
async def test_a_malformed_request_is_answered_once_and_the_connection_closed(
    config: ServerConfig, request_bytes: bytes
) -> None:
    """W-167, W-168: one HTTP/1.0 400, whatever follows."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(request_bytes + GET)
        await client.half_close()
        answer = await client.receive_all()
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert answer.count(b"Content-Length: ") == 1


async def test_a_malformed_chunk_breaks_the_upload_not_the_server(config: ServerConfig) -> None:
    """W-168: Refusal reaches the handler, and the connection closes behind its answer."""

    async def handler(exchange: Exchange) -> None:
        try:
            await echo(exchange)
        except Exception as exc:  # noqa: BLE001 - the status is what matters
            await exchange.respond(exc.status, "", FIELDS, b"")  # type: ignore[attr-defined]

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET)
        await client.half_close()
        answer = await client.receive_all()
        assert status_of(answer) == 400
        assert answer.count(b"HTTP/1.") == 1


async def test_a_peer_that_leaves_between_requests_is_let_go(config: ServerConfig) -> None:
    """An end of file where a request could start is no error."""
    async with serving(answering(), config) as site:
        client = site.connect()
        await client.send(GET)
        await read_answer(client)
        await client.half_close()
        with fail_after(1):
            assert await client.receive_all() == b""
        reset = site.connect()
        reset.reset()
        await anyio.wait_all_tasks_blocked()
        assert not site.engine.connections


async def test_expect_continue_is_sent_when_asked_for(config: ServerConfig) -> None:
    """W-172: once, before the body is there."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send_continue()
        await exchange.send_continue()
        await echo(exchange)

    async with serving(handler, config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await client.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await read_answer(client)).endswith(b"\r\n\r\nhi")


async def test_a_final_answer_instead_of_continue_closes(config: ServerConfig) -> None:
    """RFC 9110 section 10.1.1: whether the body follows cannot be known, so nothing more is read."""
    async with serving(answering(b"no", 403), config) as site:
        client = site.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        answer = await read_answer(client)
        assert b"\r\nConnection: close\r\n" in answer
        await client.half_close()
        assert await client.receive_all() == b""


async def test_upgrade_hands_the_bytes_behind_the_head_over(config: ServerConfig) -> None:
    """W-173, W-183: another protocol starts with the first byte behind the head."""

    async def upper(exchange: Exchange) -> None:
        assert exchange.head.block.upgrade == "upper"
        stream = await exchange.upgrade([("Upgrade", "upper"), ("Connection", "upgrade")])
        async for piece in stream:
            await stream.send(piece.upper())

    async with serving(upper, config) as site:
        client = site.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: upper\r\nConnection: upgrade\r\n\r\nfirst")
        head = await client.receive_until(b"\r\n\r\n")
        assert unstamped(head) == (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: upper\r\nConnection: upgrade\r\n\r\n")
        assert await client.receive_exactly(5) == b"FIRST"
        await client.send(b"second")
        assert await client.receive_exactly(6) == b"SECOND"
        await client.half_close()
        assert await client.receive_all() == b""


async def test_a_declined_upgrade_is_an_ordinary_request(config: ServerConfig) -> None:
    """W-173, W-183: its body and the requests behind it are served."""
    async with serving(echo, config) as site:
        client = site.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi" + GET
        )
        assert (await read_answer(client)).endswith(b"\r\n\r\nhi")
        assert status_of(await read_answer(client)) == 200


async def test_the_last_answer_before_a_shutdown_says_close(config: ServerConfig) -> None:
    """W-153: the request under way is answered, and the next one is not taken."""
    started, go_on = anyio.Event(), anyio.Event()

    async def slow(exchange: Exchange) -> None:
        started.set()
        await go_on.wait()
        await exchange.respond(200, "OK", FIELDS, b"ok")

    async with serving(slow, config) as site:
        client = site.connect()
        await client.send(GET + GET)
        await started.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(site.engine.shutdown, 60)
            await anyio.wait_all_tasks_blocked()
            go_on.set()
            assert unstamped(await client.receive_all()) == OK + b"Connection: close\r\n\r\nok"


async def test_a_handler_that_answers_nothing_cuts_the_connection(config: ServerConfig) -> None:
    """Truncation is visible: nothing is made up for a response that never came."""

    async def mute(exchange: Exchange) -> None:
        """Return without an answer."""

    async with serving(mute, config) as site:
        client = site.connect()
        await client.send(GET)
        assert await client.receive_all() == b""
