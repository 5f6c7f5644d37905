"""What is done to the sockets of a server, whatever the backend."""

import socket
import struct
import sys
from typing import Final

from structweb._server.config import ServerConfig

#: SO_LINGER: on, for 0 seconds; a close then drops what the kernel holds and sends RST.
NO_LINGER: Final = struct.pack("ii", 1, 0)

#: Whether the kernel takes several pieces of memory in one call.
HAS_SENDMSG: Final = hasattr(socket.socket, "sendmsg")

#: Whether an accepted socket has the options of the one that it was accepted from; then they are set only once.
INHERITS: Final = sys.platform == "linux"


def set_options(sock: socket.socket, config: ServerConfig) -> None:
    """Set what a server wants of a TCP socket; for a listening one, of those accepted from it where `INHERITS`.

    Nagle's algorithm is off: a response goes out whole, and must not wait for the peer's acknowledgement.
    """
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
