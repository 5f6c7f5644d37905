"""What only sockets have: names, options, and TLS with its handshake and its farewell."""

import socket
import ssl
from pathlib import Path

import anyio
import pytest

from structweb._server.config import ServerConfig
from structweb._server.transport import open_transport
from structweb._wire.limits import Limits, Timeouts
from tests.server.links import (
    CONFIG,
    KINDS,
    Link,
    SocketPeer,
    open_link,
    server_context,
    settled,
    socket_pair,
    turns,
)

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_peer_has_a_name(kind: str, tmp_path: Path) -> None:
    async with open_link(kind, tmp_path) as link:
        info = link.transport.get_extra_info
        assert info("socket").fileno() >= 0
        assert info("anything else") is None
        assert info("anything else", 42) == 42
        peername, sockname = info("peername"), info("sockname")
        if kind == "unix":
            assert (peername, sockname) == ("", str(tmp_path / "socket"))
        else:
            assert (peername[0], sockname[0]) == ("127.0.0.1", "127.0.0.1")
            assert peername[1] != sockname[1]
        link.peer.reset()
        await turns()
        link.transport.abort()
        await turns()
        assert info("peername") == peername


async def test_a_socket_whose_peer_left_before_it_was_opened() -> None:
    client, server = socket_pair("tcp", Path())
    SocketPeer(client).reset()
    async with anyio.create_task_group() as tasks:
        transport = await open_transport(server, CONFIG, task_group=tasks)
        with pytest.raises(ConnectionError):
            await transport.receive()
        transport.abort()


async def test_tls_has_its_particulars(tmp_path: Path) -> None:
    async with open_link("tls", tmp_path) as link:
        info = link.transport.get_extra_info
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert info("sslcontext") is server_context()
        assert info("cipher") == info("ssl_object").cipher()
        assert info("compression", "none") in (None, "none")
        assert info("peercert") is None


async def test_a_close_over_tls_says_farewell(tmp_path: Path) -> None:
    async with open_link("tls", tmp_path) as link:
        link.tasks.start_soon(link.transport.aclose)
        assert await link.peer.receive() == b""  # without it the client would raise


async def test_an_abort_over_tls_is_a_truncation(tmp_path: Path) -> None:
    async with open_link("tls", tmp_path) as link:
        link.transport.abort()
        with pytest.raises(anyio.BrokenResourceError):
            await link.peer.receive()


async def test_a_close_over_tls_does_not_wait_for_the_peers_farewell(tmp_path: Path) -> None:
    async with open_link("tls", tmp_path) as link:
        with anyio.fail_after(1):
            await link.transport.aclose()


async def test_what_is_no_tls_breaks_the_connection(tmp_path: Path) -> None:
    async with open_link("tls", tmp_path) as link:
        assert isinstance(link.peer, SocketPeer)
        await link.peer.raw.send(b"no record at all" * 10)
        with pytest.raises(ConnectionResetError, match="TLS|record|WRONG_VERSION"):
            await link.transport.receive()
        link.transport.write(b"dropped")


async def test_bytes_behind_the_handshake_are_not_lost(tmp_path: Path) -> None:
    client, server = socket_pair("tcp", tmp_path)
    peer = SocketPeer(client)

    async def speak_at_once() -> None:
        await peer.shake_hands()
        await peer.send(b"no time to lose")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak_at_once)
        transport = await open_transport(server, CONFIG, ssl_context=server_context(), task_group=tasks)
        assert await transport.receive() == b"no time to lose"
        transport.abort()
    peer.vanish()


async def _fail_to_open(peer: SocketPeer, server: socket.socket, error: type[Exception], match: str) -> None:
    config = ServerConfig(timeouts=Timeouts(tls_handshake=0.05))
    async with anyio.create_task_group() as tasks:
        with pytest.raises(error, match=match):
            await open_transport(server, config, ssl_context=server_context(), task_group=tasks)
    await settled(lambda: server.fileno() < 0)
    peer.vanish()


async def test_a_peer_that_never_shakes_hands_is_given_up(tmp_path: Path) -> None:
    client, server = socket_pair("tcp", tmp_path)
    await _fail_to_open(SocketPeer(client), server, TimeoutError, "handshake took longer than 0.05")


async def test_a_peer_that_speaks_plain_text_is_refused(tmp_path: Path) -> None:
    client, server = socket_pair("tcp", tmp_path)
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    await _fail_to_open(SocketPeer(client), server, ssl.SSLError, "(?i)http request")


async def test_a_peer_that_leaves_in_mid_handshake(tmp_path: Path) -> None:
    client, server = socket_pair("tcp", tmp_path)
    client.sendall(b"\x16\x03\x01\x02\x00\x01")
    client.shutdown(socket.SHUT_WR)
    await _fail_to_open(SocketPeer(client), server, ConnectionResetError, "left during the TLS handshake")


async def test_an_open_that_is_cancelled_closes_the_socket(tmp_path: Path) -> None:
    client, server = socket_pair("tcp", tmp_path)
    with anyio.move_on_after(0.01):
        async with anyio.create_task_group() as tasks:
            await open_transport(server, CONFIG, ssl_context=server_context(), task_group=tasks)
    await settled(lambda: server.fileno() < 0)
    client.close()


async def test_a_big_budget_is_handed_out_in_bounded_pieces(tmp_path: Path) -> None:
    config = ServerConfig(limits=Limits(read_ahead=1_000_000))
    async with open_link("tcp", tmp_path, config) as link:
        link.transport.watch(lambda: None)
        await link.peer.send(bytes(600_000))
        await link.peer.half_close()
        sizes = []
        while data := await link.transport.receive():
            sizes.append(len(data))
        assert sum(sizes) == 600_000
        assert max(sizes) <= 262144


async def test_an_interrupt_in_the_moment_of_a_piece_of_a_record_is_not_lost(tmp_path: Path) -> None:
    """The reader is awake then, finds no plain text, and must not wait again."""
    begun = b"\x17\x03\x03\x00\x20" + bytes(15)  # it never becomes a record
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        async with open_link("tls", tmp_path) as link:

            async def interrupt() -> None:
                await anyio.wait_readable(there)
                there.recv(1)
                link.transport.interrupt()

            for at in range(len(begun)):
                async with anyio.create_task_group() as group:
                    group.start_soon(interrupt)
                    with anyio.fail_after(5), pytest.raises(InterruptedError):
                        group.start_soon(_send_both, link, begun[at : at + 1], here)
                        await link.transport.receive()


async def _send_both(link: Link, data: bytes, sock: socket.socket) -> None:
    """Let two sockets become readable in the same turn of the loop."""
    await turns(2)
    assert isinstance(link.peer, SocketPeer)
    link.peer.raw.sock.send(data)
    sock.send(b"!")
