"""Cookies: the Cookie header read leniently, Set-Cookie written with every attribute that browsers know."""

import re
from collections.abc import Mapping
from http.cookies import Morsel, SimpleCookie
from types import MappingProxyType
from typing import Final

# What browsers send in names, brackets included; neither the separators of the header nor control bytes.
_NAME: Final = re.compile(r"[!#$%&'()*+\-./0-9:<>?@A-Z\[\]^_`a-z{|}~]+")
# Possessive wherever a single class repeats: a header of nothing but spaces or quotes costs one pass.
_PAIR: Final = re.compile(
    r"""
    (?P<name>[^=;]*+)
    (?:=(?P<value>\s*+"[^\\"]*+(?:\\.[^\\"]*+)*"\s*+(?=;|\Z)|[^;]*+))?
    (?:;|\Z)
    """,
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")

#: What a deleted cookie's Expires reads.
EPOCH: Final = "Thu, 01 Jan 1970 00:00:00 GMT"


def parse_cookies(header: str) -> Mapping[str, str]:
    """Return the cookies of a Cookie header, read-only; the last of equal names counts.

    Never fails: a pair that is malformed is left out, the others stay.  Quoted values are unquoted.
    Every name is a cookie's name, ``path`` and ``expires`` too.
    """
    cookies: dict[str, str] = {}
    for match in _PAIR.finditer(header):
        name = match["name"].strip()
        if _NAME.fullmatch(name) is not None:
            cookies[name] = _unquote((match["value"] or "").strip())
    return MappingProxyType(cookies)


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)) if match[1] else match[2], value[1:-1])


class _Morsel(Morsel[str]):
    """A cookie of a response.  Knows Partitioned, which the standard library learns in Python 3.14."""

    # http.cookies offers no other way to add one.
    _reserved = {**Morsel._reserved, "partitioned": "Partitioned"}  # type: ignore[attr-defined]  # noqa: RUF012, SLF001 -- see above
    _flags = {*Morsel._flags, "partitioned"}  # type: ignore[attr-defined]  # noqa: RUF012, SLF001 -- the same


def set_cookie(
    cookies: SimpleCookie,
    name: str,
    value: str,
    *,
    expires: str | None = None,
    domain: str | None = None,
    max_age: int | str | None = None,
    path: str = "/",
    secure: bool | None = None,
    httponly: bool | None = None,
    version: str | None = None,
    samesite: str | None = None,
    partitioned: bool | None = None,
) -> None:
    """Put a cookie among those of a response, or change it: attributes that are None stay as they were.

    Expires and Max-Age do not stay: a cookie that is set again is alive again.
    Raises `http.cookies.CookieError` for a name that no cookie may have.
    """
    morsel = cookies.get(name)
    if morsel is None:
        morsel = _Morsel()
    plain, coded = cookies.value_encode(value)
    morsel.set(name, plain, coded)
    if expires is not None:
        morsel["expires"] = expires
    elif morsel["expires"] == EPOCH:
        morsel["expires"] = ""
    morsel["max-age"] = "" if max_age is None else str(max_age)
    morsel["path"] = path
    given = {
        "domain": domain,
        "secure": secure,
        "httponly": httponly,
        "version": version,
        "samesite": samesite,
        "partitioned": partitioned,
    }
    for attribute, setting in given.items():
        if setting is not None:
            morsel[attribute] = setting
    cookies[name] = morsel
