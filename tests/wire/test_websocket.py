"""One WebSocket as pure state: bytes go in, whole messages come out; messages in, bytes out."""

import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.websocket import (
    Binary,
    Close,
    ClosedError,
    ConnectionState,
    More,
    Ping,
    Pong,
    Text,
    WebSocketError,
    WebSocketLimits,
    WebSocketWire,
)
from structweb._wire.websocket_deflate import DeflateParameters
from tests.fuzz.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.fuzz.websockets import read

KEY = b"\x37\xfa\x21\x3d"
LIMITS = WebSocketLimits()

pytestmark = pytest.mark.parametrize("express", [True, False], ids=["lane", "wsproto"])


def make(express: bool, *, client: bool = False, deflate: DeflateParameters | None = None) -> WebSocketWire:
    return WebSocketWire(client=client, limits=LIMITS, deflate=deflate, express=express)


STEPS = pytest.mark.parametrize("step", [None, 1, 3], ids=["whole", "bytes", "pieces"])


# -- reading


@STEPS
def test_the_examples_of_the_rfc(express, step):
    """RFC 6455 section 5.7, as a client sends them, and as a server does."""
    masked = bytes.fromhex("818537fa213d7f9f4d5158")
    assert read(make(express), masked, step) == [Text("Hello")]
    fragments = bytes.fromhex("010348656c 80026c6f")
    client = make(express, client=True)
    assert read(client, bytes.fromhex("810548656c6c6f") + fragments, step) == [Text("Hello"), Text("Hello")]
    assert read(client, bytes.fromhex("890548656c6c6f"), step) == [Ping(b"Hello")]
    assert read(make(express), bytes.fromhex("8a8537fa213d7f9f4d5158"), step) == [Pong(b"Hello")]
    assert read(client, b"\x82\x7e\x01\x00" + bytes(256), step) == [Binary(bytes(256))]
    assert read(client, b"\x82\x7f" + (65536).to_bytes(8, "big") + bytes(65536), 5000) == [Binary(bytes(65536))]


@STEPS
def test_control_frames_come_between_fragments(express, step):
    data = (
        frame(TEXT, b"one", key=KEY)
        + frame(BINARY, b"a", key=KEY, fin=False)
        + frame(PING, b"1", key=KEY)
        + frame(CONTINUATION, b"b", key=KEY, fin=False)
        + frame(PONG, b"2", key=KEY)
        + frame(CONTINUATION, b"c", key=KEY)
        + frame(TEXT, "zwölf".encode(), key=KEY)
    )
    expected = [Text("one"), Ping(b"1"), Pong(b"2"), Binary(b"abc"), Text("zwölf")]
    assert read(make(express), data, step) == expected


def test_a_flood_of_fragments_is_read_in_pieces(express):
    """What comes in one piece need not be taken in one turn: others have work to do, too."""
    wire = make(express)
    wire.feed(frame(TEXT, b"a", key=KEY, fin=False) + frame(CONTINUATION, b"", key=KEY, fin=False) * 5000)
    mores = 0
    while (event := wire.next_event()) is not None:
        assert event == More()
        mores += 1
    assert 16 <= mores <= 80
    wire.feed(frame(CONTINUATION, b"b", key=KEY))
    assert wire.next_event() == Text("ab")
    assert wire.next_event() is None


def test_bytes_wait_until_somebody_asks(express):
    wire = make(express)
    hello = frame(TEXT, b"hello", key=KEY)
    for piece in (hello, hello + hello[:4], hello[4:] + hello, hello):
        wire.feed(piece)
    assert wire.buffered == 5 * len(hello)
    assert wire.next_event() == Text("hello")
    if express:
        assert wire.buffered == 4 * len(hello)
    wire.feed(hello)
    assert [wire.next_event() for _ in range(6)] == [Text("hello")] * 5 + [None]
    assert wire.buffered == 0


def test_a_piece_that_is_a_message_may_be_read_in_one_call(express):
    """Behind what was fed before, it keeps its place."""
    wire = make(express)
    message, ping = frame(1, b"hello", key=KEY), frame(9, b"?", key=KEY)
    for _ in range(2):
        assert (wire.feed_whole(message) or wire.next_event()) == Text("hello")
        assert wire.next_event() is None
        assert wire.feed_whole(ping) is None
        assert wire.feed_whole(message) is None
        assert [wire.next_event() for _ in range(3)] == [Ping(b"?"), Text("hello"), None]
        assert wire.feed_whole(message[:7]) is None
        assert wire.next_event() is None
        assert wire.feed_whole(message[7:]) is None
        assert [wire.next_event() for _ in range(2)] == [Text("hello"), None]
    assert wire.feed_whole(b"") is None
    assert wire.feed_whole(message) is None
    assert wire.buffered == len(message)
    assert [wire.next_event() for _ in range(3)] == [Text("hello"), Close(1006), None]
    assert wire.feed_whole(message) is None
    assert wire.next_event() is None


def test_a_silent_websocket_keeps_nothing(express):
    wire = make(express)
    piece = frame(TEXT, b"hello", key=KEY) * 2
    holders = sys.getrefcount(piece)
    assert read(wire, piece) == [Text("hello")] * 2
    assert sys.getrefcount(piece) == holders


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_an_unfinished_message_is_buffered(express, opcode):
    wire = make(express)
    assert read(wire, frame(opcode, b"a" * 100, key=KEY, fin=False)) == []
    assert wire.buffered == 100
    assert read(wire, frame(CONTINUATION, b"b" * 50, key=KEY)[:-10]) == []
    assert wire.buffered == 140
    assert len(read(wire, frame(CONTINUATION, b"b" * 50, key=KEY)[-10:])) == 1
    assert wire.buffered == 0


ERRORS = [
    # Who may mask what.
    (frame(TEXT, b"hello", key=None), 1002),
    (frame(PING, b"", key=None), 1002),
    # Opcodes and reserved bits.
    *[(frame(opcode, b"", key=KEY), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    *[(frame(TEXT, b"", key=KEY, rsv=rsv), 1002) for rsv in range(1, 8)],
    # Lengths.
    (frame(BINARY, b"x" * 125, key=KEY, form=2), 1002),
    (frame(BINARY, b"x" * 125, key=KEY, form=8), 1002),
    (frame(BINARY, b"x" * 65535, key=KEY, form=8), 1002),
    (frame(BINARY, b"", key=KEY, length=1 << 63), 1002),
    (frame(BINARY, b"", key=KEY, length=(1 << 63) - 1), 1009),
    (frame(TEXT, b"", key=KEY, length=(4 << 20) + 1), 1009),
    # Control frames.
    (frame(PING, b"x" * 126, key=KEY), 1002),
    (frame(PONG, b"x" * 126, key=KEY), 1002),
    (frame(CLOSE, b"\x03\xe8" + b"x" * 124, key=KEY), 1002),
    (frame(PING, b"", key=KEY, fin=False), 1002),
    (frame(CLOSE, b"", key=KEY, fin=False), 1002),
    # Fragments.
    (frame(CONTINUATION, b"", key=KEY), 1002),
    (frame(CONTINUATION, b"x", key=KEY, fin=False), 1002),
    (frame(TEXT, b"x", key=KEY, fin=False) + frame(TEXT, b"y", key=KEY), 1002),
    (frame(TEXT, b"x", key=KEY, fin=False) + frame(BINARY, b"", key=KEY, fin=False), 1002),
    # UTF-8.
    (frame(TEXT, b"\xff", key=KEY), 1007),
    (frame(TEXT, b"\xc3", key=KEY), 1007),
    (frame(TEXT, b"\xed\xa0\x80", key=KEY), 1007),
    (frame(TEXT, b"\xf4\x90\x80\x80", key=KEY), 1007),
    (frame(TEXT, b"\xc3", key=KEY, fin=False) + frame(CONTINUATION, b"\x28", key=KEY), 1007),
    # Close frames.
    (frame(CLOSE, b"\x03", key=KEY), 1002),
    *[
        (frame(CLOSE, code.to_bytes(2, "big"), key=KEY), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ],
    (frame(CLOSE, b"\x03\xe8\xff", key=KEY), 1007),
    (frame(CLOSE, b"\x03\xe8\xc3", key=KEY), 1007),
]


@pytest.mark.parametrize("step", [None, 1, 1000], ids=["whole", "bytes", "pieces"])
@pytest.mark.parametrize(("data", "code"), ERRORS)
def test_a_broken_rule_ends_it(express, data, code, step):
    wire = make(express)
    assert read(wire, frame(BINARY, b"before", key=KEY)) == [Binary(b"before")]
    with pytest.raises(WebSocketError) as caught:
        read(wire, data + frame(TEXT, b"behind", key=KEY), step)
    assert caught.value.code == code
    assert caught.value.reason
    # Once; what follows no longer counts; and we may say why.
    wire.feed(frame(TEXT, b"behind", key=KEY))
    wire.feed_eof()
    assert wire.next_event() is None
    assert wire.buffered == 0
    goodbye = wire.close(caught.value.code, caught.value.reason)
    assert goodbye[2:4] == code.to_bytes(2, "big")
    assert wire.state is ConnectionState.LOCAL_CLOSING


def test_a_client_takes_no_masked_frame(express):
    with pytest.raises(WebSocketError, match="masked"):
        read(make(express, client=True), frame(TEXT, b"x", key=KEY))


# Python waits for the third byte of what may be a surrogate.
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90"])
def test_wrong_utf_8_is_seen_before_the_frame_is_complete(express, bad):
    wire = make(express)
    data = frame(TEXT, b"x" * 20 + bad + b"x" * 1000, key=KEY)
    with pytest.raises(WebSocketError, match=r"\(1007\)"):
        read(wire, data[: 8 + 20 + len(bad)], 5)


def test_a_character_may_be_cut_anywhere(express):
    text = "é€😀"
    data = text.encode()
    for cut in range(len(data) + 1):
        frames = frame(TEXT, data[:cut], key=KEY, fin=False) + frame(CONTINUATION, data[cut:], key=KEY)
        assert read(make(express), frames, 1) == [Text(text)]


# -- the end


@STEPS
@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b"", Close(1005)),
        (b"\x03\xe8", Close(1000)),
        (b"\x03\xe9going", Close(1001, "going")),
        (b"\x0b\xb8", Close(3000)),
        (b"\x13\x87" + "é".encode() * 61, Close(4999, "é" * 61)),
        *[(code.to_bytes(2, "big"), Close(code)) for code in (1002, 1003, *range(1007, 1015))],
    ],
)
def test_the_peer_closes(express, payload, event, step):
    wire = make(express)
    data = frame(TEXT, b"last", key=KEY) + frame(CLOSE, payload, key=KEY) + frame(TEXT, b"behind", key=KEY)
    assert read(wire, data, step) == [Text("last"), event]
    assert wire.state is ConnectionState.REMOTE_CLOSING
    assert wire.buffered == 0
    with pytest.raises(ClosedError, match="cannot send a text message: the WebSocket is REMOTE_CLOSING"):
        wire.text("x")
    answer = wire.close(event.code)
    assert answer == (b"\x88\x00" if event.code == 1005 else b"\x88\x02" + event.code.to_bytes(2, "big"))
    assert wire.state is ConnectionState.CLOSED
    wire.feed(b"more")
    wire.feed_eof()
    assert wire.next_event() is None


def test_we_close(express):
    wire = make(express)
    assert wire.close(1001, "going") == b"\x88\x07\x03\xe9going"
    assert wire.state is ConnectionState.LOCAL_CLOSING
    # What the peer had to say is still heard, and so is its answer.
    assert read(wire, frame(TEXT, b"x", key=KEY) + frame(PING, b"", key=KEY)) == [Text("x"), Ping(b"")]
    assert read(wire, frame(CLOSE, b"\x03\xe9", key=KEY)) == [Close(1001)]
    assert wire.state is ConnectionState.CLOSED


@pytest.mark.parametrize(
    "data",
    [b"", frame(TEXT, b"x", key=KEY)[:-1], frame(BINARY, b"x", key=KEY)[:-1], frame(TEXT, b"x", key=KEY, fin=False)],
)
@pytest.mark.parametrize("closing", [True, False])
def test_the_peer_goes_without_a_close_frame(express, data, closing):
    wire = make(express)
    if closing:
        wire.close()
    wire.feed(frame(TEXT, b"last", key=KEY) + data)
    wire.feed_eof()
    assert [wire.next_event() for _ in range(3)] == [Text("last"), Close(1006), None]
    assert wire.state is ConnectionState.CLOSED
    assert wire.buffered == 0
    with pytest.raises(ClosedError, match="cannot send a pong: the WebSocket is CLOSED"):
        wire.pong()
    with pytest.raises(ClosedError, match="cannot send a close frame"):
        wire.close()


@pytest.mark.parametrize(
    ("code", "reason", "sent"),
    [
        (1000, "", b"\x88\x02\x03\xe8"),
        (1005, "not sent", b"\x88\x00"),
        (1014, b"bytes", b"\x88\x07\x03\xf6bytes"),
        (4000, memoryview(b"view"), b"\x88\x06\x0f\xa0view"),
        # Cut, but not in a character.
        (1000, "é" * 100, b"\x88\x7c\x03\xe8" + "é".encode() * 61),
    ],
)
def test_close_frames(express, code, reason, sent):
    assert make(express).close(code, reason) == sent


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65536])
def test_codes_that_no_close_frame_may_carry(express, code):
    with pytest.raises(ValueError, match="close code must be one that RFC 6455 lets a frame carry"):
        make(express).close(code)


def test_reasons_that_are_no_text(express):
    wire = make(express)
    with pytest.raises(UnicodeDecodeError):
        wire.close(1000, b"\xff")
    with pytest.raises(TypeError, match="data must be bytes-like, got int"):
        wire.close(1000, 5)  # type: ignore[arg-type]  # what a user may do
    assert wire.state is ConnectionState.OPEN


# -- sending


def test_nothing_is_sent_behind_our_close_frame(express):
    wire = make(express)
    wire.close()
    for send in (wire.text, wire.binary, wire.ping, wire.pong):
        with pytest.raises(ClosedError, match=r"cannot send a .*: the WebSocket is LOCAL_CLOSING"):
            send(b"x")
    with pytest.raises(ClosedError, match="cannot send a close frame: the WebSocket is LOCAL_CLOSING"):
        wire.close()


def test_a_server_sends(express):
    wire = make(express)
    assert wire.text("é") == wire.text("é".encode()) == wire.text(bytearray("é".encode())) == b"\x81\x02\xc3\xa9"
    assert wire.binary(b"abc") == wire.binary(memoryview(b"abc")) == b"\x82\x03abc"
    assert wire.binary(memoryview(array("H", [0x6161, 0x6161]))) == b"\x82\x04aaaa"
    assert wire.ping() == b"\x89\x00"
    assert wire.ping("é") == b"\x89\x02\xc3\xa9"
    assert wire.pong(bytearray(b"x")) == b"\x8a\x01x"
    assert wire.binary(bytes(70000)) == b"\x82\x7f" + (70000).to_bytes(8, "big") + bytes(70000)


def test_what_cannot_be_sent(express):
    wire = make(express)
    with pytest.raises(UnicodeDecodeError):
        wire.text(b"\xff")
    with pytest.raises(UnicodeEncodeError):
        wire.text("\ud800")
    for send in (wire.text, wire.binary, wire.ping, wire.pong):
        with pytest.raises(TypeError, match="data must be bytes-like, got int"):
            send(3)  # type: ignore[operator]  # what a user may do
    with pytest.raises(TypeError, match="data must be bytes-like, got str"):
        wire.binary("x")  # type: ignore[arg-type]  # the same
    for send in (wire.ping, wire.pong):
        with pytest.raises(ValueError, match="a control frame holds at most 125 bytes, got 126"):
            send(b"x" * 126)
    assert wire.ping(b"x" * 125)[2:] == b"x" * 125


@pytest.mark.parametrize("deflate", [None, DeflateParameters()])
@pytest.mark.parametrize("compress", [8, 16, 1, 2, -9])
def test_windows_that_there_are_not(express, deflate, compress):
    wire = make(express, deflate=deflate)
    for send in (wire.text, wire.binary):
        with pytest.raises(ValueError, match=f"compress must be a bool, None, or the bits of a window, .* {compress}"):
            send(b"x", compress=compress)


def test_frames_by_opcode(express):
    wire = make(express)
    assert wire.frame("é", 1) == wire.frame("é".encode(), 1) == b"\x81\x02\xc3\xa9"
    assert wire.frame(b"x", 2, compress=True) == b"\x82\x01x"
    assert wire.frame(b"x", 9) == b"\x89\x01x"
    assert wire.frame(b"x", 10) == b"\x8a\x01x"
    for opcode in (0, 3, 11):
        with pytest.raises(ValueError, match=f"opcode must be 1, 2, 8, 9 or 10: .*, got {opcode}"):
            wire.frame(b"x", opcode)
    assert wire.frame(b"\x03\xe9bye", 8) == b"\x88\x05\x03\xe9bye"
    assert make(express).frame(b"", 8) == b"\x88\x00"
    with pytest.raises(ValueError, match="close code must be one"):
        make(express).frame(b"\x03", 8)


@given(
    st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=6),
    st.sampled_from([None, DeflateParameters(), DeflateParameters(client_no_context_takeover=True)]),
    st.booleans(),
    st.integers(1, 400),
)
def test_what_one_side_says_the_other_hears(express, messages, deflate, client, step):
    ours, theirs = make(express, client=client, deflate=deflate), make(express, client=not client, deflate=deflate)
    data = b"".join(ours.text(each) if isinstance(each, str) else ours.binary(each) for each in messages)
    data += ours.ping(b"?") + ours.close(1000, "done")
    expected = [Text(each) if isinstance(each, str) else Binary(each) for each in messages]
    assert read(theirs, data, step) == [*expected, Ping(b"?"), Close(1000, "done")]
