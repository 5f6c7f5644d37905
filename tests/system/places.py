"""A whole server over TCP, TLS and Unix sockets, and peers that can leave it in every way."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from structweb import web
from tests.server.links import SocketPeer, server_context

KINDS = ("tcp", "tls", "unix")
#: Seconds before a test that waits for a server fails.
PATIENCE = 10


@dataclass
class Place:
    """Where a running server can be reached."""

    kind: str
    address: tuple[str, int] | str
    runner: web.AppRunner

    @asynccontextmanager
    async def visit(self, *, buffer: int | None = None) -> AsyncIterator[SocketPeer]:
        """Connect, and close at the end what is still open; `buffer` bounds what our kernel keeps for us."""
        sock = socket.socket(socket.AF_UNIX if self.kind == "unix" else socket.AF_INET)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        if self.kind != "unix":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a farewell may wait 40 ms for an ACK
        sock.connect(self.address)  # the kernel does it at once, the server listens
        peer = SocketPeer(sock)
        try:
            if self.kind == "tls":
                with anyio.fail_after(PATIENCE):
                    await peer.shake_hands()
            yield peer
        finally:
            peer.vanish()


@asynccontextmanager
async def open_place(kind: str, folder: Path, app: web.Application, **options: object) -> AsyncIterator[Place]:
    """Run `app` on a socket of `kind`; `options` are `RunnerOptions`."""
    async with web.AppRunner(app, access_log=None, shutdown_timeout=1, **options) as runner:
        if kind == "unix":
            site: web.BaseSite = web.UnixSite(runner, folder / "site")
        else:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context() if kind == "tls" else None)
        await site.start()
        (address,) = runner.addresses
        yield Place(kind, address, runner)


async def read_all(peer: SocketPeer) -> bytes:
    """Read to the end of the connection."""
    received = b""
    # The last one: both sides have said their farewell, and the client's was the first.
    with anyio.fail_after(PATIENCE), suppress(anyio.BrokenResourceError, ConnectionError, ssl.SSLZeroReturnError):
        while data := await peer.receive():
            received += data
    return received


async def read_until(peer: SocketPeer, mark: bytes) -> bytes:
    """Read until `mark` is at the end of what came."""
    received = b""
    with anyio.fail_after(PATIENCE):
        while not received.endswith(mark):
            data = await peer.receive()
            assert data, f"the connection ended behind {received!r}"
            received += data
    return received
