"""Messages are whole, however their pieces came."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.websocket import Binary, Event, Text, WebSocketLimits, WebSocketWire
from tests.fuzz.frames import BINARY, CONTINUATION, TEXT, frame
from tests.fuzz.websockets import read

KEY = b"\x01\x02\x03\x04"


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.text(max_size=20), min_size=1, max_size=4)), max_size=4),
    st.integers(1, 60),
    st.booleans(),
    st.booleans(),
)
def test_fragments_are_joined(messages, step, decode_text, express):
    """Also line ends, and characters that are cut by the end of a fragment or of a piece."""
    server = WebSocketWire(limits=WebSocketLimits(), decode_text=decode_text, express=express)
    data = b""
    expected: list[Event] = []
    for is_text, parts in messages:
        opcode = TEXT if is_text else BINARY
        whole = "".join(parts).encode()
        at = 0
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            end = len(whole) if last else at + len(part)  # counted in characters: cuts some of them
            data += frame(opcode, whole[at:end], key=KEY, fin=last)
            at, opcode = end, CONTINUATION
        expected.append(Binary(whole) if not is_text else Text(whole.decode() if decode_text else whole))
    assert read(server, data, step) == expected


@pytest.mark.parametrize("express", [True, False])
def test_line_ends_are_left_alone(express):
    server = WebSocketWire(limits=WebSocketLimits(), express=express)
    frames = frame(TEXT, b"a\r\nb\r", key=KEY, fin=False) + frame(CONTINUATION, b"\nc\n", key=KEY)
    assert read(server, frames, len(frames)) == [Text("a\r\nb\r\nc\n")]


@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("decode_text", [True, False])
def test_what_comes_byte_by_byte_takes_little_more_than_its_size(express, opcode, decode_text):
    """A list of its pieces would take fifty times as much."""
    server = WebSocketWire(limits=WebSocketLimits(), express=express, decode_text=decode_text)
    size = 5000
    data = frame(opcode, b"x" * size, key=KEY, fin=False)
    assert read(server, data[:20], 1) == []
    tracemalloc.start()
    try:
        assert read(server, data[20:], 1) == []
        assert tracemalloc.get_traced_memory()[0] < 4 * size
    finally:
        tracemalloc.stop()
    assert server.buffered == size


def test_the_type_of_a_whole_piece_is_bytes():
    server = WebSocketWire(limits=WebSocketLimits(), express=False)
    [event] = read(server, frame(BINARY, b"abc", key=KEY), 100)
    assert type(event.data) is bytes
