"""The opening handshake: header fields in, header fields out, and every way to fail."""

import base64

import pytest

from structweb._wire.events import HeaderBlock
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits
from structweb._wire.websocket_deflate import DeflateParameters
from structweb._wire.websocket_handshake import (
    HandshakeError,
    accept_handshake,
    accept_key,
    check_response,
    request_handshake,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = [b"Upgrade: websocket", b"Connection: Upgrade"]
ASK = [*UPGRADE, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY]


def read(lines: list[bytes], version: bytes = b"1.1") -> HeaderBlock:
    """Return the block of a request as the server reads it."""
    wire = Http1(Limits())
    wire.feed(b"GET /ws HTTP/" + version + b"\r\nHost: a\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    head = wire.next_head()
    assert head is not None
    return head.block


def test_the_example_of_the_rfc():
    accepted = accept_handshake(read(ASK))
    assert accepted.fields == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", ACCEPT),
    ]
    assert (accepted.protocol, accepted.deflate, accepted.offered) == (None, None, ())


@pytest.mark.parametrize("version", [b"13", b"8", b"7"])
def test_versions(version):
    accept_handshake(read([*UPGRADE, b"Sec-WebSocket-Key: " + KEY, b"Sec-WebSocket-Version: " + version]))


@pytest.mark.parametrize(
    "lines",
    [
        [b"upgrade: WebSocket", b"connection: keep-alive, upgrade"],
        [b"Upgrade: h2c, websocket", b"Connection: Upgrade"],
        [b"Upgrade: h2c", b"Upgrade: websocket", b"Connection: foo", b"Connection: UPGRADE"],
    ],
)
def test_ways_to_ask_for_an_upgrade(lines):
    accept_handshake(read([*lines, *ASK[2:]]))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (ASK[2:], "expected a WebSocket handshake, got a request without Upgrade"),
        ([b"Connection: Upgrade", *ASK[2:]], "expected a WebSocket handshake, got a request without Upgrade"),
        ([ASK[0], *ASK[2:]], "expected HTTP/1.1 and 'Connection: Upgrade', got ''"),
        (
            [ASK[0], b"Connection: keep-alive", *ASK[2:]],
            "expected HTTP/1.1 and 'Connection: Upgrade', got 'keep-alive'",
        ),
        ([b"Upgrade: h2c", *ASK[1:]], "expected 'Upgrade: websocket', got 'h2c'"),
        ([b"Upgrade: websocket2", *ASK[1:]], "expected 'Upgrade: websocket', got 'websocket2'"),
        ([*UPGRADE, ASK[3]], "expected a Sec-WebSocket-Version of 13, 8, 7, got ''"),
        ([*UPGRADE, b"Sec-WebSocket-Version: 14", ASK[3]], "got '14'"),
        ([*UPGRADE, b"Sec-WebSocket-Version: 13, 8", ASK[3]], "got '13, 8'"),
        ([*UPGRADE, b"Sec-WebSocket-Version: \xef\xbc\x91\xef\xbc\x93", ASK[3]], "expected a Sec-WebSocket-Version"),
        ([*ASK, b"Sec-WebSocket-Version: 13"], "got '13,13'"),
        (ASK[:3], "expected one Sec-WebSocket-Key of 16 bytes in base64, got []"),
        ([*ASK, ASK[3]], "expected one Sec-WebSocket-Key"),
        ([*ASK[:3], b"Sec-WebSocket-Key:"], "expected one Sec-WebSocket-Key"),
        ([*ASK[:3], b"Sec-WebSocket-Key: " + base64.b64encode(bytes(15))], "expected one Sec-WebSocket-Key"),
        ([*ASK[:3], b"Sec-WebSocket-Key: " + base64.b64encode(bytes(17))], "expected one Sec-WebSocket-Key"),
        ([*ASK[:3], b"Sec-WebSocket-Key: !!!!" + KEY], "expected one Sec-WebSocket-Key"),
        # These last bits belong to no byte.
        ([*ASK[:3], b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="], "expected one Sec-WebSocket-Key"),
        ([*ASK[:3], b"Sec-WebSocket-Key: \xff" + KEY[1:]], "expected one Sec-WebSocket-Key"),
    ],
)
def test_a_handshake_that_fails_is_answered_400(lines, message):
    with pytest.raises(HandshakeError) as caught:
        accept_handshake(read(lines))
    assert caught.value.status == 400
    assert message in caught.value.message


def test_http_1_0_knows_no_upgrade():
    with pytest.raises(HandshakeError, match=r"expected HTTP/1.1"):
        accept_handshake(read(ASK, b"1.0"))


def test_an_unknown_version_is_told_which_are_known():
    with pytest.raises(HandshakeError) as caught:
        accept_handshake(read([*UPGRADE, b"Sec-WebSocket-Version: 99", ASK[3]]))
    assert caught.value.fields == (("Sec-WebSocket-Version", "13, 8, 7"),)


@pytest.mark.parametrize(
    ("lines", "protocol", "offered"),
    [
        ([b"Sec-WebSocket-Protocol: b, a"], "b", ("b", "a")),  # the client's order counts
        ([b"Sec-WebSocket-Protocol: x", b"Sec-WebSocket-Protocol: a"], "a", ("x", "a")),
        ([b"Sec-WebSocket-Protocol: ,,\tx ,"], None, ("x",)),
        ([b"Sec-WebSocket-Protocol: A"], None, ("A",)),
        ([b"Sec-WebSocket-Protocol: \xc3\xa9, a"], "a", ("Ã©", "a")),
        ([b"Sec-WebSocket-Protocol:"], None, ()),
    ],
)
def test_subprotocols(lines, protocol, offered):
    accepted = accept_handshake(read([*ASK, *lines]), protocols=["a", "b"])
    assert (accepted.protocol, accepted.offered) == (protocol, offered)
    assert dict(accepted.fields).get("Sec-WebSocket-Protocol") == protocol


def test_compression_is_agreed_on_across_lines():
    lines = [b"Sec-WebSocket-Extensions: foo", b"sec-websocket-extensions: permessage-deflate; client_max_window_bits"]
    accepted = accept_handshake(read([*ASK, *lines]))
    assert accepted.deflate == DeflateParameters()
    assert ("Sec-WebSocket-Extensions", "permessage-deflate") in accepted.fields


def test_compression_with_a_window_of_our_own():
    accepted = accept_handshake(read([*ASK, b"Sec-WebSocket-Extensions: permessage-deflate"]), compress=11)
    assert accepted.deflate == DeflateParameters(server_max_window_bits=11)


@pytest.mark.parametrize("compress", [8, 16, -1])
def test_a_window_that_zlib_does_not_have(compress):
    with pytest.raises(ValueError, match="compress must be a bool or the bits of a window, 9 to 15"):
        accept_handshake(read(ASK), compress=compress)
    with pytest.raises(ValueError, match="compress must be a bool"):
        request_handshake(compress=compress)


@pytest.mark.parametrize(
    ("line", "compress"),
    [
        (b"permessage-deflate", False),
        (b"permessage-deflate", 0),
        (b"permessage-deflate; server_max_window_bits=8", True),
        (b"permessage-deflate; \xff", True),
    ],
)
def test_compression_that_is_not_agreed_on_is_no_error(line, compress):
    accepted = accept_handshake(read([*ASK, b"Sec-WebSocket-Extensions: " + line]), compress=compress)
    assert accepted.deflate is None
    assert "Sec-WebSocket-Extensions" not in dict(accepted.fields)


# -- the client's side

GOOD = [
    (b"upgrade", b"WebSocket"),
    (b"Connection", b"keep-alive, upgrade"),
    (b"Sec-WebSocket-Accept", ACCEPT.encode()),
]


def test_a_client_asks_with_a_fresh_key():
    one, two = request_handshake(), request_handshake(compress=False)
    assert one.key != two.key
    assert len(base64.b64decode(one.key)) == 16
    assert dict(two.fields) == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": two.key.decode(),
        "Sec-WebSocket-Version": "13",
    }


@pytest.mark.parametrize("compress", [True, False, 10])
@pytest.mark.parametrize("protocols", [[], ["x", "a"]])
def test_client_and_server_agree(compress, protocols):
    request = request_handshake(protocols=protocols, compress=compress)
    block = read([f"{name}: {value}".encode() for name, value in request.fields])
    accepted = accept_handshake(block, protocols=["a"])
    agreed = check_response(request, 101, [(name.encode(), value.encode()) for name, value in accepted.fields])
    assert agreed.protocol == accepted.protocol == ("a" if protocols else None)
    assert (agreed.deflate is None) is (accepted.deflate is None) is (compress is False)
    assert agreed.offered == tuple(protocols)


@pytest.mark.parametrize(
    ("status", "fields", "message"),
    [
        (200, GOOD, "expected status 101, got 200"),
        (101, GOOD[1:], "expected 'Upgrade: websocket', got ''"),
        (101, [(b"Upgrade", b"websocket, h2c"), *GOOD[1:]], "expected 'Upgrade: websocket'"),
        (101, [GOOD[0], (b"Connection", b"close"), GOOD[2]], "expected 'Connection: Upgrade', got 'close'"),
        (101, GOOD[:2], f"expected Sec-WebSocket-Accept: {ACCEPT}, got ''"),
        (101, [*GOOD, GOOD[2]], "expected Sec-WebSocket-Accept"),
        (101, [*GOOD[:2], (b"Sec-WebSocket-Accept", ACCEPT.lower().encode())], "expected Sec-WebSocket-Accept"),
        (101, [*GOOD, (b"Sec-WebSocket-Protocol", b"z")], "expected a subprotocol out of ('a',), got 'z'"),
        (101, [*GOOD, (b"Sec-WebSocket-Protocol", b"a, a")], "expected a subprotocol"),
        (101, [*GOOD, (b"Sec-WebSocket-Extensions", b"foo")], "expected extensions that were offered, got 'foo'"),
        (101, [*GOOD, (b"Sec-WebSocket-Extensions", b"permessage-deflate, foo")], "expected extensions"),
        (101, [*GOOD, (b"Sec-WebSocket-Extensions", b"permessage-deflate; x")], "expected extensions"),
        (101, [*GOOD, (b"Sec-WebSocket-Extensions", b"permessage-deflate; x; x")], "expected extensions"),
        (101, [*GOOD, (b"Sec-WebSocket-Extensions", b"\xff")], "expected extensions"),
    ],
)
def test_a_client_gives_up(status, fields, message):
    request = request_handshake(protocols=["a"], key=KEY)
    with pytest.raises(HandshakeError) as caught:
        check_response(request, status, fields)
    assert message in caught.value.message


def test_a_client_that_offered_no_compression_takes_none():
    fields = [*GOOD, (b"Sec-WebSocket-Extensions", b"permessage-deflate")]
    with pytest.raises(HandshakeError, match="expected extensions that were offered"):
        check_response(request_handshake(compress=False, key=KEY), 101, fields)
    assert check_response(request_handshake(key=KEY), 101, fields).deflate == DeflateParameters()


def test_the_key_of_the_rfc():
    assert accept_key(KEY) == ACCEPT


@pytest.mark.parametrize("protocols", [["a", "a"], ["a b"], ["a,b"], [""], ["é"], ["a\r\nX: y"]])
def test_subprotocols_that_cannot_be_asked_for(protocols):
    with pytest.raises(ValueError, match="subprotocols must be tokens"):
        request_handshake(protocols=protocols)
