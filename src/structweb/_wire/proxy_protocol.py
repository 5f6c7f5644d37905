"""The PROXY protocol, versions 1 and 2: what a proxy says of its client, ahead of the client's first byte.

As haproxy's specification has it (doc/proxy-protocol.txt).  A header is required: a reader that guessed whether one
is there would let every client write its own.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

#: The longest header that is read, as in nginx.  Version 2 could say 65551; TLVs of real proxies take some hundred bytes.
LONGEST: Final = 4096
# The specification's worst case of a version 1 line, its CRLF included.
_LONGEST_LINE: Final = 107
_LINE_START: Final = b"PROXY "
_FAMILIES: Final[dict[bytes, type[IPv4Address | IPv6Address]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
# Signature, version and command, family and protocol, length of the rest.
_FIXED: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_UNSPECIFIED: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_UNIX: Final = 0x31
# Bytes of one address, without its port.
_WIDTHS: Final = {_TCP4: 4, _TCP6: 16, _UNIX: 108}

_ALPN: Final = 0x01
_AUTHORITY: Final = 0x02
_CRC32C: Final = 0x03
_NOOP: Final = 0x04

#: As sockets give them: (host, port), (host, port, 0, 0) for IPv6, a path (bytes for an abstract one) for Unix.
Address = tuple[str, int] | tuple[str, int, int, int] | str | bytes


class ProxyProtocolError(ValueError):
    """What came is no PROXY protocol header, or one that must not be accepted; close the connection."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy told about a connection, by the PROXY protocol."""

    #: 1 or 2.
    version: int
    #: The client's address; None when the proxy speaks for itself (a health check) or does not know.
    source: Address | None = None
    #: The address that the client connected to; None as for `source`.
    destination: Address | None = None
    #: What else was told: types and values in the order sent, padding left out.
    tlvs: tuple[tuple[int, bytes], ...] = ()

    @property
    def alpn(self) -> bytes | None:
        """The protocol that the client and the proxy agreed on (``b"http/1.1"``), if told."""
        return self._first(_ALPN)

    @property
    def authority(self) -> str | None:
        """The host name that the client asked the proxy for, as in TLS's server name, if told."""
        value = self._first(_AUTHORITY)
        return None if value is None else value.decode("utf-8", "replace")

    def _first(self, kind: int) -> bytes | None:
        return next((value for found, value in self.tlvs if found == kind), None)


class HeaderReader:
    """Reads one header out of bytes that come in any pieces."""

    __slots__ = ("_held", "header")

    def __init__(self) -> None:
        self._held = bytearray()
        #: The header, once it is complete.
        self.header: ProxyHeader | None = None

    @property
    def begun(self) -> bool:
        """Whether some of the header has arrived."""
        return bool(self._held)

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to the header; what is behind them is the client's own.

        Raises ProxyProtocolError for what is no header; then read no more.
        """
        before = len(self._held)
        self._held += data
        held = bytes(self._held)
        if held.startswith(_SIGNATURE[: len(held)]):
            size = _size_of_block(held)
        elif held.startswith(_LINE_START[: len(held)]):
            size = _size_of_line(held)
        else:
            raise ProxyProtocolError(f"expected a PROXY protocol header, got {held[:16]!r}")
        if size is None or len(held) < size:
            return len(data)
        self.header = _parse_block(held[:size]) if held[:1] == _SIGNATURE[:1] else _parse_line(held[:size])
        return size - before


# -- version 1: a line -------------------------------------------------------------------------------------------------


def _size_of_line(held: bytes) -> int | None:
    end = held.find(b"\r\n", 0, _LONGEST_LINE)
    if end >= 0:
        return end + 2
    if len(held) >= _LONGEST_LINE:
        raise ProxyProtocolError(f"a PROXY line has at most {_LONGEST_LINE} bytes, got {held[:32]!r}...")
    return None


def _parse_line(line: bytes) -> ProxyHeader:
    words = line[:-2].split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(1)  # what follows it does not count
    kind = _FAMILIES.get(words[1])
    if kind is None or len(words) != 6:
        raise ProxyProtocolError(f"expected 'PROXY TCP4|TCP6 source destination port port', got {line!r}")
    source, destination, source_port, destination_port = words[2:]
    return ProxyHeader(
        1, _endpoint(kind, source, source_port, line), _endpoint(kind, destination, destination_port, line)
    )


def _endpoint(kind: type[IPv4Address | IPv6Address], host: bytes, port: bytes, line: bytes) -> Address:
    try:
        address = kind(host.decode("ascii"))
        number = int(port) if port.isdigit() else -1
    except ValueError as exc:
        raise ProxyProtocolError(f"no {kind.__name__} {host!r} in {line!r}") from exc
    if not 0 <= number <= 65535 or str(number).encode() != port:
        raise ProxyProtocolError(f"expected a port from 0 to 65535, got {port!r} in {line!r}")
    if b"%" in host:
        raise ProxyProtocolError(f"an address cannot have a zone, got {host!r} in {line!r}")
    return _socket_address(address, number)


def _socket_address(address: IPv4Address | IPv6Address, port: int) -> Address:
    if isinstance(address, IPv4Address):
        return str(address), port
    mapped = address.ipv4_mapped  # written as sockets do; str() does so from Python 3.13 on
    return (str(address) if mapped is None else f"::ffff:{mapped}", port, 0, 0)


# -- version 2: a block ------------------------------------------------------------------------------------------------


def _size_of_block(held: bytes) -> int | None:
    if len(held) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(held[14:16])
    if size > LONGEST:
        raise ProxyProtocolError(f"a PROXY header of {size} bytes is too long: at most {LONGEST} are read")
    return size


def _parse_block(block: bytes) -> ProxyHeader:
    command, family = block[12], block[13]
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"expected version 2 and the command LOCAL or PROXY (0x20, 0x21), got {command:#04x}")
    if command == _LOCAL:
        return ProxyHeader(2)  # the rest has no meaning
    if family == _UNSPECIFIED:
        return ProxyHeader(2, tlvs=_tlvs(block, _FIXED))
    width = _WIDTHS.get(family)
    if width is None:
        raise ProxyProtocolError(f"expected TCP4, TCP6, UNIX or UNSPEC (0x11, 0x21, 0x31, 0x00), got {family:#04x}")
    ports = 0 if family == _UNIX else 4
    behind = _FIXED + 2 * width + ports
    if len(block) < behind:
        raise ProxyProtocolError(f"addresses of family {family:#04x} need {behind} bytes, the header has {len(block)}")
    source, destination = block[_FIXED : _FIXED + width], block[_FIXED + width : _FIXED + 2 * width]
    tlvs = _tlvs(block, behind)
    if family == _UNIX:
        return ProxyHeader(2, _path(source), _path(destination), tlvs)
    source_port, destination_port = block[behind - 4 : behind - 2], block[behind - 2 : behind]
    return ProxyHeader(
        2,
        _socket_address(ip_address(source), int.from_bytes(source_port)),
        _socket_address(ip_address(destination), int.from_bytes(destination_port)),
        tlvs,
    )


def _path(padded: bytes) -> Address:
    """Return a Unix address as Python's sockets do: text, and bytes for an abstract one, which begins with a NUL."""
    if padded[:1] == b"\0" and padded.strip(b"\0"):
        return padded.rstrip(b"\0")
    return padded.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _tlvs(block: bytes, start: int) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    while start < len(block):
        kind, size = block[start], int.from_bytes(block[start + 1 : start + 3])
        value = block[start + 3 : start + 3 + size]
        if start + 3 > len(block) or len(value) < size:
            raise ProxyProtocolError(f"the TLV of type {kind:#04x} at byte {start} ends behind its header")
        if kind == _CRC32C:
            _check_sum(block, start + 3, value)
        if kind != _NOOP:
            found.append((kind, value))
        start += 3 + size
    return tuple(found)


def _check_sum(block: bytes, at: int, value: bytes) -> None:
    """Raise ProxyProtocolError unless `value`, which stands at `at`, is the checksum of `block` with zeros in its place."""
    if len(value) != 4:
        raise ProxyProtocolError(f"a CRC32C has 4 bytes, got {len(value)}")
    computed = crc32c(block[:at] + bytes(4) + block[at + 4 :])
    if computed != int.from_bytes(value):
        raise ProxyProtocolError(f"the header's CRC32C is {computed:#010x}, it says {value.hex()}")


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRCS: Final = tuple(map(_crc_of_byte, range(256)))


def crc32c(data: bytes) -> int:
    """Return the CRC32C of `data` (Castagnoli's polynomial, RFC 3720 appendix B.4); the standard library has none."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRCS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
