"""Entity tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.conditional import ETag, Validators, format_etag, parse_etag, parse_etags

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
        (', ,"a",', (ETag("a"),)),  # RFC 9110 section 5.6.1.2: empty elements do not count
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


# -- what conditions come to ---------------------------------------------------------------------------------------

OWN = Validators(ETag("a"), 1767225600.5)
JUST_AFTER = "Thu, 01 Jan 2026 00:00:01 GMT"
JUST_BEFORE = "Thu, 01 Jan 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "reading", "writing"),
    [
        ({}, "proceed", "proceed"),
        ({"if-match": '"b", "a"'}, "proceed", "proceed"),
        ({"if-match": 'W/"a"'}, "precondition failed", "precondition failed"),
        ({"if-match": '"b"', "if-none-match": '"a"'}, "precondition failed", "precondition failed"),
        ({"if-match": '"a"', "if-unmodified-since": JUST_BEFORE}, "proceed", "proceed"),
        ({"if-unmodified-since": JUST_BEFORE}, "precondition failed", "precondition failed"),
        ({"if-unmodified-since": JUST_AFTER}, "proceed", "proceed"),
        ({"if-unmodified-since": "?"}, "proceed", "proceed"),
        ({"if-none-match": 'W/"a"'}, "not modified", "precondition failed"),
        ({"if-none-match": "*"}, "not modified", "precondition failed"),
        ({"if-none-match": '"b"', "if-modified-since": JUST_AFTER}, "proceed", "proceed"),
        ({"if-modified-since": JUST_AFTER}, "not modified", "proceed"),
        ({"if-modified-since": JUST_BEFORE}, "proceed", "proceed"),
        ({"if-unmodified-since": JUST_AFTER, "if-modified-since": JUST_AFTER}, "not modified", "proceed"),
    ],
)
def test_outcomes(fields, reading, writing):
    assert OWN.outcome("GET", fields).value == OWN.outcome("HEAD", fields).value == reading
    assert OWN.outcome("PUT", fields).value == writing


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        (None, True),
        ('"a"', True),
        ('W/"a"', False),
        ('"b"', False),
        ("*", False),
        ("a", False),
        (JUST_AFTER, True),  # what Last-Modified says: fractions of a second round up
        (JUST_BEFORE, False),
        ("Thu, 01 Jan 2026 00:00:02 GMT", False),  # RFC 9110 section 13.1.5: it was older once, and is another one now
    ],
)
def test_if_range(condition, allowed):
    assert OWN.allow_range(condition) is allowed
    assert Validators(ETag("a", is_weak=True), 0).allow_range('"a"') is False
