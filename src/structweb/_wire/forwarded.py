"""The Forwarded header (RFC 7239), read without ever failing."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:\\[\t !-~]|[\t !#-\[\]-~])*"'
# The port behind a bare address is no token, but many proxies send it so.
_PAIR: Final = re.compile(rf"({_WORD})=({_WORD}|{_QUOTED})(:[0-9]{{1,4}})?")
_ESCAPED: Final = re.compile(r"\\([\t !-~])")


def parse_forwarded(headers: Iterable[str]) -> tuple[Mapping[str, str], ...]:
    """Return one read-only mapping an element, names lower-cased, quotes and escapes taken off.

    The first element was added by the proxy nearest to the client.  Anything malformed skips to the next comma.
    Values are not checked: a client may have written them itself.
    """
    elements: list[Mapping[str, str]] = []
    for header in headers:
        _parse_elements(header, elements)
    return tuple(elements)


def _parse_elements(header: str, elements: list[Mapping[str, str]]) -> None:
    element: dict[str, str] = {}
    if header:
        elements.append(MappingProxyType(element))
    at, end, pair_ended = 0, len(header), True
    while at < end:
        char = header[at]
        if char == ",":
            element = {}
            elements.append(MappingProxyType(element))
            pair_ended = True
            at += 1
        elif char == ";":
            pair_ended = True
            at += 1
        elif char in " \t":  # RFC 7239 has no white space between pairs; proxies do
            at += 1
        elif pair_ended and (pair := _PAIR.match(header, at)) is not None:
            name, value, port = pair.groups()
            if value[0] == '"':
                value = _ESCAPED.sub(r"\1", value[1:-1])
            element[name.lower()] = value + (port or "")
            pair_ended = False
            at = pair.end()
        else:
            comma = header.find(",", at)
            at = end if comma < 0 else comma
