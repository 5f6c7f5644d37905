"""The Range header (W-050)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.ranges import MOST_RANGES, parse_range, select_ranges


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


# -- what is selected of a representation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "selected"),
    [
        (None, None),
        ("bytes=0-9", ((0, 10),)),
        ("bytes=0-", ((0, 10),)),
        ("bytes=3-3", ((3, 4),)),
        ("BYTES=9-99999999999999999999999", ((9, 10),)),
        ("bytes=-1", ((9, 10),)),
        ("bytes=-99999999999999999999999", ((0, 10),)),
        ("bytes=000000000000000000000001-2", ((1, 3),)),
        ("bytes= 0-0 ,, 2-2 ,", ((0, 1), (2, 3))),
        ("bytes=2-2,0-0", ((2, 3), (0, 1))),
        ("bytes=10-", ()),
        ("bytes=10-20,-0", ()),
        ("bytes=-0,1-1", ((1, 2),)),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=1", None),
        ("bytes=2-1", None),
        ("bytes=0-0,x", None),
        ("bytes=0-0,2-1", None),
        ("bytes=+1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=\u0661-2", None),
        ("items=0-0", None),
        ("bytes=0-,0-", None),
        ("bytes=" + "0-0," * MOST_RANGES + "1-1", None),
    ],
)
def test_selected(header, selected):
    assert select_ranges(header, 10) == selected


def test_nothing_can_be_selected_of_nothing():
    assert select_ranges("bytes=0-", 0) == ()
    assert select_ranges("bytes=-0", 0) == ()
    assert select_ranges("bytes=-1", 0) is None


@given(st.text(), st.integers(0, 1000))
def test_any_text_selects_what_is_there(text, size):
    for header in (text, "bytes=" + text):
        selected = select_ranges(header, size) or ()
        assert all(0 <= start < stop <= size for start, stop in selected)
        assert len(selected) < 2 or sum(stop - start for start, stop in selected) <= size
