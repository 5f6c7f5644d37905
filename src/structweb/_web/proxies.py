"""What trusted proxies tell about the client: a middleware, for whoever asks for it."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import Final, Literal

from structweb._web.headers import X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO
from structweb._web.middleware import Middleware, middleware
from structweb._web.request import Request
from structweb._web.routes import Handler
from structweb._web.streaming import StreamResponse
from structweb._wire.trust import Address, Network, Trusted, plain

#: What one proxy told: "for", "proto" and "host".
Told = Mapping[str, str]

_FIELDS: Final = frozenset({"for", "proto", "host"})
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NODE: Final = re.compile(
    r"\[(?P<v6>[^\]]+)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+)(?::[0-9]{1,5})?|(?P<bare>[0-9A-Fa-f:.]+)"
)


def trusted_proxies(
    trusted: Iterable[str | Network],
    *,
    hops: int = 1,
    header: Literal["X-Forwarded", "Forwarded"] = "X-Forwarded",
    fields: Collection[str] = ("for", "proto", "host"),
) -> Middleware:
    """Return a middleware that sets `remote`, `scheme` and `host` to what trusted proxies say they were.

    `trusted` are the addresses and networks of the proxies (``"10.0.0.0/8"``); ``"unix"`` stands for whoever comes
    through a Unix socket.  At most `hops` proxies are believed, from the nearest on, each only if the one behind it
    is trusted.  `header` says what they write: ``X-Forwarded-For``, ``-Proto`` and ``-Host``, or ``Forwarded``; the
    other one is not looked at, for a client may have sent it.  Leave out of `fields` what your proxies do not set.

    Put it first: what runs before it sees the proxy.  Malformed values change nothing.  Raises ValueError for what is
    no address or network, for fewer than one hop, and for an unknown header or field.
    """
    believed_ones = Trusted(trusted)
    if hops < 1:
        raise ValueError(f"hops must be at least 1, got {hops!r}")
    if header not in ("X-Forwarded", "Forwarded"):
        raise ValueError(f"header must be 'X-Forwarded' or 'Forwarded', got {header!r}")
    if unknown := sorted(set(fields) - _FIELDS):
        raise ValueError(f"fields must be of {sorted(_FIELDS)}, got {unknown}")

    def is_trusted(node: str) -> bool:
        address = _address(node)
        return address is not None and address in believed_ones

    @middleware
    async def believe_proxies(request: Request, handler: Handler) -> StreamResponse:
        peer = request.remote or ""
        through_unix = not peer or peer[0] in "/\0@"
        if not (believed_ones.unix if through_unix else is_trusted(peer)):
            return await handler(request)
        told = request.forwarded if header == "Forwarded" else _x_forwarded(request, hops)
        believed = _believed(told, hops, is_trusted)
        remote = _address(believed.get("for", "")) if "for" in fields else None
        scheme = believed.get("proto", "").lower() if "proto" in fields else ""
        host = believed.get("host", "") if "host" in fields else ""
        changed = request.clone(
            remote=None if remote is None else str(remote),
            scheme=scheme if scheme in ("http", "https") else None,
            host=host if _AUTHORITY.fullmatch(host) else None,
        )
        return await handler(changed)

    return believe_proxies


def _address(node: str) -> Address | None:
    """Return the address of a node, whose port does not matter; None for a name, and for nonsense."""
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    try:
        return plain(ip_address(match["v6"] or match["v4"] or match["bare"]))
    except ValueError:
        return None


def _x_forwarded(request: Request, hops: int) -> tuple[Told, ...]:
    """Return what the X-Forwarded fields say, in the shape of Forwarded: the nearest proxy last."""
    values = {
        field: [value.strip() for line in request.headers.getall(name, ()) for value in line.split(",")]
        for field, name in (("for", X_FORWARDED_FOR), ("proto", X_FORWARDED_PROTO), ("host", X_FORWARDED_HOST))
    }
    count = min(hops, max(map(len, values.values())))
    # Every proxy appends, so the ends correspond.  Many set proto and host only once: then that is what counts.
    return tuple(
        {
            field: found[max(0, len(found) - distance)]
            for field, found in values.items()
            if _reaches(field, found, distance)
        }
        for distance in range(count, 0, -1)
    )


def _reaches(field: str, found: list[str], distance: int) -> bool:
    return bool(found) and (field != "for" or distance <= len(found))


def _believed(told: tuple[Told, ...], hops: int, is_trusted: Callable[[str], bool]) -> Told:
    """Return what the farthest believable proxy told, or nothing."""
    believed: Told = {}
    for element in reversed(told[-hops:]):
        believed = element
        if not is_trusted(element.get("for", "")):
            break
    return believed
