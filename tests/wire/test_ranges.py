"""The Range header (W-050)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.ranges import parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, slice(None, None, 1)),
        ("bytes=0-0", slice(0, 1, 1)),
        ("bytes=2-5", slice(2, 6, 1)),
        ("Bytes=2-", slice(2, None, 1)),
        ("bytes=-5", slice(-5, None, 1)),
        ("bytes=-0", slice(0, None, 1)),
    ],
)
def test_ranges(header, expected):
    assert parse_range(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=1-2,3-4",
        "lines=1-2",
        "bytes=a-b",
        "bytes=1-2\n",
        "bytes=\u0661-",
    ],
)
def test_what_is_no_range(header):
    with pytest.raises(ValueError, match="Range must"):
        parse_range(header)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_last_byte_is_included(first, length):
    found = parse_range(f"bytes={first}-{first + length}")
    assert (found.start, found.stop) == (first, first + length + 1)
