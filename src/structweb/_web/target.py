"""Where a request goes: its target, host and scheme, as URLs."""

from typing import TYPE_CHECKING, Any

from multidict import MultiDictProxy
from yarl import URL

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._wire.events import Head


def split_path(target: str) -> str:
    """Return the raw path of an origin-form target: what stands before ``?`` and ``#``."""
    return target.partition("#")[0].partition("?")[0]


def parse_target(method: str, target: str) -> URL:
    """Return the URL that a request target is; nothing in it is encoded or decoded anew.

    It is absolute for an absolute-form target, and for CONNECT, where it is nothing but an authority.
    """
    if method == "CONNECT":
        return URL.build(authority=target, encoded=True)
    if not target.startswith("/"):  # absolute-form, or the asterisk
        return URL(target, encoded=True)
    rest, _, fragment = target.partition("#")
    path, _, query = rest.partition("?")
    # Not URL(target): in "//host/path" it would see a host.
    return URL.build(path=path, query_string=query, fragment=fragment, encoded=True)


class RequestTarget:
    """The method, the target and what follows from it.  Everything is worked out when it is asked for."""

    _exchange: "Exchange"
    _head: "Head"
    # What was worked out, or given to `clone`; the host also apart, because it replaces one in the target.
    _own_host: str | None = None
    _rel_url: URL | None = None
    _url: URL | None = None
    _path: str | None = None
    _scheme: str | None = None
    _host: str | None = None
    _remote: str | None = None

    @property
    def method(self) -> str:
        """The method, as sent: ``GET``, ``POST`` ..."""
        return self._head.method

    @property
    def raw_path(self) -> str:
        """The request target as it was sent, query included."""
        return self._head.target

    @property
    def rel_url(self) -> URL:
        """The target as a relative URL: path, query and fragment."""
        url = self._rel_url
        if url is None:
            url = parse_target(self._head.method, self._head.target)
            if url.absolute:
                url = url.relative()
            self._rel_url = url
        return url

    @property
    def path(self) -> str:
        """The decoded path: ``/app/blog``."""
        path = self._path
        if path is None:
            target = self._head.target
            plain = target.startswith("/") and "%" not in target
            path = split_path(target) if plain else self.rel_url.path
            self._path = path
        return path

    @property
    def path_qs(self) -> str:
        """Path and query, encoded: ``/app/blog?id=10``."""
        return str(self.rel_url)

    @property
    def query(self) -> MultiDictProxy[str]:
        """The variables of the query string as a read-only multidict."""
        return self.rel_url.query

    @property
    def query_string(self) -> str:
        """The decoded query string: ``id=10``."""
        return self.rel_url.query_string

    @property
    def scheme(self) -> str:
        """``https`` if the connection is over TLS, else ``http``; what a proxy says does not count."""
        scheme = self._scheme
        if scheme is None:
            tls = self.get_extra_info("sslcontext")
            scheme = self._scheme = "http" if tls is None else "https"
        return scheme

    @property
    def secure(self) -> bool:
        """Whether `scheme` is ``https``."""
        return self.scheme == "https"

    @property
    def host(self) -> str:
        """The host asked for, with its port if it was sent.

        That of an absolute-form target (then without port), else the Host header, else (HTTP/1.0) the local address,
        else an empty string.
        """
        host = self._host
        if host is None:
            host = self._host = self._find_host()
        return host

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type, as in asyncio
        """Return what the connection knows under one of asyncio's names, else `default`.

        The names are peername, sockname, socket, sslcontext, ssl_object, peercert, cipher and compression; where a site has
        `proxy_protocol`, also proxy_protocol (a `ProxyHeader`) and proxy_peername.
        """
        return self._exchange.transport.get_extra_info(name, default)

    def _find_host(self) -> str:
        head = self._head
        if not head.target.startswith(("/", "*")) and (url := parse_target(head.method, head.target)).absolute:
            return url.host or ""
        if head.block.host is not None:
            return head.block.host
        address = self.get_extra_info("sockname")
        if isinstance(address, tuple):
            # Four parts are an IPv6 address: as in a Host header, it stands in brackets.
            return f"[{address[0]}]" if len(address) == 4 else str(address[0])
        return "" if address is None else str(address)

    @property
    def remote(self) -> str | None:
        """The address of the peer; None if it is not known.  Behind a proxy, that is the proxy's."""
        remote = self._remote
        if remote is None:
            address = self.get_extra_info("peername")
            if address is None:
                return None
            remote = self._remote = str(address[0] if isinstance(address, tuple | list) else address)
        return remote

    @property
    def url(self) -> URL:
        """The absolute URL: `scheme`, host and `rel_url`."""
        url = self._url
        if url is None:
            url = self._url = self._find_url()
        return url

    def _find_url(self) -> URL:
        head = self._head
        if not head.target.startswith(("/", "*")) and (url := parse_target(head.method, head.target)).absolute:
            # Of its scheme, the peer knows nothing; an authority alone (CONNECT) has none.
            url = url.with_scheme(self.scheme) if url.scheme else url
            return url if self._own_host is None else url.with_host(self._own_host)
        return URL.build(scheme=self.scheme, authority=self.host).join(self.rel_url)
