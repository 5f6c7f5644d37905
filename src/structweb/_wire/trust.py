"""Addresses and networks that are trusted, as users name them."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Trusted:
    """Whom to believe: addresses and networks (``"10.0.0.0/8"``); ``"unix"`` is whoever comes through a Unix socket."""

    __slots__ = ("networks", "unix")

    def __init__(self, trusted: Iterable[str | Network]) -> None:
        """Raise TypeError for a lone string, ValueError for what is no address or network."""
        if isinstance(trusted, str):
            raise TypeError(f"trusted must be several addresses and networks, got the string {trusted!r}")
        given = set(trusted)
        self.networks: tuple[Network, ...] = tuple(ip_network(network) for network in given - {"unix"})
        self.unix: bool = "unix" in given

    def __contains__(self, address: Address) -> bool:
        """Tell whether `address` is one of them."""
        return any(address in network for network in self.networks)

    def admits(self, peer: object) -> bool:
        """Tell whether a socket's peer is one of them, `peer` being its address as sockets give it."""
        if not isinstance(peer, tuple):
            return self.unix
        return plain(ip_address(peer[0])) in self


def plain(address: Address) -> Address:
    """Return `address` as networks name it: a socket for both families calls a peer ::ffff:10.0.0.1."""
    return getattr(address, "ipv4_mapped", None) or address
