"""Cross-site request forgery: requests that pages of other origins make browsers send, told by what browsers say of them.

No tokens: as in Go's `net/http.CrossOriginProtection` and OWASP's cheat sheet, Sec-Fetch-Site decides, which all browsers
send since 2023, and where it is missing Origin and Host.  A page can change none of them.
"""

from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from re import Pattern
from typing import TYPE_CHECKING, Final

from multidict import istr

from structweb._web.errors import HTTPForbidden
from structweb._web.middleware import Middleware, middleware
from structweb._web.origins import ORIGIN, OriginList, same_host
from structweb._web.routes import Handler

if TYPE_CHECKING:
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse

_SEC_FETCH_SITE: Final = istr("Sec-Fetch-Site")
_UPGRADE: Final = istr("Upgrade")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_middleware(
    *,
    trusted: Iterable[str | Pattern[str]] = (),
    exempt: "Callable[[Request], bool] | Iterable[str]" = (),
) -> Middleware:
    """Make a middleware that refuses with 403 what pages of other origins make browsers send to change something.

    GET, HEAD and OPTIONS pass: their handlers must change nothing.  A handshake of a WebSocket does not count as GET here:
    what is sent over it changes things.  Else a Sec-Fetch-Site of ``same-origin`` or ``none`` passes and every other
    one is refused, ``same-site`` too; without that field, an Origin passes that has the request's `host`.  Without
    either, it was no browser of today, and passes.

    `trusted` are origins that pass nevertheless: strings just as browsers send them (``"https://example.org"``), and
    compiled patterns that match all of one.  `exempt` says which requests are let through: a plain function that is
    called with the request and returns True, or a list of resources by name or by path as they were added, with all
    prefixes (``"/hooks/{source}"``).

    Behind a proxy that changes Host, put `trusted_proxies` before it.  Raises ValueError for what is no origin,
    TypeError for a string in place of a list and for an `exempt` that has to be awaited.
    """
    origins = OriginList(trusted, "trusted")
    is_exempt = _exemption(exempt)

    @middleware
    async def refuse_forgery(request: "Request", handler: Handler) -> "StreamResponse":
        if request.method in _SAFE and not _is_websocket(request):
            return await handler(request)
        why = _suspicion(request)
        if why is None or request.headers.get(ORIGIN, "") in origins or is_exempt(request):
            return await handler(request)
        raise HTTPForbidden(text=f"Cross-origin request refused: {why}")

    return refuse_forgery


def _suspicion(request: "Request") -> str | None:
    """Return what tells that a request comes from elsewhere; None if nothing does."""
    site = request.headers.get(_SEC_FETCH_SITE)
    if site:
        return None if site in ("same-origin", "none") else f"Sec-Fetch-Site is {site[:20]!r}"
    origin = request.headers.get(ORIGIN)
    if not origin or same_host(origin, request.host):
        return None
    return f"there is no Sec-Fetch-Site, and Origin {origin[:100]!r} is not of this host"


def _is_websocket(request: "Request") -> bool:
    return any("websocket" in value.lower() for value in request.headers.getall(_UPGRADE, ()))


def _exemption(exempt: "Callable[[Request], bool] | Iterable[str]") -> "Callable[[Request], bool]":
    if callable(exempt):
        predicate = exempt
        if iscoroutinefunction(predicate) or iscoroutinefunction(getattr(predicate, "__call__", None)):  # noqa: B004 - the method
            raise TypeError(f"exempt must be a plain function, its answer is not awaited, got {exempt!r}")
        # Nothing else that is true: what would have to be awaited is, and would let everything through.
        return lambda request: predicate(request) is True
    if isinstance(exempt, str):
        raise TypeError(f"exempt must be a list of resources or a function, got {exempt!r}")
    resources = frozenset(exempt)

    def listed(request: "Request") -> bool:
        resource = request.match_info.route.resource
        return resource is not None and (resource.name in resources or resource.canonical in resources)

    return listed
