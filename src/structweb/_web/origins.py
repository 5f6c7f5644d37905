"""Origins, as browsers tell them in the Origin field (RFC 6454, and the Fetch standard), and lists of those to believe."""

import re
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, TypeGuard

from multidict import istr

#: Origins: as strings, exactly as browsers send them, and as patterns that match all of one.
Origins: TypeAlias = Iterable[str | re.Pattern[str]] | Literal["*"]

ORIGIN: Final = istr("Origin")

# What browsers send is in lower case, without the port that the scheme implies.
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]+))?"
)
_PORTS: Final = {"http": "80", "https": "443"}


class OriginList:
    """Tells whether an origin is one of some.

    Raises TypeError for a single string in place of a list, ValueError for a string that no browser sends as an origin.
    """

    def __init__(self, origins: Iterable[str | re.Pattern[str]], what: str) -> None:
        if isinstance(origins, str | re.Pattern):
            raise TypeError(f"{what} must be a list of origins, got {origins!r}")
        listed = list(origins)
        self._patterns = tuple(origin for origin in listed if _is_pattern(origin))
        self._exact = frozenset(_checked(origin, what) for origin in listed if not _is_pattern(origin))

    def __contains__(self, origin: str) -> bool:
        """Tell whether it is listed, or matched from its beginning to its end.  "null" never is: anybody can send that."""
        return origin in self._exact or (
            origin != "null" and any(pattern.fullmatch(origin) is not None for pattern in self._patterns)
        )


def _is_pattern(origin: object) -> TypeGuard[re.Pattern[str]]:
    # One of bytes would fail with each request.
    return isinstance(origin, re.Pattern) and isinstance(origin.pattern, str)


def _checked(origin: object, what: str) -> str:
    match = _ORIGIN.fullmatch(origin) if isinstance(origin, str) else None
    if match is None or match["port"] == _PORTS.get(match["scheme"], ""):
        raise ValueError(
            f"{what} must be as browsers send them, 'https://example.org' or 'http://localhost:8080' "
            f"(lower case, no default port, no path), or compiled patterns, got {origin!r}"
        )
    return match[0]


def same_host(origin: str, host: str) -> bool:
    """Tell whether an origin has the host and port of a Host field, which does not tell the scheme."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    default = _PORTS.get(match["scheme"], "")
    return f"{match['host']}:{match['port'] or default}" == _with_port(host.lower(), default)


def _with_port(host: str, default: str) -> str:
    return host if re.search(r":[0-9]+\Z", host) else f"{host}:{default}"
