"""Content-Disposition (W-121)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.disposition import format_disposition, parameter_of, read_disposition


def filename(header):
    return parameter_of(read_disposition(header).parameters, "filename")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="foo.html"', "foo.html"),
        ("attachment; FILENAME=foo.html", "foo.html"),
        ('attachment; filename ="foo.html" ; size=3', "foo.html"),
        ('attachment; filename="a;b;c.txt"', "a;b;c.txt"),
        (r'attachment; filename="\"quoting\" tested.html"', '"quoting" tested.html'),
        ('attachment; filename="/foo.html"', "foo.html"),
        (r'attachment; filename="C:\dir"', "C:dir"),
        ('attachment; filename="foo-ä.html"', "foo-ä.html"),
        ('attachment; filename="a%22b"', "a%22b"),
        ('attachment; filename="../../etc/passwd"', "../../etc/passwd"),
        ('attachment; filename=""', ""),
        ("attachment; filename*=iso-8859-1''foo-%E4.html", "foo-ä.html"),
        ("attachment; filename*=UTF-8'en'%e2%82%ac", "€"),
        ("attachment; filename*=''foo-%c3%a4", "foo-ä"),
        ("attachment; filename=\"ae\"; filename*=UTF-8''%c3%a4", "ä"),
        ("attachment; filename*=nowhere''x; filename=\"y\"", "y"),
        ("attachment; filename*=utf-8''foo-%E4; filename=y", "y"),
        ("attachment; filename*=UTF-8'x; filename=y", "y"),
        ('attachment; filename*0="foo."; filename*1="html"', "foo.html"),
        ('attachment; filename*1="o"; filename*0="fo"; filename*3="x"', "foo"),
        ("attachment; " + "; ".join(f"filename*{n}={n % 10}" for n in range(12)), "012345678901"),
        ("attachment; filename*0*=UTF-8''foo-%c3%a4; filename*1=\".h%74ml\"", "foo-ä.h%74ml"),
        ("attachment; filename*0*=UTF-8''%c3; filename*1*=%a4", "ä"),
        ("attachment; filename*0*=nowhere''%c3; filename*1*=%a4", None),
        ("attachment; filename*0=o'b'c; filename*1=d", "o'b'cd"),
        ("attachment; filename*1=foo", None),
        ("attachment; filename*01=foo", None),
        ("attachment", None),
        (None, None),
    ],
)
def test_filename(header, name):
    assert filename(header) == name


@pytest.mark.parametrize(
    "header",
    [
        "", '"inline"', "filename=foo", "; filename=foo", "attachment filename=bar", "attachment; inline; filename=foo",
        "attachment; filename=foo bar", 'attachment; filename="bar', 'attachment; filename="foo".txt',
        "attachment; filename=foo; filename=bar", "attachment; filename=foo[1]",
    ],
)  # fmt: skip
def test_bad_headers_say_nothing(header):
    disposition = read_disposition(header)
    assert (disposition.type, disposition.parameters) == (None, {})
    assert disposition.bad_header == bool(header)


def test_bad_parameters_are_left_out():
    disposition = read_disposition("Attachment; a b=c; d=e; f*=g; h*0=i j;")
    assert disposition.type == "attachment"
    assert disposition.parameters == {"d": "e"}
    assert disposition.bad_parameters == ("a b=c", "f*=g", "h*0=i j")
    assert disposition.bad_header  # for the semicolon at its end


@given(st.text(max_size=200) | st.text("a;=\"\\'* %0", max_size=100).map("a; filename".__add__))
def test_never_raises(header):
    name = filename(header)
    assert name is None or isinstance(name, str)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\"), max_size=50))
def test_quoted_names_come_back(name):
    quoted = name.replace('"', '\\"')
    assert filename(f'form-data; filename="{quoted}"') == name


@pytest.mark.parametrize("junk", ['"', '"\\', "\\", ";", "; ", "=", "; a=", '; a="', "*", "; filename*0=a"])
def test_long_junk_takes_linear_time(junk):
    filename("a; filename=" + junk * 20_000)


# -- writing --------------------------------------------------------------------------------------------------------


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
