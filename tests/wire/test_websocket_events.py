"""Events are plain values."""

import pytest

from structweb._wire.websocket_events import Binary, Close, ClosedError, Ping, Pong, Text, WebSocketError

EVENTS = [Text("a"), Text("b"), Binary(b"a"), Ping(b"a"), Pong(b"a"), Close(1000), Close(1000, "a"), Close(1001)]


def test_events_compare_by_type_and_content():
    for one, first in enumerate(EVENTS):
        for two, second in enumerate(EVENTS):
            assert (first == second) is (one == two)
    assert Text("a") == Text("a")
    assert Ping(b"a") != b"a"
    assert len({*EVENTS, Text("a"), Close(1000, "a")}) == len(EVENTS)


def test_events_say_what_they_are():
    assert repr(Close(1001, "bye")) == "Close(1001, 'bye')"
    assert repr(Text("é")) == "Text('é')"


def test_events_can_be_matched():
    match Close(1001, "bye"):
        case Close(code, reason):
            assert (code, reason) == (1001, "bye")


def test_an_error_is_what_the_close_frame_will_say():
    error = WebSocketError(1002, "bad opcode")
    assert (error.code, error.reason, str(error)) == (1002, "bad opcode", "bad opcode (1002)")


def test_a_closed_websocket_is_no_error_of_the_peer():
    assert not issubclass(ClosedError, WebSocketError)
    with pytest.raises(ClosedError):
        raise ClosedError("closed")
