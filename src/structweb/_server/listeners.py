"""Listening sockets: made, adopted, named, and cleaned away."""

import errno
import os
import socket
import ssl
import stat
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from structweb._server.log import server_logger
from structweb._server.proxied import ProxyGate

#: Connections the kernel queues for a busy accept loop.
BACKLOG: Final = 128
# Attempts to find one port that is free for every address, when any port will do.
_PORT_ATTEMPTS: Final = 16
# A family that the host lacks, or an address of it.
_LACKING: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class ListenError(OSError):
    """An address cannot be listened on; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a Unix socket; `device` and `inode` tell whether the path still leads to it."""

    path: Path
    device: int
    inode: int

    def unlink(self) -> None:
        """Remove the file, unless it is gone or somebody else's by now."""
        try:
            found = self.path.stat()
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()
        except FileNotFoundError:
            pass
        except OSError as exc:
            server_logger.warning("Could not remove the socket file %s: %s", self.path, exc)


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening, non-blocking socket.  Who holds it must `close` it."""

    socket: socket.socket
    #: Where it listens: `http://127.0.0.1:8080`, `http://unix:/run/app.sock:`.
    url: str
    #: Set for TLS; the handshake is the connection's own affair.
    ssl_context: ssl.SSLContext | None = None
    #: Set where every connection begins with a PROXY protocol header.
    gate: ProxyGate | None = None
    #: The file to remove when the listener closes; None for TCP, abstract and adopted sockets.
    file: SocketFile | None = None

    @property
    def address(self) -> Any:  # Any: an address has its family's type
        """The socket's own address, with the real port."""
        return self.socket.getsockname()

    def close(self) -> None:
        """Stop listening, and remove the socket file.  Idempotent."""
        # The file goes first: meanwhile a client is refused, and never waits in a queue that nobody serves.
        if self.file is not None and self.socket.fileno() >= 0:
            self.file.unlink()
        self.socket.close()


async def open_tcp(
    host: str | Sequence[str] | None,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int = BACKLOG,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
) -> tuple[Listener, ...]:
    """Listen on every address of `host` (None or "": all interfaces, IPv4 and IPv6; or several hosts).

    Port 0 finds a free port, the same for all addresses.  `reuse_address` None means what the platform needs
    for a quick restart.  Raises OSError, naming the address, when one cannot be had; then none stays open.
    """
    hosts = [host] if host is None or isinstance(host, str) else list(host)
    if not hosts:
        raise ValueError("host must name at least one address, got an empty sequence")
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port=True needs SO_REUSEPORT, which this platform does not have")
    if reuse_address is None:
        reuse_address = os.name == "posix" and sys.platform != "cygwin"
    places = [await _resolve(name or None, port) for name in hosts]
    taken = OSError(errno.EADDRINUSE, "no attempt was made")
    for _ in range(1 if port else _PORT_ATTEMPTS):
        try:
            sockets = _bind_all(places, port, reuse_address=reuse_address, reuse_port=bool(reuse_port))
            return tuple(_listen(sockets, backlog, ssl_context))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            # With port 0: the port that was free for the first address is taken for another.
            taken = exc
    raise taken


def open_unix(
    path: str | os.PathLike[str], *, ssl_context: ssl.SSLContext | None = None, backlog: int = BACKLOG
) -> Listener:
    """Listen on a Unix socket.  A path that starts with a NUL names an abstract one (Linux).

    The file of a server that is gone is replaced.  Raises OSError (EADDRINUSE) when a server still listens there
    or the path is something else than a socket.  `Listener.close` removes the file.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError("Unix sockets need AF_UNIX, which this platform does not have")
    name = os.fspath(path)
    abstract = name.startswith("\0")
    if not abstract:
        try:
            _clear_way(name)
        except ListenError:
            raise
        except (OSError, ValueError) as exc:  # somewhere on the way to it; or a NUL in the midst of it
            raise _no_unix(name, exc) from exc
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(name)
        except OSError as exc:
            raise _no_unix(name, exc) from exc
        file = None
        if not abstract:
            found = Path(name).stat()
            # Absolute, so that a program which changes its directory still removes it; bound as given, because
            # the path of a socket may have 107 bytes only.
            file = SocketFile(Path(name).absolute(), found.st_dev, found.st_ino)
        return _listener(sock, backlog, ssl_context, file)
    except BaseException:
        sock.close()
        raise


def _no_unix(name: str, exc: OSError | ValueError) -> ListenError:
    """Return what is said of a path that cannot be listened on."""
    code, reason = (exc.errno, exc.strerror) if isinstance(exc, OSError) else (errno.EINVAL, None)
    return ListenError(code, f"cannot listen on unix socket {name!r}: {reason or exc}")


def adopt_socket(sock: socket.socket, *, ssl_context: ssl.SSLContext | None = None, backlog: int = BACKLOG) -> Listener:
    """Listen on a bound stream socket (INET, INET6 or UNIX) that somebody else made.

    From now on it is the listener's to close; a Unix socket's file stays.
    """
    families = [getattr(socket, name) for name in ("AF_INET", "AF_INET6", "AF_UNIX") if hasattr(socket, name)]
    if sock.family not in families or sock.type != socket.SOCK_STREAM:
        raise ValueError(
            f"can only listen on a stream socket of INET, INET6 or UNIX, got {sock.type!r} of {sock.family!r}"
        )
    if sock.fileno() < 0:
        raise ListenError(errno.EBADF, "cannot listen on a socket that has been closed")
    return _listener(sock, backlog, ssl_context, None)


# -- making sockets ----------------------------------------------------------------------------------------------------

_Address = tuple[Any, ...]  # Any: a host and a port, and for IPv6 two numbers more
_Place = tuple[int, _Address]  # family and address


async def _resolve(host: str | None, port: int) -> tuple[str | None, list[_Place]]:
    """Return the addresses of `host`, each once, in the resolver's order."""
    passive: Any = socket.AI_PASSIVE  # Any: typeshed's two getaddrinfo disagree about the type of flags
    try:
        # Numbers (and None) need no resolver, and so no thread.
        numeric = passive | socket.AI_NUMERICHOST
        try:
            found: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)  # Any: the same
        except socket.gaierror:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=passive)
    except socket.gaierror as exc:
        raise ListenError(exc.errno, f"cannot listen on host {host!r}: {exc.strerror}") from exc
    except ValueError as exc:  # a UnicodeError, for what no name of a host can be; or a NUL in it
        raise ListenError(errno.EINVAL, f"cannot listen on host {host!r}: {exc}") from exc
    known = (socket.AF_INET, socket.AF_INET6)
    return host, list(dict.fromkeys((family, address) for family, _, _, _, address in found if family in known))


def _bind_all(
    places: list[tuple[str | None, list[_Place]]], port: int, *, reuse_address: bool, reuse_port: bool
) -> list[socket.socket]:
    """Bind a socket to each place, all on one port; or none.  Every host must have one address at least."""
    sockets: list[socket.socket] = []
    try:
        for host, addresses in places:
            lacking: OSError | None = None
            found = len(sockets)
            for family, address in addresses:
                try:
                    sock = _bind(family, (address[0], port, *address[2:]), reuse_address, reuse_port)
                except OSError as exc:
                    if exc.errno not in _LACKING:
                        raise
                    server_logger.warning("Left an address of host %r out: %s", host, exc)
                    lacking = exc
                else:
                    sockets.append(sock)
                    port = port or sock.getsockname()[1]
            if found == len(sockets):
                raise lacking or ListenError(f"cannot listen on host {host!r}: it has no IP address")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(family: int, address: _Address, reuse_address: bool, reuse_port: bool) -> socket.socket:
    """Return a socket bound to `address`."""
    try:
        with ExitStack() as undo:
            sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if reuse_address:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # IPv4 has a socket of its own: with this off, "::" would take its port, too.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            undo.pop_all()
            return sock
    except OSError as exc:
        where = _hostport(address[0], address[1])
        raise ListenError(exc.errno, f"cannot listen on {where}: {exc.strerror or exc}") from exc


def _clear_way(path: str) -> None:
    """Remove the socket file of a server that is gone; raise OSError when `path` is taken for good."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(errno.EADDRINUSE, f"cannot listen on unix socket {path!r}: the path exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(path)
    if answer in (errno.ECONNREFUSED, errno.ENOENT):
        server_logger.debug("Replacing the socket file %r of a server that is gone", path)
        Path(path).unlink(missing_ok=True)
    else:
        raise ListenError(
            errno.EADDRINUSE,
            f"cannot listen on unix socket {path!r}: another server listens on it"
            if answer in (0, errno.EAGAIN, errno.EINPROGRESS)
            else f"cannot listen on unix socket {path!r}: it may be another server's ({os.strerror(answer)})",
        )


def _listen(sockets: list[socket.socket], backlog: int, ssl_context: ssl.SSLContext | None) -> list[Listener]:
    """Make listeners of all `sockets`; or of none."""
    try:
        return [_listener(sock, backlog, ssl_context, None) for sock in sockets]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise


def _listener(
    sock: socket.socket, backlog: int, ssl_context: ssl.SSLContext | None, file: SocketFile | None
) -> Listener:
    """Start listening on a bound socket."""
    sock.setblocking(False)
    try:
        sock.listen(backlog)
    except OSError as exc:
        where = socket_url(sock, "http").partition("//")[2]
        raise ListenError(exc.errno, f"cannot listen on {where}: {exc.strerror or exc}") from exc
    return Listener(sock, socket_url(sock, "http" if ssl_context is None else "https"), ssl_context, file=file)


def socket_url(sock: socket.socket, scheme: str) -> str:
    """Return where `sock` is bound, as a URL; a Unix socket in aiohttp's way: `http://unix:/run/app.sock:`."""
    address = sock.getsockname()
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return f"{scheme}://{_hostport(address[0], address[1])}"
    name = os.fsdecode(address)
    # An abstract name is written with the "@" that ss and netstat show for its NUL.
    return f"{scheme}://unix:{'@' + name[1:] if name[:1] == chr(0) else name}:"


def _hostport(host: str, port: int) -> str:
    """Return host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
