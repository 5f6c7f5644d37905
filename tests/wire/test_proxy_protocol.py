"""The PROXY protocol's headers, as bytes: accepted, refused, and cut anywhere."""

import socket
import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from structweb._wire.proxy_protocol import LONGEST, HeaderReader, ProxyHeader, ProxyProtocolError, crc32c

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 56324, 443)
PARSED4 = (("203.0.113.7", 56324), ("192.0.2.1", 443))
BEHIND = b"\x16\x03\x01 whatever comes next"


def block(family: int = 0x11, addresses: bytes = TCP4, tlvs: bytes = b"", command: int = 0x21) -> bytes:
    """Return a header of version 2."""
    body = addresses + tlvs
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def summed(header: bytes) -> bytes:
    """Return a header that ends with an empty CRC32C, with the sum filled in."""
    return header[:-4] + struct.pack("!I", crc32c(header))


def read(data: bytes) -> tuple[ProxyHeader, bytes]:
    """Return the header at the beginning of `data`, and what is behind it."""
    reader = HeaderReader()
    taken = reader.take(data)
    assert reader.header is not None
    return reader.header, data[taken:]


# -- what is accepted --------------------------------------------------------------------------------------------------

UNIX = b"/run/a.sock".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")
TCP6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + IPv6Address("::ffff:192.0.2.1").packed + b"\x01\x00\x00\x50"

ACCEPTED = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", ProxyHeader(1, *PARSED4)),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ProxyHeader(1, ("0.0.0.0", 0), ("255.255.255.255", 65535))),
    (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", ProxyHeader(1, ("2001:db8::7", 1, 0, 0), ("::1", 2, 0, 0))),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(1)),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ProxyHeader(1)),
    (block(), ProxyHeader(2, *PARSED4)),
    (block(0x21, TCP6), ProxyHeader(2, ("2001:db8::7", 256, 0, 0), ("::ffff:192.0.2.1", 80, 0, 0))),
    (block(0x31, UNIX), ProxyHeader(2, "/run/a.sock", b"\0abstract")),
    (block(0x31, bytes(216)), ProxyHeader(2, "", "")),
    (block(0x31, b"/\xff".ljust(108, b"\0") + bytes(108)), ProxyHeader(2, "/\udcff", "")),
    (block(0x00, b""), ProxyHeader(2)),
    (block(0x00, b"", tlv(1, b"h2")), ProxyHeader(2, tlvs=((1, b"h2"),))),
    (block(command=0x20), ProxyHeader(2)),
    (block(0xFF, b"what the proxy likes", command=0x20), ProxyHeader(2)),
    (block(tlvs=tlv(4, b"...") + tlv(0xEA, b"vpce") + tlv(4, b"")), ProxyHeader(2, *PARSED4, ((0xEA, b"vpce"),))),
]


@pytest.mark.parametrize(("data", "header"), ACCEPTED)
def test_headers(data: bytes, header: ProxyHeader):
    assert read(data + BEHIND) == (header, BEHIND)


def test_the_longest_header():
    header = block(tlvs=tlv(0xEE, bytes(LONGEST - 31)))
    assert len(header) == LONGEST
    assert read(header + BEHIND) == (ProxyHeader(2, *PARSED4, ((0xEE, bytes(LONGEST - 31)),)), BEHIND)


def test_what_the_tlvs_say():
    header, _ = read(block(tlvs=tlv(1, b"http/1.1") + tlv(2, "bücher.example".encode()) + tlv(2, b"second")))
    assert header.alpn == b"http/1.1"
    assert header.authority == "bücher.example"
    assert read(block())[0].alpn is None
    assert read(block())[0].authority is None
    assert read(block(tlvs=tlv(2, b"\xff")))[0].authority == "\N{REPLACEMENT CHARACTER}"


def test_checksums():
    good = summed(block(tlvs=tlv(1, b"h2") + tlv(3, bytes(4))))
    assert [kind for kind, _ in read(good)[0].tlvs] == [1, 3]
    bad = good.replace(b"h2", b"h3")
    with pytest.raises(ProxyProtocolError, match="CRC32C"):
        read(bad)
    with pytest.raises(ProxyProtocolError, match="CRC32C has 4 bytes, got 3"):
        read(block(tlvs=tlv(3, bytes(3))))


def test_the_check_value_of_crc32c():
    """The vectors of RFC 3720, appendix B.4, and the check value of the catalogues."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED = [
    (b"GET / HTTP/1.1\r\n", "expected a PROXY protocol header, got b'GET / HTTP/1.1"),
    (b"\x16\x03\x01\x02\x00", "expected a PROXY protocol header"),
    (b"PROXX", "expected a PROXY protocol header"),
    (b"\r\n\r\n\0\r\nQUIT\r", "expected a PROXY protocol header"),
    (b"PROXY TCP4 " + b"1" * 96, "at most 107 bytes"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\n" + b"x" * 107, "at most 107 bytes"),
    (b"PROXY \r\n", "expected 'PROXY TCP4"),
    (b"PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n", "expected 'PROXY TCP4"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n", "expected 'PROXY TCP4"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n", "expected 'PROXY TCP4"),
    (b"PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n", "expected 'PROXY TCP4"),
    (b"PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n", "no IPv4Address b'203.0.113.07'"),
    (b"PROXY TCP4 ::1 192.0.2.1 1 2\r\n", "no IPv4Address"),
    (b"PROXY TCP6 203.0.113.7 ::1 1 2\r\n", "no IPv6Address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "cannot have a zone"),
    (b"PROXY TCP4 \xff 192.0.2.1 1 2\r\n", "no IPv4Address"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n", "port from 0 to 65535, got b'65536'"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n", "port from 0 to 65535, got b'01'"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 -2\r\n", "port from 0 to 65535, got b'-2'"),
    (block(command=0x11), "version 2 and the command"),
    (block(command=0x22), "version 2 and the command"),
    (block(0x12), "expected TCP4, TCP6, UNIX or UNSPEC"),
    (block(0x41), "expected TCP4, TCP6, UNIX or UNSPEC"),
    (block(addresses=TCP4[:-1]), "need 28 bytes, the header has 27"),
    (block(0x21), "need 52 bytes, the header has 28"),
    (block(0x31), "need 232 bytes, the header has 28"),
    (block(tlvs=b"\x01"), "TLV of type 0x01 at byte 28"),
    (block(tlvs=b"\x01\x00"), "TLV of type 0x01 at byte 28"),
    (block(tlvs=tlv(0xEE, b"") + b"\x02\x00\x02x"), "TLV of type 0x02 at byte 31"),
    (SIGNATURE + b"\x21\x11" + struct.pack("!H", LONGEST - 15), "4097 bytes is too long"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_refusals(data: bytes, message: str):
    with pytest.raises(ProxyProtocolError, match=message.replace("(", r"\(")):
        HeaderReader().take(data)


def test_whether_it_has_begun():
    reader = HeaderReader()
    assert not reader.begun
    assert reader.take(b"P") == 1
    assert (reader.begun, reader.header) == (True, None)


# -- in pieces ---------------------------------------------------------------------------------------------------------


def read_in_pieces(data: bytes, cuts: list[int]) -> tuple[ProxyHeader | None, int]:
    """Feed `data` cut at `cuts`, as a socket gives it; return the header and how many bytes it took."""
    reader, total, start = HeaderReader(), 0, 0
    for end in [*sorted(cuts), len(data)]:
        piece = data[start:end]
        if not piece:
            continue
        taken = reader.take(piece)
        assert 0 < taken <= len(piece)
        total += taken
        if reader.header is not None:
            break
        assert taken == len(piece)
        start = end
    return reader.header, total


@pytest.mark.parametrize("data", [data for data, _ in ACCEPTED])
def test_cut_anywhere(data: bytes):
    whole, rest = read(data + BEHIND)
    for cut in range(1, len(data) + 1):
        assert read_in_pieces(data + BEHIND, [cut]) == (whole, len(data))
    assert read_in_pieces(data + BEHIND, list(range(1, len(data)))) == (whole, len(data))
    assert rest == BEHIND


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 300), max_size=5))
@example(data=b"PROXY ", cuts=[1])
def test_any_bytes_are_a_header_or_one_error(data: bytes, cuts: list[int]):
    check_any(data, cuts)


@given(
    start=st.sampled_from([b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21", SIGNATURE + b"\x21\x11\x00"]),
    data=st.binary(max_size=60),
    cuts=st.lists(st.integers(1, 80), max_size=5),
)
def test_what_begins_well_is_a_header_or_one_error(start: bytes, data: bytes, cuts: list[int]):
    check_any(start + data, cuts)


def check_any(data: bytes, cuts: list[int]) -> None:
    """Check that `data` gives a header, wants more, or is refused: the same in one piece and in several."""
    outcomes: list[object] = []
    for places in ([], cuts):
        try:
            outcomes.append(read_in_pieces(data, places))
        except ProxyProtocolError as exc:
            outcomes.append(type(exc))
    assert outcomes[0] == outcomes[1]


TLVS = st.lists(st.tuples(st.integers(5, 255), st.binary(max_size=40)), max_size=6)
PORTS = st.integers(0, 65535)


@given(source=st.ip_addresses(v=4), destination=st.ip_addresses(v=4), ports=st.tuples(PORTS, PORTS), tlvs=TLVS)
def test_what_was_written_is_read(source, destination, ports, tlvs):
    addresses = source.packed + destination.packed + struct.pack("!HH", *ports)
    data = block(addresses=addresses, tlvs=b"".join(tlv(*one) for one in tlvs))
    expected = ProxyHeader(2, (str(source), ports[0]), (str(destination), ports[1]), tuple(tlvs))
    assert read(data + BEHIND) == (expected, BEHIND)
    line = f"PROXY TCP4 {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    assert read(line + BEHIND) == (ProxyHeader(1, expected.source, expected.destination), BEHIND)


@given(source=st.ip_addresses(v=6), destination=st.ip_addresses(v=6), ports=st.tuples(PORTS, PORTS))
def test_ipv6_is_written_as_sockets_write_it(source, destination, ports):
    data = block(0x21, source.packed + destination.packed + struct.pack("!HH", *ports))
    header, _ = read(data)
    assert header.source == (socket.inet_ntop(socket.AF_INET6, source.packed), ports[0], 0, 0)
    assert header.destination == (socket.inet_ntop(socket.AF_INET6, destination.packed), ports[1], 0, 0)
