"""Entity tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.conditional import ETag, format_etag, parse_etag, parse_etags

VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, blacklist_characters='"\x7f').filter(
        lambda char: not 0x7F <= ord(char) < 0x80
    ),
    min_size=1,
)
TAGS = st.builds(ETag, VALUES, st.booleans())


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        (None, None),
        ("", None),
        ("*", (ETag("*"),)),
        ('"a"', (ETag("a"),)),
        ('W/"a"', (ETag("a", is_weak=True),)),
        ('"a", W/"b","c"', (ETag("a"), ETag("b", is_weak=True), ETag("c"))),
        ('"a" , "b"', (ETag("a"), ETag("b"))),
        ('"a",, "b"', (ETag("a"), ETag("b"))),
        ('"a", x, "b"', (ETag("a"),)),
        ('"a" "b"', ()),
        ('w/"a"', ()),
        ("a", ()),
        ('"a b"', ()),
        ('"a', ()),
        ('""', ()),
    ],
)
def test_lists(header, tags):
    assert parse_etags(header) == tags


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        (None, None),
        ("", None),
        ("*", ETag("*")),
        ('"a"', ETag("a")),
        ('W/"a"', ETag("a", is_weak=True)),
        ('"a", "b"', None),
        ("a", None),
    ],
)
def test_one(header, tag):
    assert parse_etag(header) == tag


@given(TAGS)
def test_written_and_read(tag):
    written = format_etag(tag)
    if tag.value != "*":
        assert parse_etag(written) == tag
        assert parse_etags(f"{written}, {written}") == (tag, tag)


@given(st.text())
def test_any_text_is_read(text):
    parse_etag(text)
    parse_etags(text)


@pytest.mark.parametrize("value", ["", '"', "a b", "\n", "\u0100", 'a"b'])
def test_what_cannot_be_written(value):
    with pytest.raises(ValueError, match="an entity tag must have no quotes"):
        format_etag(ETag(value))
