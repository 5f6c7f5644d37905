"""The transport seam: bytes of a peer, the same on every backend and over every kind of stream."""

import socket
import ssl
import sys
from collections.abc import Mapping
from typing import Any

from structweb._server.config import ServerConfig
from structweb._server.transport.base import NOTHING_KNOWN, TaskStarter, Transport
from structweb._server.transport.stream import wrap_stream

__all__ = ["Transport", "open_transport", "wrap_stream"]


async def open_transport(
    sock: socket.socket,
    config: ServerConfig,
    *,
    ssl_context: ssl.SSLContext | None = None,
    task_group: TaskStarter,
    peername: Any = None,  # Any: each address family has its own form
    known: Mapping[str, Any] = NOTHING_KNOWN,  # Any: each name has its own type
) -> Transport:
    """Return a transport over an accepted, non-blocking socket, on the backend that runs, with TLS if asked for.

    `known` is further extra info, which goes before what the socket tells (but for `peername`, give that, too).
    The transport owns the socket from here on, whatever happens.  Raises ConnectionError, TimeoutError or
    ssl.SSLError (all are OSError) when the peer does not get through the TLS handshake in time.
    """
    if peername is None:
        try:
            peername = sock.getpeername()
        except OSError:
            pass  # gone already: the first receive tells
    # Imported when needed: a server loads the code of its own backend only.
    if "trio" in sys.modules:
        from structweb._server.transport import trio as on_trio

        if on_trio.in_trio_run():
            on_socket: Transport = await on_trio.open_socket(sock, peername, config, ssl_context, task_group)
            on_socket.known = known
            return on_socket
    from structweb._server.transport import asyncio as on_asyncio

    transport = await on_asyncio.open_socket(sock, peername, config, ssl_context)
    transport.known = known
    return transport
