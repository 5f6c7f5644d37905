"""The Forwarded header (W-051)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.forwarded import parse_forwarded


@pytest.mark.parametrize(
    ("headers", "elements"),
    [
        ([], []),
        ([""], []),
        (["for=1.2.3.4"], [{"for": "1.2.3.4"}]),
        (["For=1.2.3.4;Proto=https"], [{"for": "1.2.3.4", "proto": "https"}]),
        (["for=a, for=b", "for=c"], [{"for": "a"}, {"for": "b"}, {"for": "c"}]),
        (['for="[::1]:80"; by=_x'], [{"for": "[::1]:80", "by": "_x"}]),
        (["for=1.2.3.4:8080"], [{"for": "1.2.3.4:8080"}]),
        ([r'for="a\"b\\c"'], [{"for": 'a"b\\c'}]),
        (["for=a bad=b, for=c"], [{"for": "a"}, {"for": "c"}]),
        (["for=a;;by=b"], [{"for": "a", "by": "b"}]),
        (["=a, for=b"], [{}, {"for": "b"}]),
        (['for="unclosed, for=b'], [{}, {"for": "b"}]),
        (["for"], [{}]),
        ([","], [{}, {}]),
        (["for=a; for=b"], [{"for": "b"}]),
    ],
)
def test_elements(headers, elements):
    assert [dict(element) for element in parse_forwarded(headers)] == elements


def test_elements_are_read_only():
    (element,) = parse_forwarded(["for=a"])
    with pytest.raises(TypeError):
        element["for"] = "b"


@given(st.lists(st.text() | st.text('for=a;,"\\ :1')))
def test_any_text_is_read(headers):
    parse_forwarded(headers)


WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1)


@given(st.lists(st.dictionaries(WORDS, st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))), min_size=1))
def test_written_and_read(elements):
    def quoted(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(";".join(f"{name}={quoted(value)}" for name, value in element.items()) for element in elements)
    expected = elements if header else []
    assert [dict(element) for element in parse_forwarded([header])] == expected
