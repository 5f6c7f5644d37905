"""Connections that a proxy hands on: each begins with a PROXY protocol header that says who the client is."""

import math
import socket
import ssl
from typing import Final

import anyio

from structweb._server.config import ServerConfig
from structweb._server.log import server_logger
from structweb._server.transport import Transport, open_transport
from structweb._server.transport.base import TaskStarter
from structweb._wire.proxy_protocol import LONGEST, HeaderReader, ProxyHeader, ProxyProtocolError
from structweb._wire.trust import Trusted

#: Seconds between two records about connections that were refused: whoever reaches the port can cause them.
QUIET: Final = 60.0


class ProxyRefusalError(ConnectionError):
    """A connection came without a header that counts."""


class ProxyGate:
    """The entrance of one listener whose connections all come through a proxy."""

    def __init__(self, trusted: Trusted | None, where: str) -> None:
        """Admit proxies that are `trusted`, anybody for None.  `where` names the listener in logs."""
        self._trusted = trusted
        self._where = where
        self._silent_until = -math.inf
        self._left_out = 0

    async def open_transport(
        self,
        sock: socket.socket,
        config: ServerConfig,
        context: ssl.SSLContext | None,
        tasks: TaskStarter,
        peer: object,  # each address family has its own form
    ) -> Transport:
        """Return a transport whose ``peername`` is the client's address, once the proxy has told it.

        ``proxy_protocol`` and ``proxy_peername`` among its extra info are the header and the proxy's own address.
        The header has the time of a TLS handshake, which comes behind it.  The socket is the transport's, or closed.
        Raises OSError when there is no connection to serve; it has been logged where that says something.
        """
        try:
            header = await self._introduction(sock, peer, config.timeouts.tls_handshake)
        except BaseException:
            sock.close()
            raise
        known: dict[str, object] = {"proxy_protocol": header, "proxy_peername": peer}
        if header.source is not None:
            known["peername"] = peer = header.source
        return await open_transport(sock, config, ssl_context=context, task_group=tasks, peername=peer, known=known)

    async def _introduction(self, sock: socket.socket, peer: object, timeout: float) -> ProxyHeader:
        if self._trusted is not None and not self._trusted.admits(peer):
            raise self._refusal(peer, "is not among the trusted proxies")
        with anyio.move_on_after(timeout):
            try:
                return await _read_header(sock)
            except ProxyProtocolError as exc:
                raise self._refusal(peer, str(exc)) from exc
        raise self._refusal(peer, f"sent no complete PROXY protocol header for {timeout:g} s")

    def _refusal(self, peer: object, why: str) -> ProxyRefusalError:
        """Log that a connection is refused, unless another one was a short while ago; return the error to raise."""
        now = anyio.current_time()
        if now < self._silent_until:
            self._left_out += 1
        else:
            more = f" ({self._left_out} more since the last such record)" if self._left_out else ""
            server_logger.warning("Refused a connection from %s on %s: %s%s", peer, self._where, why, more)
            self._silent_until, self._left_out = now + QUIET, 0
        return ProxyRefusalError(f"{peer}: {why}")


async def _read_header(sock: socket.socket) -> ProxyHeader:
    """Read a header and not a byte more: what follows belongs to TLS or HTTP.

    Raises ProxyProtocolError for what is none, ConnectionError when the peer left.
    """
    reader = HeaderReader()
    while True:
        try:
            data = sock.recv(LONGEST, socket.MSG_PEEK)
            if not data:
                if reader.begun:
                    raise ProxyProtocolError("left in the middle of its PROXY protocol header")
                # A load balancer that only looks whether the port is open: nothing to warn of.
                raise ConnectionResetError("the peer left without a PROXY protocol header")
            taken = reader.take(data)
            sock.recv(taken)  # what has been seen is there, and comes in one piece
        except (BlockingIOError, InterruptedError):
            await anyio.wait_readable(sock)
            continue
        if reader.header is not None:
            return reader.header
