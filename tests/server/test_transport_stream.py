"""Transports over streams that users bring: TLS of anyio, and streams that can do less than a socket."""

import anyio
import pytest
from anyio.streams.stapled import StapledByteStream
from anyio.streams.tls import TLSStream
from hypothesis import given
from hypothesis import strategies as st

from structweb._server.transport import wrap_stream
from structweb.testing import memory_pipe, open_pipe
from tests.server.links import CONFIG, client_context, server_context

pytestmark = pytest.mark.anyio


async def test_a_tls_stream_tells_its_particulars_and_is_closed_by_aclose() -> None:
    client_end, server_end = memory_pipe()
    received = b""

    async def speak() -> None:
        nonlocal received
        stream = await TLSStream.wrap(client_end, hostname="localhost", ssl_context=client_context())
        await stream.send(b"hello")
        received = await stream.receive()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak)
        stream = await TLSStream.wrap(server_end, server_side=True, ssl_context=server_context())
        transport = wrap_stream(stream, CONFIG, tasks)
        assert await transport.receive() == b"hello"
        assert transport.get_extra_info("peername") == ("192.0.2.1", 50000)
        assert transport.get_extra_info("sslcontext") is server_context()
        assert transport.get_extra_info("cipher")
        assert transport.get_extra_info("socket", "none") == "none"
        transport.write(b"hello yourself")
        await transport.aclose()
    assert received == b"hello yourself"


async def test_a_stream_without_close_is_closed_after_an_abort() -> None:
    async with open_pipe() as (client, server), anyio.create_task_group() as tasks:
        transport = wrap_stream(StapledByteStream(server, server), CONFIG, tasks)
        transport.abort()
        await transport.aclose()
        assert await client.receive_all() == b""


@pytest.mark.parametrize("watched", [False, True])
async def test_an_abort_wakes_the_receiver_of_a_stream_without_close(watched: bool) -> None:
    async with open_pipe() as (_, server), anyio.create_task_group() as tasks:
        transport = wrap_stream(StapledByteStream(server, server), CONFIG, tasks)
        if watched:
            transport.watch(lambda: None)

        async def abort() -> None:
            await anyio.sleep(1)
            transport.abort()

        tasks.start_soon(abort)
        with pytest.raises(ConnectionAbortedError):
            await transport.receive()


STEPS = st.lists(st.sampled_from(["send", "receive", "cancel", "watch", "unwatch", "turn"]), max_size=40)


@given(steps=STEPS)
async def test_no_order_of_events_loses_bytes_or_the_notice(steps: list[str]) -> None:
    """Whoever reads, watcher or receiver, cancelled or not: every byte arrives once, and the end is told."""
    received, sent, told = bytearray(), bytearray(), []

    async with open_pipe() as (client, server), anyio.create_task_group() as tasks:
        transport = wrap_stream(server, CONFIG, tasks)

        async def receive() -> None:
            received.extend(await transport.receive())

        for step in steps:
            match step:
                case "send":
                    piece = b"<%d>" % len(sent)
                    sent += piece
                    await client.send(piece)
                case "receive" if len(sent) > len(received):
                    await receive()
                case "cancel":
                    async with anyio.create_task_group() as receiving:
                        receiving.start_soon(receive)
                        await anyio.lowlevel.checkpoint()
                        await anyio.lowlevel.checkpoint()
                        receiving.cancel_scope.cancel()
                case "watch":
                    transport.watch(lambda: told.append(True))
                case "unwatch":
                    transport.unwatch()
                case "turn":
                    await anyio.lowlevel.checkpoint()
        transport.watch(lambda: told.append(True))
        await client.half_close()
        while piece := await transport.receive():
            received += piece
        transport.abort()
    assert received == sent
    assert told == [True]
