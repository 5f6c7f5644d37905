"""The limits hold on every path, a bomb takes no memory, and what wsproto is too old for gets through."""

import os
import tracemalloc
import zlib
from functools import cache

import pytest

from structweb._wire.websocket import (
    Binary,
    Close,
    Text,
    WebSocketError,
    WebSocketLimits,
    WebSocketWire,
)
from structweb._wire.websocket_deflate import DeflateParameters
from tests.fuzz.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from tests.fuzz.websockets import read

KEY = b"\x01\x02\x03\x04"
LANES = pytest.mark.parametrize("express", [True, False], ids=["lane", "wsproto"])
RSV1 = 4


def deflated(data: bytes, engine=None, *, bits: int = 15) -> bytes:
    engine = engine or zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (engine.compress(data) + engine.flush(zlib.Z_SYNC_FLUSH))[:-4]


def final(data: bytes) -> bytes:
    """Deflate in a stream that ends."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def wire(*, express: bool, deflate: DeflateParameters | None = None, decode_text: bool = True, **limits: int):
    return WebSocketWire(limits=WebSocketLimits(**limits), deflate=deflate, express=express, decode_text=decode_text)


def refusal(server: WebSocketWire, data: bytes, step: int | None = None) -> WebSocketError:
    with pytest.raises(WebSocketError) as caught:
        read(server, data, step)
    assert server.next_event() is None
    return caught.value


@LANES
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_may_be_as_long_as_the_limit(express, opcode):
    [event] = read(wire(express=express, message=1000), frame(opcode, b"x" * 1000, key=KEY))
    assert event in (Text("x" * 1000), Binary(b"x" * 1000))


@LANES
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_longer_one_is_refused_by_what_its_header_says(express, opcode):
    error = refusal(wire(express=express, message=1000), frame(opcode, b"", key=KEY, length=1001))
    assert (error.code, error.reason) == (1009, "message of 1001 bytes exceeds 1000")


@LANES
def test_fragments_count_together(express):
    server = wire(express=express, message=10)
    fragments = [frame(TEXT, b"x" * 6, key=KEY, fin=False), frame(CONTINUATION, b"", key=KEY, length=5)]
    assert read(server, frame(BINARY, bytes(10), key=KEY) + frame(BINARY, bytes(10), key=KEY))
    assert refusal(server, b"".join(fragments)).reason == "message of 11 bytes exceeds 10"


@LANES
def test_a_frame_has_a_limit_of_its_own(express):
    server = wire(express=express, frame=10)
    fragments = [frame(BINARY, bytes(10), key=KEY, fin=False), frame(CONTINUATION, bytes(10), key=KEY)]
    assert read(server, b"".join(fragments)) == [Binary(bytes(20))]
    error = refusal(server, frame(BINARY, b"", key=KEY, length=11))
    assert (error.code, error.reason) == (1009, "frame of 11 bytes exceeds 10")


@LANES
@pytest.mark.parametrize("step", [None, 1])
def test_fragments_have_a_limit(express, step):
    """Whether the mask of a frame comes with its header or later must make no difference."""
    empty = frame(CONTINUATION, b"", key=KEY, fin=False)
    first, last = frame(BINARY, b"", key=KEY, fin=False), frame(CONTINUATION, b"", key=KEY)
    server = wire(express=express, fragments=3)
    for _ in range(2):
        assert read(server, first + empty + frame(PING, b"", key=KEY) + last, step)[1:] == [Binary(b"")]
    error = refusal(server, first + empty + empty + last)
    assert (error.code, error.reason) == (1008, "message of more than 3 frames")


@LANES
def test_none_is_no_limit(express):
    server = WebSocketWire(
        limits=WebSocketLimits(message=None, fragments=None), deflate=DeflateParameters(), express=express
    )
    size = 5 << 20
    assert read(server, frame(BINARY, bytes(size), key=KEY)) == [Binary(bytes(size))]
    assert read(server, frame(BINARY, deflated(bytes(size)), key=KEY, rsv=RSV1)) == [Binary(bytes(size))]


# -- inflating


@LANES
@pytest.mark.parametrize("step", [None, 1, 7])
@pytest.mark.parametrize("decode_text", [True, False])
def test_a_compressed_message(express, step, decode_text):
    server = wire(express=express, deflate=DeflateParameters(), decode_text=decode_text)
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = "né à 7 h " * 20
    for _ in range(3):  # the window lives on
        data = deflated(text.encode(), engine)
        half = len(data) // 2
        frames = frame(TEXT, data[:half], key=KEY, fin=False, rsv=RSV1)
        frames += frame(PING, b"", key=KEY) + frame(CONTINUATION, data[half:], key=KEY)
        assert read(server, frames, step)[1:] == [Text(text if decode_text else text.encode())]
        assert read(server, frame(TEXT, b"plain", key=KEY), step) == [Text("plain" if decode_text else b"plain")]


@LANES
def test_a_message_that_inflates_to_the_limit(express):
    server = wire(express=express, message=1000, deflate=DeflateParameters())
    for size in (1000, 999, 0, 1000):
        packed = deflated(bytes(size))
        assert read(server, frame(BINARY, packed, key=KEY, rsv=RSV1)) == [Binary(bytes(size))]
    error = refusal(server, frame(BINARY, deflated(bytes(1001)), key=KEY, rsv=RSV1))
    assert (error.code, error.reason) == (1009, "message inflates to more than 1000 bytes")


@LANES
def test_what_does_not_compress_may_be_a_little_longer_than_the_limit(express):
    size = 1 << 20
    server = wire(express=express, message=size, deflate=DeflateParameters())
    data = os.urandom(size)
    packed = deflated(data)
    assert len(packed) > size
    assert read(server, frame(BINARY, packed, key=KEY, rsv=RSV1)) == [Binary(data)]


@LANES
def test_what_inflates_to_nothing_ends_as_well(express):
    server = wire(express=express, message=1000, deflate=DeflateParameters())
    nothing = b"\x00\x00\x00\xff\xff" * 200
    assert read(server, frame(BINARY, nothing, key=KEY, fin=False, rsv=RSV1)) == []
    error = refusal(server, frame(CONTINUATION, nothing + nothing, key=KEY, fin=False))
    assert (error.code, error.reason) == (1009, "message of 3000 bytes exceeds 1000")


@cache
def make_bomb() -> bytes:
    return frame(TEXT, deflated(bytes(200 << 20)), key=KEY, rsv=RSV1)


@LANES
@pytest.mark.parametrize("decode_text", [True, False])
def test_200_kb_that_inflate_to_200_mb_are_refused_with_flat_memory(express, decode_text):
    bomb = make_bomb()
    assert 200_000 < len(bomb) < 250_000
    limit = 1 << 20
    server = wire(express=express, message=limit, deflate=DeflateParameters(), decode_text=decode_text)
    tracemalloc.start()
    try:
        assert refusal(server, bomb).code == 1009
        assert tracemalloc.get_traced_memory()[1] < 6 * limit
    finally:
        tracemalloc.stop()


@LANES
@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_a_stream_may_end_with_its_message(express, padding):
    """RFC 7692 section 7.2.3.4; the RFC's sender adds a byte, zlib alone does not."""
    server = wire(express=express, deflate=DeflateParameters())
    for _ in range(40):
        assert read(server, frame(TEXT, final(b"Hello") + padding, key=KEY, rsv=RSV1)) == [Text("Hello")]
    two = final(b"He") + final(b"llo")
    assert read(server, frame(TEXT, two + padding, key=KEY, rsv=RSV1), 1) == [Text("Hello")]
    assert read(server, frame(TEXT, deflated(b"Hello"), key=KEY, rsv=RSV1)) == [Text("Hello")]


@LANES
def test_streams_that_end_all_the_time_are_refused(express):
    server = wire(express=express, deflate=DeflateParameters())
    error = refusal(server, frame(TEXT, final(b"") * 100_000, key=KEY, rsv=RSV1))
    assert (error.code, error.reason) == (1007, "message cannot be inflated: more than 16 streams in one message")


@LANES
@pytest.mark.parametrize("data", [b"\xff\xff", b"\x06", deflated(b"hello" * 9)[:-3] + b"\xff\xff\xff"])
def test_what_is_no_deflate_is_1007(express, data):
    error = refusal(wire(express=express, deflate=DeflateParameters()), frame(TEXT, data, key=KEY, rsv=RSV1))
    assert error.code == 1007
    assert error.reason.startswith("message cannot be inflated: ")


@LANES
@pytest.mark.parametrize("forget", [True, False])
def test_a_peer_that_forgets_its_window(express, forget):
    """Only what was agreed on counts: a message that looks back is wrong where nothing is remembered."""
    server = wire(express=express, deflate=DeflateParameters(client_no_context_takeover=forget))
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    first, second = deflated(b"hello, world" * 3, engine), deflated(b"hello, world" * 3, engine)
    assert read(server, frame(TEXT, first, key=KEY, rsv=RSV1)) == [Text("hello, world" * 3)]
    if forget:
        assert refusal(server, frame(TEXT, second, key=KEY, rsv=RSV1)).code == 1007
    else:
        assert read(server, frame(TEXT, second, key=KEY, rsv=RSV1)) == [Text("hello, world" * 3)]


@LANES
@pytest.mark.parametrize("decode_text", [True, False])
def test_what_is_refused_was_inflated_once(express, decode_text):
    """Looked at twice, these bytes that are no UTF-8 would be a text: they are told by their distance."""
    server = wire(express=express, deflate=DeflateParameters(), decode_text=decode_text)
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    wrong = bytes(range(0x80, 0xA0))
    before = wrong + bytes(range(64))
    assert read(server, frame(BINARY, deflated(before, engine), key=KEY, rsv=RSV1)) == [Binary(before)]
    packed = deflated(wrong, engine)
    assert len(packed) < 10
    if decode_text:
        error = refusal(server, frame(TEXT, packed, key=KEY, rsv=RSV1))
        assert (error.code, error.reason) == (
            1007,
            "'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte",
        )
    else:
        assert read(server, frame(TEXT, packed, key=KEY, rsv=RSV1)) == [Text(wrong)]


@LANES
@pytest.mark.parametrize(
    "data",
    [
        frame(PING, b"", key=KEY, rsv=RSV1),
        frame(CLOSE, b"", key=KEY, rsv=RSV1),
        frame(TEXT, b"", key=KEY, fin=False, rsv=RSV1) + frame(CONTINUATION, b"", key=KEY, rsv=RSV1),
        frame(TEXT, b"", key=KEY, rsv=2),
        frame(TEXT, b"", key=KEY, rsv=1),
        frame(TEXT, b"", key=KEY, rsv=5),
    ],
)
def test_reserved_bits_where_nothing_was_agreed_on(express, data):
    error = refusal(wire(express=express, deflate=DeflateParameters()), data)
    assert (error.code, error.reason) == (1002, "Reserved bit set unexpectedly")


@LANES
@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("data", [b"x" * 90, b"\xff\xff", b"\x06"])
def test_a_fragment_of_nothing_and_a_message_inside_of_another(express, step, data):
    """What their payload would have been refused for makes no difference, nor what came before."""
    before = frame(TEXT, deflated(b"x" * 90), key=KEY, rsv=RSV1)
    first = frame(TEXT, deflated(b"x" * 90), key=KEY, fin=False, rsv=RSV1)
    for prefix, opcode, reason in (
        (before, CONTINUATION, "expected a new message, got a fragment"),
        (before + first, BINARY, "expected the next fragment, got a new message"),
    ):
        server = wire(express=express, message=100, deflate=DeflateParameters())
        assert read(server, prefix) == [Text("x" * 90)]
        error = refusal(server, frame(opcode, data, key=KEY, rsv=RSV1 if opcode else 0), step)
        assert (error.code, error.reason) == (1002, reason)


@LANES
def test_what_is_inflated_counts_as_buffered(express):
    server = wire(express=express, deflate=DeflateParameters())
    packed = deflated(bytes(1000))
    assert read(server, frame(BINARY, packed, key=KEY, fin=False, rsv=RSV1)) == []
    assert server.buffered == 1000


# -- deflating

PARAMETERS = [
    DeflateParameters(),
    DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True),
    DeflateParameters(server_max_window_bits=9, client_max_window_bits=10),
]


@LANES
@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_what_we_compress_the_peer_reads(express, client, parameters):
    """Messages with a window of their own, and some that are not compressed, among others that share one."""
    ours = WebSocketWire(client=client, limits=WebSocketLimits(), deflate=parameters, express=express)
    theirs = WebSocketWire(client=not client, limits=WebSocketLimits(), deflate=parameters)
    text = "the quick brown fox, " * 50
    for compress in (None, True, 9, None, False, 15, 12, True, None):
        sent = ours.text(text, compress=compress)
        assert read(theirs, sent) == [Text(text)]
        assert (len(sent) < len(text)) is (compress is not False)
        assert read(theirs, ours.binary(text.encode(), compress=compress)) == [Binary(text.encode())]


def test_a_window_is_kept_only_if_that_was_agreed_on():
    for forget in (True, False):
        parameters = DeflateParameters(server_no_context_takeover=forget)
        server = WebSocketWire(limits=WebSocketLimits(), deflate=parameters)
        data = os.urandom(500)
        first, second = len(server.binary(data)), len(server.binary(data))
        assert first > 500
        assert (second > 500) is forget


def test_what_is_sent_looks_back_no_further_than_agreed():
    server = WebSocketWire(limits=WebSocketLimits(), deflate=DeflateParameters(server_max_window_bits=9))
    data = os.urandom(600)
    sent = server.binary(data + data)
    assert len(sent) > 1200
    assert zlib.decompressobj(-9).decompress(sent[4:] + b"\0\0\xff\xff") == data + data


def test_a_window_that_zlib_does_not_have_is_not_used():
    client = WebSocketWire(client=True, limits=WebSocketLimits(), deflate=DeflateParameters(client_max_window_bits=8))
    sent = client.text("x" * 100)
    assert sent[0] == 0x81
    assert len(sent) == 106


@LANES
@pytest.mark.parametrize("size", [0, 300])
def test_a_message_may_go_as_it_is(express, size):
    server = wire(express=express, deflate=DeflateParameters())
    for compress in (False, 0):
        assert server.text("x" * size, compress=compress)[0] == 0x81
        assert server.binary(b"x" * size, compress=compress)[0] == 0x82


@LANES
def test_nothing_is_compressed_without_an_agreement(express):
    server = wire(express=express)
    assert server.text("x" * 50, compress=True) == b"\x81\x32" + b"x" * 50
    assert server.binary(b"x" * 50, compress=12) == b"\x82\x32" + b"x" * 50


@LANES
def test_control_frames_are_never_compressed(express):
    server = wire(express=express, deflate=DeflateParameters())
    server.text("x")
    assert server.ping(b"x" * 50) == b"\x89\x32" + b"x" * 50


# -- 1014


@LANES
@pytest.mark.parametrize("step", [None, 1])
def test_close_code_1014_and_its_stand_in(express, step):
    assert read(wire(express=express), frame(CLOSE, b"\x03\xf6bad", key=KEY), step) == [Close(1014, "bad")]
    assert read(wire(express=express), frame(CLOSE, b"\x03\xf5later", key=KEY), step) == [Close(1013, "later")]


@LANES
def test_1014_in_a_ping_is_its_business(express):
    [ping] = read(wire(express=express), frame(PING, b"\x03\xf6bad", key=KEY))
    assert ping.data == b"\x03\xf6bad"
