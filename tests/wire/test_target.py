"""Targets and hosts that are accepted name something: a URL can be built from each of them (W-174)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from structweb._wire.events import Refusal
from structweb._wire.target import check_host, check_target, split_host

TEXT = st.text(st.sampled_from("aB0.-_~!$&'()*+,;=:@/?#[]%{}|\\^`\"<> \x7f\xe9"), max_size=20)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "//x/../y"),
        ("GET", "/a?b#c"),
        ("GET", "/#"),
        ("GET", "/%zz"),
        ("GET", '/"<>\\^`{|}'),
        ("OPTIONS", "*"),
        ("OPTIONS", "/"),
        ("GET", "http://h"),
        ("GET", "HTTP://h/p?q#f"),
        ("GET", "https://u:p@h:80?q"),
        ("GET", "ws://[::1]:80/"),
        ("GET", "a+b-c.1://h/"),
        ("CONNECT", "h:80"),
        ("CONNECT", "[::1]:443"),
    ],
)
def test_good_targets(method, target):
    check_target(method, target)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", ""),
        ("GET", "*"),
        ("OPTIONS", "**"),
        ("GET", "x"),
        ("GET", "?q"),
        ("GET", "#f"),
        ("GET", "/\x7f"),
        ("GET", "/\xe9"),
        ("GET", "/ "),
        ("GET", "h:80"),
        ("GET", "http:"),
        ("GET", "http:/h"),
        ("GET", "http:h"),
        ("GET", "http://"),
        ("GET", "http:///p"),
        ("GET", "http://?q"),
        ("GET", "http://u@/"),
        ("GET", "http://:80/"),
        ("GET", "http://h:99999/"),
        ("GET", "http://h:x/"),
        ("GET", "http://[zz]/"),
        ("GET", "http://a@b@c/"),
        ("GET", "1http://h/"),
        ("CONNECT", "/"),
        ("CONNECT", "*"),
        ("CONNECT", "h"),
        ("CONNECT", "h:"),
        ("CONNECT", "h:0"),
        ("CONNECT", ":80"),
        ("CONNECT", "u@h:80"),
        ("CONNECT", "h:80/"),
        ("CONNECT", "http://h/"),
    ],
)
def test_bad_targets(method, target):
    with pytest.raises(Refusal, match="bad request target") as caught:
        check_target(method, target)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("a", ("a", None)),
        ("a:", ("a", None)),
        ("a:80", ("a", 80)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("[::1]", ("[::1]", None)),
        ("[::ffff:1.2.3.4]:80", ("[::ffff:1.2.3.4]", 80)),
        ("a_b.c", ("a_b.c", None)),
        ("%41", ("%41", None)),
        ("a%41%42c:80", ("a%41%42c", 80)),
        ("a%41%4", None),
        ("a%41,b", None),
        ("", ("", None)),
        ("a:65536", None),
        ("a:b", None),
        ("a:1:2", None),
        ("::1", None),
        ("[::1", None),
        ("[]", None),
        ("[1]", None),
        ("[::1]a", None),
        ("a%", None),
        ("a%4", None),
        ("a,b", None),
        ("a/b", None),
        ("a b", None),
        ("a\n", None),
        ("a:8\u0660", None),
    ],
)
def test_split_host(value, parts):
    assert split_host(value) == parts


@pytest.mark.parametrize("text", ["a", "%", "%4", "%41", "a%41", ":", "@", "a@", "%41@", "[", "[::1]", "/", "a:"])
def test_hostile_targets_are_cheap(text):
    """No target takes time that grows faster than its length."""
    value = text * (8000 // len(text))
    began = time.process_time()
    for start in ("", "[", "a:", "http://", "http://a:"):
        split_host(f"{start}{value} ")
        with pytest.raises(Refusal):
            check_target("GET", f"{start}{value} ")
    assert time.process_time() - began < 0.1


@given(TEXT)
def test_an_accepted_host_makes_a_url(value):
    try:
        check_host(value)
    except Refusal:
        return
    if value:
        URL.build(scheme="http", authority=value, path="/", encoded=True)
        assert isinstance(str(URL(f"http://{value}/", encoded=True).port), str)


@given(st.sampled_from(["GET", "OPTIONS"]), st.one_of(TEXT, TEXT.map("http://".__add__), TEXT.map("/".__add__)))
def test_an_accepted_target_makes_a_url(method, target):
    try:
        check_target(method, target)
    except Refusal:
        return
    if target.startswith("/"):
        path, _, fragment = target.partition("#")
        path, _, query = path.partition("?")
        URL.build(path=path, query_string=query, fragment=fragment, encoded=True)
        return
    url = URL(target, encoded=True)
    assert isinstance(str(url), str)
    if target != "*":
        assert url.raw_host
        assert url.port is None or 0 <= url.port <= 65535
