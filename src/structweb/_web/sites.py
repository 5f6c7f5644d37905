"""Sites: the places where a runner's server listens."""

import os
import socket
import ssl
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from structweb._server.accept import Listening
from structweb._server.listeners import BACKLOG, Listener, adopt_socket, open_tcp, open_unix, socket_url
from structweb._server.proxied import ProxyGate
from structweb._wire.trust import Network, Trusted

if TYPE_CHECKING:
    from structweb._web.runner import BaseRunner

#: Whether connections begin with a PROXY protocol header; or whose may: addresses, networks, ``"unix"``.
ProxyProtocol = bool | Collection[str | Network]

DEFAULT_PORT = 8080
DEFAULT_TLS_PORT = 8443


class BaseSite(ABC):
    """A place to listen: `start` begins, `stop` ends, and the runner's clean-up stops every site that is left.

    With `proxy_protocol` every connection has to begin with a PROXY protocol header, which tells the client's address.
    Networks instead of True say whose: nobody but these proxies is let in.

    Raises RuntimeError for a runner that is not up, TypeError for what is no SSLContext; `start` raises OSError for a
    place that is taken.
    """

    def __init__(
        self,
        runner: "BaseRunner",
        *,
        shutdown_timeout: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = BACKLOG,
        proxy_protocol: ProxyProtocol = False,
    ) -> None:
        if not hasattr(runner, "server"):
            raise TypeError(f"a {type(self).__name__} needs a runner, as web.AppRunner(app), got {runner!r}")
        if runner.server is None:
            raise RuntimeError(f"a {type(self).__name__} needs a runner that is set up, got {runner!r}")
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext or None, got {ssl_context!r}")
        if shutdown_timeout is not None:
            warnings.warn("shutdown_timeout belongs to the runner, not to a site", DeprecationWarning, stacklevel=3)
            runner.shutdown_timeout = shutdown_timeout
        self._runner = runner
        self._ssl_context = ssl_context
        self._backlog = backlog
        self._gated, self._proxies = _proxies(proxy_protocol)
        self._listening: list[Listening] = []
        #: The last `start`, unless a `stop` has come behind it.
        self._attempt: object = None

    @property
    @abstractmethod
    def name(self) -> str:
        """Where the site listens, as a URL."""

    @property
    def addresses(self) -> list[Any]:  # Any: what getsockname returns depends on the family
        """The addresses of the sockets that listen now; none before `start` and after `stop`."""
        listeners = [listening.listener for listening in self._listening]
        return [listener.address for listener in listeners if listener.socket.fileno() >= 0]

    async def start(self) -> None:
        """Listen: when this returns, clients can connect.

        Raises OSError, naming the address, when it cannot be had; RuntimeError when the site has been started
        already, its runner has been cleaned up, or `stop` is called before it listens.
        """
        self._runner.register(self)
        self._attempt = attempt = object()
        try:
            listeners = await self._bind()
            try:
                if self._attempt is not attempt:
                    raise RuntimeError(f"cannot start {self!r}: it was stopped before it listened")
                if self._gated:
                    listeners = tuple(replace(one, gate=ProxyGate(self._proxies, one.url)) for one in listeners)
                self._listening = [self._runner.listen(listener) for listener in listeners]
            except BaseException:
                for listener in listeners:
                    listener.close()
                raise
        except BaseException:
            if self._attempt is attempt and self in self._runner.sites:  # clean-up has forgotten all of them
                self._runner.unregister(self)
            raise

    async def stop(self) -> None:
        """Listen no more: when this returns, new connections are refused.  Those that were accepted live on.

        Raises RuntimeError when the site does not listen.
        """
        self._runner.unregister(self)
        self._attempt = None
        listening, self._listening = self._listening, []
        for one in listening:
            await one.stop()

    @abstractmethod
    async def _bind(self) -> tuple[Listener, ...]:
        """Return bound and listening sockets, or raise with none left open."""

    @property
    def _scheme(self) -> str:
        return "http" if self._ssl_context is None else "https"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class TCPSite(BaseSite):
    """Listens on a TCP port: of all interfaces, or of `host`; 8080 (8443 with TLS), or `port`.

    Port 0 finds a free one, the same for IPv4 and IPv6; `port` tells which, once started.
    """

    def __init__(
        self,
        runner: "BaseRunner",
        host: str | None = None,
        port: int | None = None,
        *,
        shutdown_timeout: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = BACKLOG,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        proxy_protocol: ProxyProtocol = False,
    ) -> None:
        super().__init__(
            runner,
            shutdown_timeout=shutdown_timeout,
            ssl_context=ssl_context,
            backlog=backlog,
            proxy_protocol=proxy_protocol,
        )
        if port is not None and not isinstance(port, int):
            raise TypeError(f"port must be an int, got {port!r}")
        if port is not None and not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, got {port!r}")
        self._host = host
        self._port = port if port is not None else DEFAULT_PORT if ssl_context is None else DEFAULT_TLS_PORT
        self._reuse_address = reuse_address
        self._reuse_port = reuse_port

    @property
    def port(self) -> int:
        """The port as asked for, and from `start` on the one that is listened on."""
        return self._port

    @property
    def name(self) -> str:
        """The site's URL; for all interfaces with 0.0.0.0 as its host."""
        host = self._host or "0.0.0.0"  # noqa: S104  # a name, no choice: the user bound all interfaces
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def _bind(self) -> tuple[Listener, ...]:
        listeners = await open_tcp(
            self._host,
            self._port,
            ssl_context=self._ssl_context,
            backlog=self._backlog,
            reuse_address=self._reuse_address,
            reuse_port=self._reuse_port,
        )
        self._port = listeners[0].address[1]
        return listeners


class UnixSite(BaseSite):
    """Listens on a Unix socket.  A path that starts with a NUL character names an abstract one (Linux).

    The file of a server that is gone is replaced, and removed when the site stops.
    """

    def __init__(
        self,
        runner: "BaseRunner",
        path: str | os.PathLike[str],
        *,
        shutdown_timeout: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = BACKLOG,
        proxy_protocol: ProxyProtocol = False,
    ) -> None:
        super().__init__(
            runner,
            shutdown_timeout=shutdown_timeout,
            ssl_context=ssl_context,
            backlog=backlog,
            proxy_protocol=proxy_protocol,
        )
        self._path = os.fspath(path)

    @property
    def name(self) -> str:
        """``http://unix:PATH:``; an abstract path begins with an ``@``, as in `ss` and `netstat`."""
        path = "@" + self._path[1:] if self._path.startswith("\0") else self._path
        return f"{self._scheme}://unix:{path}:"

    async def _bind(self) -> tuple[Listener, ...]:
        return (open_unix(self._path, ssl_context=self._ssl_context, backlog=self._backlog),)


class SockSite(BaseSite):
    """Listens on a bound stream socket: INET, INET6 or UNIX.  Once started, the site closes it when it stops, for good."""

    def __init__(
        self,
        runner: "BaseRunner",
        sock: socket.socket,
        *,
        shutdown_timeout: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = BACKLOG,
        proxy_protocol: ProxyProtocol = False,
    ) -> None:
        super().__init__(
            runner,
            shutdown_timeout=shutdown_timeout,
            ssl_context=ssl_context,
            backlog=backlog,
            proxy_protocol=proxy_protocol,
        )
        self._sock = sock
        # Kept: a closed socket no longer knows where it was bound.
        self._name = socket_url(sock, self._scheme)

    @property
    def name(self) -> str:
        """Where the socket is bound."""
        return self._name

    async def _bind(self) -> tuple[Listener, ...]:
        return (adopt_socket(self._sock, ssl_context=self._ssl_context, backlog=self._backlog),)


class NamedPipeSite(BaseSite):
    """Is here for its name only: making one raises NotImplementedError."""

    def __new__(cls, runner: "BaseRunner", path: str, *, shutdown_timeout: float | None = None) -> Self:
        """Raise NotImplementedError."""
        raise NotImplementedError(
            f"cannot listen on the named pipe {path!r}: Windows named pipes exist in asyncio's proactor loop only, "
            "and structweb serves sockets on asyncio and trio alike; use a TCPSite on localhost"
        )


def _proxies(asked: ProxyProtocol) -> tuple[bool, Trusted | None]:
    """Return whether connections come through a proxy, and which proxies are let in (None: all)."""
    if isinstance(asked, bool):
        return asked, None
    trusted = Trusted(asked)
    if not (trusted.networks or trusted.unix):
        raise ValueError("proxy_protocol must name at least one network, or be True for all, got an empty collection")
    return True, trusted
