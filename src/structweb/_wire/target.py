"""Request targets and Host values: the forms of RFC 9112 section 3.2, checked before anybody builds a URL from them."""

import re
from ipaddress import IPv6Address
from typing import Final

from structweb._wire.events import Refusal

_MAX_PORT: Final = 65535

# reg-name of RFC 3986: unreserved, sub-delims and well-formed percent-encodings.  The comma is a sub-delim,
# but no host has one, and a comma is what two joined Host fields would look like: it stays out.
_REG_NAME_TEXT: Final = r"[A-Za-z0-9._~!$&'()*+;=-]*+"
_REG_NAME: Final = rf"{_REG_NAME_TEXT}(?:%[0-9A-Fa-f]{{2}}{_REG_NAME_TEXT})*"
_HOST: Final = rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]++)\]|{_REG_NAME})"
_HOST_PORT: Final = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{0,5}}+))?", re.ASCII)
_USER_TEXT: Final = r"[A-Za-z0-9._~!$&'()*+,;=:-]*+"
_USER_INFO: Final = rf"{_USER_TEXT}(?:%[0-9A-Fa-f]{{2}}{_USER_TEXT})*"
_ABSOLUTE: Final = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*+://(?:{_USER_INFO}@)?(?P<authority>[^/?#@]++)(?:[/?#][!-~]*+)?", re.ASCII
)
_ORIGIN: Final = re.compile(r"/[!-~]*+", re.ASCII)


def split_host(value: str) -> tuple[str, int | None] | None:
    """Return host and port of an ``uri-host [":" port]``, or None when it is not well-formed.

    An IPv6 address keeps its brackets.  The host may be empty, as RFC 9112 allows for Host; an empty port is None.
    """
    match = _HOST_PORT.fullmatch(value)
    if match is None:
        return None
    address = match["ipv6"]
    if address is not None:
        try:
            IPv6Address(address)
        except ValueError:
            return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > _MAX_PORT:
        return None
    return match["host"], port


def check_host(value: str) -> None:
    """Refuse a Host value that names no host."""
    if split_host(value) is None:
        raise Refusal(400, f"bad Host: expected host or host:port, got {value[:100]!r}")


def check_target(method: str, target: str) -> None:
    """Refuse a request target in a form that `method` does not take.

    Accepted: origin-form, absolute-form with ``//`` and a host, authority-form for CONNECT only, ``*`` for OPTIONS only.
    A fragment is tolerated, as other servers do.
    """
    if method == "CONNECT":
        _check_connect(target)
    elif _ORIGIN.fullmatch(target) is None and (target != "*" or method != "OPTIONS"):
        _check_absolute(method, target)


def _check_connect(target: str) -> None:
    parts = split_host(target)
    # A port is required: RFC 9110 section 9.3.6 knows no default one.
    if parts is None or not parts[0] or not parts[1]:
        raise Refusal(400, f"bad request target: CONNECT expects host:port, got {target[:100]!r}")


def _check_absolute(method: str, target: str) -> None:
    match = _ABSOLUTE.fullmatch(target)
    parts = split_host(match["authority"]) if match is not None else None
    if parts is None or not parts[0]:
        expected = "/path, * or scheme://host/path" if method == "OPTIONS" else "/path or scheme://host/path"
        raise Refusal(400, f"bad request target: {method} expects {expected}, got {target[:100]!r}")
