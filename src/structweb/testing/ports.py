"""Free ports, for servers of tests."""

import socket
from typing import Final

#: Whether the sockets of tests may take an address that a closed connection still holds.
REUSE_ADDRESS: Final = True


def get_port_socket(host: str, port: int, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """Return a stream socket bound to `host` and `port`; close it.  Raises OSError when the address is taken."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, REUSE_ADDRESS)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def get_unused_port_socket(host: str, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """Return a stream socket bound to a free port of `host`; close it."""
    return get_port_socket(host, 0, family)


def unused_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listened on a moment ago.

    Another program may take it before you do: a server that is given port 0, or a socket, cannot lose that race.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port
