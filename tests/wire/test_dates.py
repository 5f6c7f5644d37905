"""HTTP dates."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.dates import format_http_date, parse_http_date


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_three_formats(text):
    """RFC 9110 section 5.6.7: the preferred one, RFC 850's, asctime's."""
    assert parse_http_date(text) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, "", "nonsense", "Sat, 32 Jan 2000 00:00:00 GMT", "1", "\udcff", ",", "Mon, 1"])
def test_what_is_no_date(text):
    assert parse_http_date(text) is None


@given(st.text() | st.text("SatJn,0123456789 :-+GMT"))
def test_any_text_is_a_date_or_none(text):
    found = parse_http_date(text)
    assert found is None or found.tzinfo is UTC


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - hypothesis wants them naive
def test_written_and_read(moment):
    found = parse_http_date(format_http_date(moment))
    assert found is not None
    assert timedelta(0) <= found - moment.replace(tzinfo=UTC) < timedelta(seconds=1)
    assert found.microsecond == 0


def test_zones_and_seconds():
    moment = datetime(2001, 2, 3, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert format_http_date(moment) == "Fri, 02 Feb 2001 23:02:03 GMT"
    assert format_http_date(moment.timestamp()) == "Fri, 02 Feb 2001 23:02:03 GMT"
    assert format_http_date(0.001) == "Thu, 01 Jan 1970 00:00:01 GMT"
