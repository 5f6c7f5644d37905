import time

import pytest

from structweb._web.domains import Domain, MaskDomain
from tests.web.asked import Asked

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("domain", "canonical"),
    [
        ("ex.com", "ex.com"),
        ("EX.com.", "ex.com"),
        ("ex.com:80", "ex.com"),
        ("ex.com:8080", "ex.com:8080"),
        ("пример.com", "xn--e1afmkfd.com"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_domain_has_a_canonical_form(domain, canonical):
    rule = Domain(domain)
    assert rule.canonical == canonical
    assert rule.get_info() == {"domain": canonical}


@pytest.mark.parametrize(
    ("domain", "host", "matches"),
    [
        ("ex.com", "ex.com", True),
        ("ex.com", "EX.COM", True),
        ("ex.com", "ex.com:80", True),
        ("ex.com", "ex.com:8080", True),
        ("ex.com", "a.ex.com", False),
        ("ex.com:8080", "ex.com:8080", True),
        ("ex.com:8080", "ex.com", False),
        ("ex.com:8080", "ex.com:81", False),
        ("*.ex.com", "a.ex.com", True),
        ("*.ex.com", "A.B.EX.com:81", True),
        ("*.ex.com", "ex.com", False),
        ("*.ex.com", "aXexXcom", False),
        ("*.ex.com:81", "a.ex.com:81", True),
        ("*.ex.com:81", "a.ex.com", False),
        ("a*.com", "abc.com", True),
        ("a*.com", "abc.com.evil.org", False),
        ("ex.com", None, False),
        ("*.ex.com", "", False),
        ("*", "", False),
        ("*", "any", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "a.b.b.c", True),
        ("a*b*c", "acb", False),
        ("a*b*b*c", "a.b.c", False),
        ("ab*bc", "abc", False),
        ("**.com", "x.com", True),
    ],
)
async def test_a_domain_matches_the_host(domain, host, matches):
    rule = MaskDomain(domain) if "*" in domain else Domain(domain)
    asked = Asked("GET", "/")
    if host is not None:
        asked.headers["host"] = host
    assert await rule.match(asked) is matches


def test_a_mask_without_stars_is_a_domain():
    assert MaskDomain("ex.com").match_domain("EX.com:8080")
    assert not MaskDomain("ex.com").match_domain("a.ex.com")


def test_a_hostile_host_is_cheap():
    """However many stars a mask has, no host takes time that grows faster than its length."""
    mask = MaskDomain("*a*a*a*a*.com")
    began = time.process_time()
    assert not mask.match_domain("a" * 8000)
    assert time.process_time() - began < 0.1


def test_a_mask_tells_its_expression():
    assert MaskDomain("*.ex.com:81").canonical == r"[^:]*\.ex\.com:81(:.*)?"


@pytest.mark.parametrize(
    ("domain", "complaint"),
    [
        ("", "must not be empty"),
        (".", "must not be empty"),
        ("http://ex.com", "without a scheme"),
        ("-a.com", "must be labels"),
        ("a_b.com", "must be labels"),
        ("a..com", "must be"),
        ("[::1]", "must be labels"),
        ("ex.com:port", "must be a host name"),
        ("*.ex.com", "must be labels"),
    ],
)
def test_bad_domains_are_refused(domain, complaint):
    with pytest.raises(ValueError, match=complaint):
        Domain(domain)


@pytest.mark.parametrize("domain", [1, None, b"ex.com"])
def test_a_domain_is_text(domain):
    with pytest.raises(TypeError, match="domain must be str"):
        Domain(domain)
