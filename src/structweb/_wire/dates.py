"""HTTP dates: read leniently, written in the one form that RFC 9110 section 5.6.7 prefers."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate, parsedate


def parse_http_date(value: str | None) -> datetime | None:
    """Return the moment that `value` names as an aware UTC datetime, or None when it names none."""
    if value is None:
        return None
    try:
        parts = parsedate(value)
        return None if parts is None else datetime(*parts[:6], tzinfo=UTC)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


def format_http_date(moment: float | datetime) -> str:
    """Return `moment` as an HTTP date; fractions of a second round up, a naive datetime is taken for UTC.

    Rounding down would let a file that changed within that second pass for unchanged.
    """
    if not isinstance(moment, datetime):
        return formatdate(math.ceil(moment), usegmt=True)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.microsecond:
        moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    return format_datetime(moment, usegmt=True)
