"""Pipes in memory behave as connections do, faults included."""

import anyio
import pytest

from structweb.testing import memory_pipe, open_pipe
from structweb.testing.pipes import ClientEnd, PipeEnd

pytestmark = pytest.mark.anyio


async def test_bytes_flow_both_ways() -> None:
    async with open_pipe() as (client, server):
        await client.send(b"ping")
        assert await server.receive() == b"ping"
        await server.send(b"pong")
        assert await client.receive() == b"pong"


async def test_a_receive_takes_at_most_what_it_asks_for() -> None:
    async with open_pipe() as (client, server):
        await client.send(b"abcdef")
        assert await server.receive(4) == b"abcd"
        assert await server.receive(4) == b"ef"


async def test_a_receive_waits_for_bytes() -> None:
    async with open_pipe() as (client, server), anyio.create_task_group() as tasks:
        tasks.start_soon(client.send, b"late")
        assert await server.receive() == b"late"


async def test_a_full_pipe_makes_the_writer_wait() -> None:
    async with open_pipe(capacity=10) as (client, server):
        with anyio.move_on_after(1) as scope:
            await server.send(b"0123456789ab")
        assert scope.cancelled_caught
        assert await client.receive() == b"0123456789"
        await server.send(b"more")
        assert await client.receive() == b"more"


async def test_a_stalled_client_takes_nothing() -> None:
    async with open_pipe() as (client, server):
        await server.send(b"before")
        client.stall()
        with anyio.move_on_after(1) as scope:
            await server.send(b"x")
        assert scope.cancelled_caught
        assert await client.receive() == b"before"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.send, b"after")
            await anyio.sleep(1)
            client.resume()
            assert await client.receive() == b"after"


async def test_a_half_close_ends_one_direction() -> None:
    async with open_pipe() as (client, server):
        await client.send(b"request")
        await client.half_close()
        assert await server.receive() == b"request"
        for _ in range(2):
            with pytest.raises(anyio.EndOfStream):
                await server.receive()
        await server.send(b"answer")
        assert await client.receive() == b"answer"
        with pytest.raises(anyio.ClosedResourceError):
            await client.send(b"too late")


async def test_a_reset_breaks_both_directions_for_both_ends() -> None:
    async with open_pipe() as (client, server):
        await client.send(b"lost")
        client.reset()
        with pytest.raises(anyio.BrokenResourceError):
            await server.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await server.send(b"x")
        with pytest.raises(anyio.ClosedResourceError):
            await client.receive()


async def test_a_reset_wakes_those_who_wait() -> None:
    async with open_pipe(capacity=1) as (client, server), anyio.create_task_group() as tasks:

        async def fail_to_receive() -> None:
            with pytest.raises(anyio.BrokenResourceError):
                await server.receive()

        async def fail_to_send() -> None:
            with pytest.raises(anyio.BrokenResourceError):
                await server.send(b"too much")

        tasks.start_soon(fail_to_receive)
        tasks.start_soon(fail_to_send)
        await anyio.sleep(1)
        client.reset()


async def test_a_close_lets_what_was_sent_be_read() -> None:
    async with open_pipe() as (client, server):
        await server.send(b"goodbye")
        await server.aclose()
        await server.aclose()
        assert await client.receive_all() == b"goodbye"
        with pytest.raises(anyio.BrokenResourceError):
            await client.send(b"anybody there?")
        with pytest.raises(anyio.ClosedResourceError):
            await server.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await server.send(b"x")


async def test_a_close_wakes_the_writer_at_the_other_end() -> None:
    async with open_pipe(capacity=1) as (client, server), anyio.create_task_group() as tasks:

        async def fail_to_send() -> None:
            with pytest.raises(anyio.BrokenResourceError):
                await server.send(b"too much")

        tasks.start_soon(fail_to_send)
        await anyio.sleep(1)
        client.close()


async def test_reading_exact_amounts_and_up_to_a_mark() -> None:
    async with open_pipe() as (client, server):
        await server.send(b"head\r\n\r\nbody")
        assert await client.receive_until(b"\r\n\r\n") == b"head\r\n\r\n"
        assert await client.receive_exactly(2) == b"bo"
        await server.aclose()
        with pytest.raises(anyio.IncompleteRead):
            await client.receive_exactly(3)


async def test_dribbling_sends_piece_by_piece() -> None:
    async with open_pipe() as (client, server), anyio.create_task_group() as tasks:
        tasks.start_soon(client.dribble, b"abcdef", (1, 3))
        assert [await server.receive() for _ in range(4)] == [b"a", b"bcd", b"e", b"f"]


async def test_dribbling_takes_its_time() -> None:
    async with open_pipe() as (client, server), anyio.create_task_group() as tasks:
        began = anyio.current_time()

        async def dribble() -> None:
            await client.dribble(b"abc", delay=10)

        tasks.start_soon(dribble)
        for expected in (b"a", b"b", b"c"):
            assert await server.receive() == expected
        assert anyio.current_time() - began == pytest.approx(20)


async def test_dribbling_ends_when_nobody_listens_any_more() -> None:
    async with open_pipe() as (client, server):
        server.close()
        with pytest.raises(anyio.BrokenResourceError):
            await client.dribble(b"abc")


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with open_pipe() as (client, server):
        with anyio.move_on_after(1):
            await server.receive()
        await client.send(b"still here")
        assert await server.receive() == b"still here"


def _addresses(end: PipeEnd) -> tuple[object, object]:
    return end.extra(anyio.abc.SocketAttribute.local_address), end.extra(anyio.abc.SocketAttribute.remote_address)


def test_both_ends_have_addresses() -> None:
    client, server = memory_pipe(client_address="/client", server_address=("::1", 80))
    assert isinstance(client, ClientEnd)
    assert _addresses(client) == ("/client", ("::1", 80))
    assert _addresses(server) == (("::1", 80), "/client")


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be 1 or more, got 0"):
        memory_pipe(0)


async def test_a_piece_of_no_bytes_is_refused() -> None:
    async with open_pipe() as (client, _):
        with pytest.raises(ValueError, match="sizes must be 1 or more, got 0"):
            await client.dribble(b"abc", (0,))
