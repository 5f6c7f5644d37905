"""Urlencoded forms (W-112)."""

import tracemalloc
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.urlencoded import TooManyFieldsError, parse_form


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", []),
        (b"a=1&b=2", [("a", "1"), ("b", "2")]),
        (b"a=1&a=2&", [("a", "1"), ("a", "2")]),
        (b"a=&b&=c&&", [("a", ""), ("b", ""), ("", "c")]),
        (b"a+b=c%20d%2B%26%3D", [("a b", "c d+&=")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=%ff", [("a", "\ufffd")]),
        (b"a=%C3%A9%zz%", [("a", "é%zz%")]),
        ("é=ü\r\n".encode(), [("é", "ü")]),
        (b"a;b=c", [("a;b", "c")]),
    ],
)
def test_fields(body, fields):
    assert parse_form(body, "utf-8", 0) == fields


def test_charset():
    assert parse_form(b"a=\xe9%E9", "latin-1", 0) == [("a", "éé")]
    assert parse_form("a=é".encode("utf-16"), "utf-16", 0) == [("a", "é")]


def test_letters_in_long_runs_of_escapes():
    """However many are looked at together, none is cut."""
    assert parse_form(b"a=" + b"%E2%82%AC" * 10_000 + b"b", "utf-8", 0) == [("a", "€" * 10_000 + "b")]


def test_bytes_that_are_no_text():
    with pytest.raises(UnicodeDecodeError):
        parse_form(b"a=\xff", "utf-8", 0)
    with pytest.raises(LookupError):
        parse_form(b"a", "nowhere", 0)


def test_too_many_fields():
    assert len(parse_form(b"a&" * 5, "utf-8", 5)) == 5
    with pytest.raises(TooManyFieldsError, match=r"^Maximum number of form fields 5 exceeded\.$"):
        parse_form(b"a&" * 6, "utf-8", 5)


@pytest.mark.parametrize("bomb", [b"a&", b"&", b"=&", b"a", b"%", b"%41x", b"%41"])
def test_fields_take_no_memory_before_they_are_counted(bomb):
    body = bomb * (2**20 // len(bomb))
    tracemalloc.start()
    try:
        try:
            parse_form(body, "utf-8", 1000)
        except TooManyFieldsError:
            pass
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@given(st.text("abé%+= 4", max_size=30))
def test_escapes_read_as_the_standard_library_reads_them(text):
    assert parse_form(f"a={text}".encode(), "utf-8", 0) == parse_qsl(f"a={text}".rstrip(), keep_blank_values=True)
