"""Entity tags, as conditional requests compare them (RFC 9110 section 8.8.3)."""

import re
from dataclasses import dataclass
from typing import Final

#: The value of ``If-Match: *``, and of an ETag that stands for any.
ETAG_ANY: Final = "*"

_OPAQUE: Final = r"[!\x23-\x7e\x80-\xff]+"
_OPAQUE_TAG: Final = re.compile(_OPAQUE)
_ENTITY_TAG: Final = re.compile(rf'(?P<weak>W/)?"(?P<value>{_OPAQUE})"')
_SEPARATOR: Final = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag: its value without quotes, and whether it is a weak one."""

    value: str
    is_weak: bool = False


def parse_etag(header: str | None) -> ETag | None:
    """Return the one entity tag of an ETag header, or None when it has none."""
    if not header:
        return None
    if header == ETAG_ANY:
        return ETag(ETAG_ANY)
    match = _ENTITY_TAG.fullmatch(header)
    return None if match is None else ETag(match["value"], match["weak"] is not None)


def parse_etags(header: str | None) -> tuple[ETag, ...] | None:
    """Return the entity tags of an If-Match or If-None-Match header, None when there is no header.

    ``*`` gives the one tag that stands for any.  Reading stops at the first thing that is no entity tag:
    what came before it counts.
    """
    if not header:
        return None
    if header == ETAG_ANY:
        return (ETag(ETAG_ANY),)
    tags: list[ETag] = []
    at = 0
    while (match := _ENTITY_TAG.match(header, at)) is not None:
        separator = _SEPARATOR.match(header, match.end())
        if separator is None:
            break
        tags.append(ETag(match["value"], match["weak"] is not None))
        at = separator.end()
    return tuple(tags)


def format_etag(tag: ETag) -> str:
    """Return `tag` as an ETag header has it.  Raises ValueError for a value that cannot stand between quotes."""
    if tag.value == ETAG_ANY:
        return ETAG_ANY
    if _OPAQUE_TAG.fullmatch(tag.value) is None:
        raise ValueError(f"an entity tag must have no quotes, spaces or control characters, got {tag.value!r}")
    return f'W/"{tag.value}"' if tag.is_weak else f'"{tag.value}"'
