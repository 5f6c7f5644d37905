"""Conditional requests (RFC 9110 section 13): entity tags, and what the conditions of a request come to."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from structweb._wire.dates import parse_http_date

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
    at = len(header) - len(header.lstrip(", \t"))
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


class Outcome(Enum):
    """What the conditions of a request come to."""

    #: They are fulfilled: the method is carried out.
    PROCEED = "proceed"
    #: 304: the client has what it asks for.
    NOT_MODIFIED = "not modified"
    #: 412: something has changed behind the client's back.
    FAILED = "precondition failed"


@dataclass(frozen=True, slots=True)
class Validators:
    """What a representation is known by: a tag, and when it was modified, in seconds since 1970."""

    etag: ETag
    modified: float

    def outcome(self, method: str, fields: Mapping[str, str]) -> Outcome:
        """Return what the conditions among `fields` come to, in the order of RFC 9110 section 13.2.2.

        `fields` has lower-case names, and the lines of a list joined.  A date does not count beside a tag.
        """
        tags = parse_etags(fields.get("if-match"))
        if tags is not None:
            if not self._among(tags, weakly=False):
                return Outcome.FAILED
        elif self._modified_since(fields.get("if-unmodified-since")):
            return Outcome.FAILED
        reading = method in ("GET", "HEAD")
        tags = parse_etags(fields.get("if-none-match"))
        if tags is not None:
            if self._among(tags, weakly=True):
                return Outcome.NOT_MODIFIED if reading else Outcome.FAILED
        elif reading and self._modified_since(fields.get("if-modified-since")) is False:
            return Outcome.NOT_MODIFIED
        return Outcome.PROCEED

    def allow_range(self, if_range: str | None) -> bool:
        """Tell whether If-Range lets a Range count: its tag, or its date, is the very same (RFC 9110 section 13.1.5)."""
        if if_range is None:
            return True
        tag = parse_etag(if_range)
        if tag is not None:
            return if_range != ETAG_ANY and self._among((tag,), weakly=False)
        # Later is not enough: an older file may have taken the place of what the client has a part of.
        moment = parse_http_date(if_range)
        return moment is not None and moment.timestamp() == math.ceil(self.modified)

    def _among(self, tags: tuple[ETag, ...], *, weakly: bool) -> bool:
        own = self.etag
        return any(
            tag.value == ETAG_ANY or (tag.value == own.value and (weakly or not (tag.is_weak or own.is_weak)))
            for tag in tags
        )

    def _modified_since(self, date: str | None) -> bool | None:
        """Tell whether it was modified after `date`; None if that is no date."""
        moment = parse_http_date(date)
        return None if moment is None else self.modified > moment.timestamp()
