"""The Range header of requests (RFC 9110 section 14.2): what it says, and which bytes of a representation it selects."""

import re
from typing import Final, NamedTuple

_BYTES: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)


def parse_range(header: str | None) -> slice:
    """Return the range as a slice of step 1; its last bytes as a negative start; everything without a header.

    Raises ValueError for several ranges, and for what is no range of bytes.
    """
    if header is None:
        return slice(None, None, 1)
    match = _BYTES.fullmatch(header)
    if match is None or match.group() == "bytes=-":
        raise ValueError(f"Range must be one 'bytes=first-last', got {header!r}")
    first, last = match.groups()
    if not first:
        return slice(-int(last), None, 1)
    start, stop = int(first), int(last) + 1 if last else None
    if stop is not None and start >= stop:
        raise ValueError(f"Range must not end before it starts, got {header!r}")
    return slice(start, stop, 1)


#: A request for more ranges than this is answered with the whole: each costs a part of its own.
MOST_RANGES: Final = 32

_SPEC: Final = re.compile(r"([0-9]*)-([0-9]*)")
# More digits than any length has, and few enough for int().
_HUGE: Final = 10**18


class ByteRange(NamedTuple):
    """Some bytes of a representation: from `start` to before `stop`, at least one."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range that tells of it, in a representation of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def select_ranges(header: str | None, size: int) -> tuple[ByteRange, ...] | None:
    """Return the ranges that a Range header selects of `size` bytes, clamped; () if none of them can be satisfied.

    None if the header is to be ignored, so that everything is sent: there is none, it is malformed or not about
    bytes, it has very many ranges, or several that make more than the whole.
    """
    if header is None:
        return None
    unit, found, rest = header.partition("=")
    if not found or unit.strip(" \t").lower() != "bytes":
        return None
    specs = [spec for spec in (piece.strip(" \t") for piece in rest.split(",")) if spec]
    if not specs or len(specs) > MOST_RANGES:
        return None
    ranges: list[ByteRange] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == "-":
            return None
        first, last = match.groups()
        if first and last and _number(last) < _number(first):
            return None
        if not first and not size and _number(last):
            return None  # the last bytes of nothing: satisfiable, but no Content-Range can say so
        start = _number(first) if first else max(0, size - _number(last))
        stop = min(_number(last) + 1, size) if first and last else size
        if start < stop:
            ranges.append(ByteRange(start, stop))
    if len(ranges) > 1 and sum(stop - start for start, stop in ranges) > size:
        return None
    return tuple(ranges)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return _HUGE if len(digits) > 18 else int(digits or 0)
