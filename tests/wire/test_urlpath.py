import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.urlpath import decode_path, decode_value, quote_path, requote_path

RAW = st.text(alphabet=st.sampled_from("/%0123456789abcdefABCDEFghz.+ -"))
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("/plain/path", "/plain/path"),
        ("/a%20b", "/a b"),
        ("/%41", "/A"),
        ("/%d1%81%D0%BB", "/сл"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%25b", "/a%25b"),
        ("/a%252Fb", "/a%252Fb"),
        ("/a+b", "/a+b"),
        ("/%zz", "/%25zz"),
        ("/%", "/%25"),
        ("/%4", "/%254"),
        ("/%e9", "/%25e9"),
        ("/%D1%81%d1", "/с%25d1"),
        ("/%E2%82%2f%AC", "/%25E2%2582%2F%25AC"),
        ("/%ED%A0%80", "/%25ED%25A0%2580"),
        ("/%25%D1", "/%25%25D1"),
        ("/%00", "/\0"),
        ("/слово и с п", "/слово и с п"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_the_safe_spelling_of_a_path(raw, safe):
    assert decode_path(raw) == safe


@pytest.mark.parametrize(
    ("safe", "text"),
    [("plain", "plain"), ("a%2Fb", "a/b"), ("%252F", "%2F"), ("%25zz", "%zz"), ("%25%2F", "%/"), ("a+b", "a+b")],
)
def test_the_text_of_a_value(safe, text):
    assert decode_value(safe) == text


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("a b", "a%20b"),
        ("a/b", "a/b"),
        ("%2F", "%252F"),
        ("?#", "%3F%23"),
        ("ü", "%C3%BC"),
        ("-._~@:!$&'()*+,;=", "-._~@:!$&'()*+,;="),
        ('"<>[]\\^`{|}', "%22%3C%3E%5B%5D%5C%5E%60%7B%7C%7D"),
    ],
)
def test_text_is_quoted_for_a_path(text, raw):
    assert quote_path(text) == raw


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("/a b", "/a%20b"),
        ("/a%20b c", "/a%20b%20c"),
        ("/100%", "/100%25"),
        ("/%2F%zz", "/%2F%25zz"),
        ("/путь", "/%D0%BF%D1%83%D1%82%D1%8C"),
    ],
)
def test_requoting_keeps_escapes(path, raw):
    assert requote_path(path) == raw
    assert requote_path(raw) == raw


@given(RAW)
def test_an_encoded_slash_never_makes_a_segment(raw):
    assert decode_path(raw).count("/") == raw.count("/")


@given(RAW)
def test_decoding_twice_is_decoding_once(raw):
    assert decode_path(decode_path(raw)) == decode_path(raw)


@given(RAW)
def test_requoting_does_not_change_where_a_path_leads(raw):
    assert decode_path(requote_path(raw)) == decode_path(raw)


@given(TEXT)
def test_quoted_text_comes_back(text):
    assert decode_value(decode_path(quote_path(text))) == text
