"""The Range header of requests (RFC 9110 section 14.2): one range of bytes."""

import re
from typing import Final

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
