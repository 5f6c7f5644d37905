"""The law of the lane: what it takes, wsproto reads the same; from all else it stays out."""

import itertools
import zlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import CLIENT, SERVER, Connection
from wsproto.events import BytesMessage, TextMessage

from structweb._wire.websocket import Binary, Text, WebSocketError, WebSocketLimits, WebSocketWire
from structweb._wire.websocket_deflate import DeflateParameters
from structweb._wire.websocket_guard import Codec
from structweb._wire.websocket_lane import BINARY, TEXT, Lane, frame_size, plain_frame
from tests.fuzz.frames import KEYS, frame
from tests.fuzz.websockets import TINY, difference, minimal, setting, stream, transcript

SEEDS = st.integers(0, 1 << 32)
KEY = KEYS[1]
LIMITS = WebSocketLimits()


def agree(seed: int) -> None:
    """Check one generated stream; a difference is shown by the shortest stream that makes it."""
    chosen, data = stream(seed)
    if difference(data, chosen, seed) is not None:
        data = minimal(data, chosen, seed)
        pytest.fail(f"{data!r} (seed {seed})\n{difference(data, chosen, seed)}")


@settings(max_examples=400, deadline=None)
@given(SEEDS)
def test_lane_and_wsproto_agree_in_one_piece_and_in_many(seed):
    agree(seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(20))
def test_lane_and_wsproto_agree_on_100_000_inputs(block):
    for seed in range(block * 5000, (block + 1) * 5000):
        agree(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_every_split_gives_the_same_events(seed, express):
    """Each stream is cut once at each of its bytes."""
    chosen, data = stream(seed)
    data = data[:200]
    whole = transcript([data], chosen, express=express)
    for cut in range(len(data)):
        assert transcript([data[:cut], data[cut:]], chosen, express=express) == whole, data[:cut]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=12), SEEDS, st.booleans())
def test_any_bytes_give_events_or_an_error_and_bounded_memory(pieces, seed, express):
    chosen = setting(Random(seed))._replace(limits=TINY)
    wire = WebSocketWire(client=chosen.client, limits=TINY, deflate=chosen.deflate, express=express)
    error = None
    for piece in pieces:
        wire.feed(piece)
        try:
            while wire.next_event() is not None:
                assert error is None
        except WebSocketError as exc:
            assert error is None
            error = exc
            assert error.code in (1002, 1007, 1008, 1009)
        assert wire.buffered <= TINY.message + 14  # type: ignore[operator]  # it is a number


# -- what it takes

SIZES = [0, 1, 125, 126, 127, 65535, 65536]
SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def key_for(client: bool) -> bytes | None:
    return None if client else KEY


@SIDES
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_it_takes_plain_frames_of_any_size(client, size, kind):
    lane = Lane(LIMITS, client=client, decode_text=True)
    data = b"??" + frame(TEXT & 15, b"x" * size, key=key_for(client)) + b"??"
    assert lane.take(kind(data), 2) == Text("x" * size)
    assert lane.end == len(data) - 2
    data = frame(BINARY & 15, b"x" * size, key=key_for(client))
    event = lane.take(kind(data), 0)
    assert event == Binary(b"x" * size)
    assert type(event.data) is bytes


def test_text_may_stay_as_it_came():
    lane = Lane(LIMITS, client=False, decode_text=False)
    assert lane.take(frame(TEXT & 15, b"\xff", key=KEY), 0) == Text(b"\xff")


@SIDES
@pytest.mark.parametrize("decode_text", [True, False])
def test_it_takes_compressed_frames_where_there_may_be_any(client, decode_text):
    def packed(opcode: int, payload: bytes) -> bytes:
        deflated = (engine.compress(payload) + engine.flush(zlib.Z_SYNC_FLUSH))[:-4]
        return frame(opcode, deflated, key=key_for(client), rsv=4)

    codec = Codec(DeflateParameters(), client=client)
    lane = Lane(LIMITS, client=client, decode_text=decode_text, codec=codec)
    for size in (0, 5, 5000):
        engine = zlib.compressobj(0 if size > 5 else 9, zlib.DEFLATED, -15)
        text = b"x" * size
        for look in (lambda data: lane.take(b"??" + data + b"??", 2), lane.take if client else lane.only):
            args = (0,) if look == lane.take else ()
            assert look(packed(TEXT & 15, text), *args) == Text(text.decode() if decode_text else text)
            assert look(packed(BINARY & 15, text), *args) == Binary(text)
    assert Lane(LIMITS, client=client, decode_text=True).take(packed(BINARY & 15, b"x"), 0) is None


@SIDES
@pytest.mark.parametrize(
    "data",
    [
        {"opcode": 0, "payload": b"x"},
        {"opcode": 1, "payload": b"x", "fin": False},
        {"opcode": 2, "payload": b"x", "fin": False},
        {"opcode": 8, "payload": b""},
        {"opcode": 9, "payload": b"x"},
        {"opcode": 10, "payload": b"x"},
        {"opcode": 3, "payload": b"x"},
        {"opcode": 1, "payload": b"x", "rsv": 4},
        {"opcode": 2, "payload": b"x", "rsv": 2},
        {"opcode": 2, "payload": b"x", "rsv": 1},
        {"opcode": 1, "payload": b"\xff"},
        {"opcode": 1, "payload": b"x\xe2\x82"},
        {"opcode": 2, "payload": b"x" * 125, "form": 2},
        {"opcode": 2, "payload": b"x" * 125, "form": 8},
        {"opcode": 2, "payload": b"x" * 65535, "form": 8},
        {"opcode": 2, "payload": b"x" * 99, "length": 100},
        {"opcode": 2, "payload": b"x" * 999, "length": 1000},
        {"opcode": 2, "payload": b"", "length": 1 << 63},
    ],
    ids=str,
)
def test_it_stays_out_of_all_else(client, data):
    lane = Lane(LIMITS, client=client, decode_text=True)
    assert lane.take(frame(**data, key=key_for(client)), 0) is None
    assert lane.only(frame(**data, key=key_for(client))) is None


@SIDES
@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize("size", [1, 125, 126, 65536])
def test_it_stays_out_of_what_is_masked_wrongly(client, opcode, size):
    lane = Lane(LIMITS, client=client, decode_text=True)
    data = frame(opcode, b"x" * size, key=key_for(not client))
    assert lane.take(data, 0) is None
    assert lane.only(data) is None
    assert not lane.waits(data[:-1], 0)


@SIDES
@pytest.mark.parametrize("limits", [WebSocketLimits(message=100), WebSocketLimits(message=None, frame=100)])
def test_it_stays_out_of_what_is_too_long(client, limits):
    lane = Lane(limits, client=client, decode_text=True)
    assert lane.take(frame(2, b"x" * 100, key=key_for(client)), 0) is not None
    data = frame(2, b"x" * 101, key=key_for(client))
    assert lane.take(data, 0) is None
    assert lane.only(data) is None
    assert not lane.waits(data[:-1], 0)


@SIDES
@pytest.mark.parametrize("size", [0, 5, 126, 65536])
def test_it_stays_out_of_what_is_not_complete(client, size):
    lane = Lane(LIMITS, client=client, decode_text=True)
    for opcode in (1, 2):
        data = frame(opcode, b"x" * size, key=key_for(client))
        for end in (*range(20), len(data) - 1):
            if end < len(data):
                assert lane.take(data[:end], 0) is None
                assert lane.only(data[:end]) is None


@SIDES
@pytest.mark.parametrize("size", [5, 126, 65536])
def test_binary_frames_are_waited_for(client, size):
    header = len(frame(2, b"x" * size, key=key_for(client))) - size
    for opcode, decode_text, waits in ((2, True, True), (1, False, True), (1, True, False), (9, True, False)):
        lane = Lane(LIMITS, client=client, decode_text=decode_text)
        data = (
            frame(opcode, b"x" * 5, key=key_for(client))
            if opcode == 9
            else frame(opcode, b"x" * size, key=key_for(client))
        )
        assert lane.waits(data[: header - 1], 0) is False
        assert lane.waits(data[:header], 0) is waits
        assert lane.waits(data[:-1], 0) is waits
        assert lane.waits(data, 0) is False


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535])
def test_a_masked_frame_that_is_all_there_is_takes_one_look(size):
    lane = Lane(LIMITS, client=False, decode_text=True)
    text, binary = frame(1, b"x" * size, key=KEY), frame(2, b"x" * size, key=KEY)
    assert lane.only(text) == Text("x" * size)
    assert lane.only(binary) == Binary(b"x" * size)
    assert lane.only(binary + b"\x82") is None
    assert lane.only(binary + binary) is None
    assert Lane(LIMITS, client=False, decode_text=False).only(frame(1, b"\xff" * size, key=KEY)) == Text(b"\xff" * size)


def test_one_look_at_a_piece_sees_what_the_lane_would():
    """Whatever its second byte says, and whatever its size: a frame of 64 KiB may begin with a piece of 133 bytes."""
    lane = Lane(LIMITS, client=False, decode_text=True)
    for said, size, length in itertools.product(range(256), range(300), (0, 1, 125, 126, 127, None)):
        extended = ((size - 8 if length is None else length) & 0xFFFF).to_bytes(2, "big")
        piece = (bytes((BINARY, said)) + extended + KEY * 75)[:size]
        taken = lane.take(piece, 0)
        whole = taken if taken is not None and lane.end == len(piece) else None
        assert lane.only(piece) == whole, piece


def test_what_is_all_there_is_has_the_same_limits():
    for size, opcode in itertools.product((10, 300), (1, 2)):
        lane = Lane(WebSocketLimits(message=size), client=False, decode_text=True)
        assert lane.only(frame(opcode, b"x" * size, key=KEY)) is not None
        assert lane.only(frame(opcode, b"x" * (size + 1), key=KEY)) is None
        assert lane.only(frame(opcode, b"x" * (size + 3), key=KEY)) is None


class Watched(bytes):
    """Counts the bytes that are cut out of it."""

    cut = 0

    def __getitem__(self, key):
        found = bytes.__getitem__(self, key)
        if isinstance(found, bytes):
            Watched.cut += len(found)
        return found


@pytest.mark.parametrize("odd", [b"", frame(9, b"", key=KEY)])
def test_many_frames_in_one_piece_are_cut_out_once(odd):
    data = Watched((frame(1, b"hello", key=KEY) + odd) * 2000)
    Watched.cut = 0
    wire = WebSocketWire(limits=LIMITS)
    wire.feed(data)
    count = 0
    while wire.next_event() is not None:
        count += 1
    assert count == (4000 if odd else 2000)
    assert Watched.cut < 4 * len(data)


# -- what it makes


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_those_of_wsproto(size):
    connection = Connection(SERVER)
    assert plain_frame(TEXT, b"x" * size, masked=False) == connection.send(TextMessage("x" * size))
    assert plain_frame(BINARY, b"x" * size, masked=False) == connection.send(BytesMessage(b"x" * size))


@pytest.mark.parametrize("size", SIZES)
def test_masked_frames_are_read_by_wsproto(size):
    connection = Connection(SERVER)
    one, two = (plain_frame(BINARY, b"x" * size, masked=True) for _ in range(2))
    start = len(one) - size
    assert one[start - 4 : start] != two[start - 4 : start]
    assert len(one) == len(Connection(CLIENT).send(BytesMessage(b"x" * size)))
    connection.receive_data(one + plain_frame(TEXT, b"x" * size, masked=True))
    assert list(connection.events()) == [BytesMessage(b"x" * size), TextMessage("x" * size)]


@SIDES
@pytest.mark.parametrize("size", SIZES)
def test_the_size_of_a_frame_is_in_its_header(client, size):
    data = frame(2, b"x" * size, key=key_for(client))
    head = len(data) - size - (0 if client else 4)
    for end in range(head):
        assert frame_size(data[:end]) is None
    assert frame_size(data[:head]) == len(data)
