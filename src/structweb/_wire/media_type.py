"""The Content-Type header: a media type and its parameters."""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

OCTET_STREAM: Final = "application/octet-stream"

_PARAMETER: Final = re.compile(r';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*("[^\\"]*+(?:\\.[^\\"]*+)*"|[^;]*)')
_ESCAPED: Final = re.compile(r"\\(.)")


class MediaType(NamedTuple):
    """A media type, lower-cased, and its parameters, names lower-cased."""

    value: str
    parameters: Mapping[str, str]


_UNKNOWN: Final = MediaType(OCTET_STREAM, MappingProxyType({}))


@lru_cache(maxsize=128)
def parse_media_type(header: str | None) -> MediaType:
    """Return what a Content-Type header says.

    No header, and one without exactly one slash in its type, reads ``application/octet-stream``.
    """
    if header is None:
        return _UNKNOWN
    value, _, rest = header.partition(";")
    value = value.strip().lower()
    if value.count("/") != 1:
        value = OCTET_STREAM
    if not rest:
        return MediaType(value, _UNKNOWN.parameters)
    parameters: dict[str, str] = {}
    for name, text in _PARAMETER.findall(";" + rest):
        parameters[name.lower()] = _unquote(text.strip())
    return MediaType(value, MappingProxyType(parameters))


def _unquote(text: str) -> str:
    if len(text) > 1 and text[0] == '"' and text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def format_media_type(media_type: MediaType) -> str:
    """Return the Content-Type header that says `media_type`."""
    return "; ".join([media_type.value, *(f"{name}={text}" for name, text in media_type.parameters.items())])
