"""Addresses and networks that are trusted."""

from ipaddress import ip_address, ip_network

import pytest

from structweb._wire.trust import Trusted, plain


@pytest.mark.parametrize(
    ("trusted", "peer", "admitted"),
    [
        (["10.0.0.0/8"], ("10.1.2.3", 5), True),
        ([ip_network("10.0.0.0/8")], ("10.1.2.3", 5), True),
        (["10.0.0.0/8"], ("11.1.2.3", 5), False),
        (["10.0.0.1"], ("10.0.0.1", 5), True),
        (["10.0.0.0/8"], ("::ffff:10.0.0.1", 5, 0, 0), True),
        (["2001:db8::/32"], ("2001:db8::1", 5, 0, 0), True),
        (["fe80::/10"], ("fe80::1%eth0", 5, 0, 2), True),
        (["10.0.0.0/8"], ("::1", 5, 0, 0), False),
        (["10.0.0.0/8"], "", False),
        (["10.0.0.0/8", "unix"], "", True),
        (["unix"], b"\0name", True),
        (["unix"], ("127.0.0.1", 5), False),
        ([], ("127.0.0.1", 5), False),
    ],
)
def test_who_is_admitted(trusted, peer, admitted):
    assert Trusted(trusted).admits(peer) is admitted


def test_mapped_addresses_are_plain():
    assert plain(ip_address("::ffff:10.0.0.1")) == ip_address("10.0.0.1")
    assert plain(ip_address("::1")) == ip_address("::1")


def test_mistakes():
    with pytest.raises(TypeError, match=r"got the string '10\.0\.0\.0/8'"):
        Trusted("10.0.0.0/8")
    with pytest.raises(ValueError, match="host bits"):
        Trusted(["10.0.0.1/8"])
