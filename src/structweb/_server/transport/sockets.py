"""What is done to every accepted socket, whatever the backend."""

import socket
import struct
from typing import Final

from structweb._server.config import ServerConfig

#: SO_LINGER: on, for 0 seconds; a close then drops what the kernel holds and sends RST.
NO_LINGER: Final = struct.pack("ii", 1, 0)


def prepare_socket(sock: socket.socket, config: ServerConfig) -> None:
    """Make `sock` non-blocking and, on TCP, set what a server wants there.

    Nagle's algorithm is off: a response goes out whole, and must not wait for the peer's acknowledgement.
    """
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if config.tcp_keepalive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            pass  # some systems refuse this once the peer is gone; the first receive tells


def close_socket(sock: socket.socket, *, truncated: bool) -> None:
    """Close `sock`; with `truncated` by a RST, so that the peer cannot take what it has for everything."""
    if truncated:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        except OSError:
            pass  # not on this kind of socket
    sock.close()
