"""The Content-Disposition header (W-077)."""

import pytest

from structweb._wire.disposition import format_disposition


@pytest.mark.parametrize(
    ("parameters", "quote", "expected"),
    [
        ({}, True, "attachment"),
        ({"filename": "a.txt"}, True, 'attachment; filename="a.txt"'),
        ({"filename": 'a b"\r\n\u00e9'}, True, 'attachment; filename="a%20b%22%0D%0A%C3%A9"'),
        ({"name": 'a "b" \\'}, True, 'attachment; name="a \\"b\\" \\\\"'),
        ({"name": "\u00e9\n"}, True, "attachment; name*=utf-8''%C3%A9%0A"),
        ({"filename": '\u00e9 "b"', "name": "c"}, False, 'attachment; filename="\u00e9 \\"b\\""; name="c"'),
    ],
)
def test_dispositions(parameters: dict[str, str], expected: str, *, quote: bool):
    assert format_disposition("attachment", parameters, quote=quote) == expected


def test_the_charset_is_that_of_the_percents():
    assert format_disposition("inline", {"name": "\u00e9"}, charset="latin-1") == "inline; name*=latin-1''%E9"


@pytest.mark.parametrize(
    ("disposition", "parameters", "message"),
    [
        ("", {}, "must be a token"),
        ("a b", {}, "must be a token"),
        ("inline", {"a;": "b"}, "parameter must be a token"),
        ("inline", {"a": "b\r\nX: y"}, "control characters"),
    ],
)
def test_what_cannot_be_sent_is_refused(disposition: str, parameters: dict[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        format_disposition(disposition, parameters, quote=False)
