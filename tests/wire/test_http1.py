"""Requests come out of the wire in order, with their bodies, and leave it ready for what follows."""

import pytest

from structweb._wire.events import Head, HttpVersion10, HttpVersion11, Refusal
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
# An unknown coding of a field makes no difference to its meaning, but keeps the lane out.
CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.fixture(params=[True, False], ids=["lane", "h11"])
def wire(request: pytest.FixtureRequest) -> Http1:
    return Http1(Limits(), express=request.param)


def head_of(wire: Http1) -> Head:
    head = wire.next_head()
    assert head is not None
    return head


def body_of(wire: Http1) -> bytes:
    body = b""
    while piece := wire.next_data():
        body += piece
    assert piece == b"", "the body is incomplete"
    return body


def test_head_tells_what_was_asked(wire):
    wire.feed(b"GET /a?b=c#d HTTP/1.1\r\nHOST: h:80\r\nX-One:  1 \r\nx-one:\t2\r\n\r\n")
    head = head_of(wire)
    assert (head.method, head.target, head.version) == ("GET", "/a?b=c#d", HttpVersion11)
    assert head.block.raw == ((b"HOST", b"h:80"), (b"X-One", b"1"), (b"x-one", b"2"))
    assert head.block.mapping.getall("X-ONE") == ["1", "2"]
    assert head.block.host == "h:80"
    assert head.keep_alive
    assert wire.body_done
    assert wire.next_data() == b""


def test_values_keep_their_bytes(wire):
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xc3\xa9\r\n\r\n")
    head = head_of(wire)
    assert head.block.raw[1] == (b"X", b"\xff\xc3\xa9")
    assert head.block.mapping["X"].encode("utf-8", "surrogateescape") == b"\xff\xc3\xa9"


def test_counted_body(wire):
    wire.feed(POST)
    assert head_of(wire).block.content_length == 5
    assert not wire.body_done
    assert body_of(wire) == b"hello"
    assert wire.body_done


def test_counted_body_is_handed_out_as_it_comes(wire):
    wire.feed(POST[:-3])
    head_of(wire)
    assert wire.next_data() == b"he"
    assert wire.next_data() is None
    wire.feed(b"ll")
    assert wire.next_data() == b"ll"
    assert not wire.body_done
    wire.feed(b"o" + GET)
    assert wire.next_data() == b"o"
    assert wire.body_done
    assert wire.next_data() == b""
    assert wire.buffered == len(GET)


def test_chunked_body(wire):
    wire.feed(CHUNKED)
    assert head_of(wire).block.chunked
    assert body_of(wire) == b"hello"
    assert wire.trailers == ((b"X-Sum", b"1"),)
    wire.next_cycle()
    assert wire.trailers == ()


def test_requests_in_a_row_come_out_in_order(wire):
    wire.feed(GET + POST + CHUNKED + POST + GET)
    for target, body in (("/", b""), ("/p", b"hello"), ("/c", b"hello"), ("/p", b"hello"), ("/", b"")):
        assert head_of(wire).target == target
        assert body_of(wire) == body
        wire.next_cycle()
    assert wire.next_head() is None
    assert wire.buffered == 0


def test_bytes_may_come_at_any_time(wire):
    wire.feed(CHUNKED[:-9])
    head_of(wire)
    wire.feed(CHUNKED[-9:])
    wire.feed(POST[:10])
    assert body_of(wire) == b"hello"
    wire.feed(POST[10:30])
    wire.next_cycle()
    assert wire.next_head() is None
    wire.feed(POST[30:])
    assert head_of(wire).target == "/p"
    assert body_of(wire) == b"hello"


def test_a_block_that_repeats_is_read_once():
    """What makes the lane cheap also keeps memory down: equal requests share their fields."""
    wire = Http1(Limits())
    blocks = []
    for target in (b"/1", b"/2"):
        wire.feed(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n")
        blocks.append(head_of(wire).block)
        wire.next_cycle()
    assert blocks[0] is blocks[1]


def test_a_piece_that_is_all_body_is_not_copied():
    wire = Http1(Limits())
    wire.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    head_of(wire)
    piece = b"x" * 50000
    wire.feed(piece)
    assert wire.next_data() is piece


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Connection: keep-alive, close\r\n", False),
        (b"1.1", b"Connection: close\r\nConnection: keep-alive\r\n", False),
        (b"1.1", b"Connection: TE\r\n", True),
        (b"1.1", b"Connection: not-close\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"Connection: foo, Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_keep_alive(wire, version, fields, keep_alive):
    """W-161: 1.1 lives on unless told to close, 1.0 closes unless told to live on; close wins."""
    wire.feed(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n")
    assert head_of(wire).keep_alive is keep_alive


def test_http_1_0_needs_no_host(wire):
    wire.feed(b"GET / HTTP/1.0\r\n\r\n")
    head = head_of(wire)
    assert head.version == HttpVersion10
    assert head.block.host is None


def test_empty_lines_before_a_request_are_ignored(wire):
    """W-170, W-177: some old clients send CRLF behind a body."""
    wire.feed(b"\r\n\r\n" + POST + b"\r\n" + GET)
    assert head_of(wire).target == "/p"
    assert body_of(wire) == b"hello"
    wire.next_cycle()
    assert head_of(wire).target == "/"


def test_empty_lines_do_not_start_a_head(wire):
    wire.feed(b"\r\n")
    assert wire.next_head() is None
    assert not wire.head_started
    assert wire.buffered == 0


def test_empty_lines_without_end_are_refused(wire):
    wire.feed(b"\r\n" * 9)
    with pytest.raises(Refusal, match="empty lines") as caught:
        wire.next_head()
    assert caught.value.status == 400


def test_head_started_tells_a_silent_peer_from_a_slow_one(wire):
    assert not wire.head_started
    wire.feed(GET[:5])
    assert wire.next_head() is None
    assert wire.head_started
    assert wire.buffered == 5
    wire.feed(GET[5:])
    head_of(wire)
    assert not wire.head_started
    wire.feed(GET)
    assert not wire.head_started
    wire.next_cycle()
    assert wire.head_started


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_expect_is_told(wire, value):
    """W-172: who handles the request decides on 100 Continue, and on 417 for what it does not know."""
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: " + value + b"\r\nContent-Length: 2\r\n\r\n")
    assert head_of(wire).block.expect == "100-continue"
    assert wire.next_data() is None
    wire.feed(b"ok")
    assert body_of(wire) == b"ok"


def test_unknown_expect_is_not_refused_here(wire):
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: Tea\r\n\r\n")
    assert head_of(wire).block.expect == "tea"


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"


def test_upgrade_takes_every_byte_behind_the_head(wire):
    """W-183: bytes behind the head reach the new protocol."""
    wire.feed(UPGRADE + b"\r\n\x81\x00")
    assert head_of(wire).block.upgrade == "websocket"
    wire.feed(b"\x82\x00")
    assert wire.hand_over() == b"\x81\x00\x82\x00"
    assert wire.buffered == 0
    with pytest.raises(RuntimeError, match="over"):
        wire.next_head()


def test_upgrade_behind_a_body(wire):
    wire.feed(UPGRADE + b"Content-Length: 3\r\n\r\nabc\x81\x00")
    assert head_of(wire).block.upgrade == "websocket"
    assert body_of(wire) == b"abc"
    assert wire.hand_over() == b"\x81\x00"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"\r\n", b""),
        (b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    ],
)
def test_declined_upgrade_goes_on_as_http(wire, framing, body):
    """W-173, W-183: with its body, and with the requests behind it."""
    wire.feed(UPGRADE + framing + POST + GET)
    assert head_of(wire).block.upgrade == "websocket"
    assert body_of(wire) == body
    wire.next_cycle()
    assert head_of(wire).target == "/p"
    assert body_of(wire) == b"hello"
    wire.next_cycle()
    assert head_of(wire).target == "/"


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        (b"1.1", b"Upgrade: websocket\r\n"),
        (b"1.1", b"Upgrade: websocket\r\nConnection: keep-alive\r\n"),
        (b"1.1", b"Upgrade: websocket\r\nConnection: not-upgrade\r\n"),
        (b"1.1", b"Connection: upgrade\r\n"),
        (b"1.0", b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
    ],
)
def test_no_upgrade_without_both_fields_and_1_1(wire, version, fields):
    wire.feed(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n")
    assert head_of(wire).block.upgrade is None


def test_h2c_is_told_and_served_as_http(wire):
    """W-173."""
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + GET)
    assert head_of(wire).block.upgrade == "h2c"
    wire.next_cycle()
    assert head_of(wire).block.upgrade is None


def test_connect_goes_on_as_http_when_declined(wire):
    """W-174, W-183."""
    wire.feed(b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n" + GET)
    assert head_of(wire).target == "h:80"
    wire.next_cycle()
    assert head_of(wire).method == "GET"


@pytest.mark.parametrize("message", [POST[:-1], CHUNKED[:-20], CHUNKED[:-1]])
def test_end_in_mid_body_is_refused(wire, message):
    wire.feed(message)
    head_of(wire)
    while wire.next_data():
        pass
    wire.feed_eof()
    with pytest.raises(Refusal, match="incomplete request body") as caught:
        wire.next_data()
    assert caught.value.status == 400


def test_end_behind_a_body_is_no_error(wire):
    wire.feed(POST)
    wire.feed_eof()
    head_of(wire)
    assert body_of(wire) == b"hello"


def test_end_in_a_head_is_no_request(wire):
    wire.feed(GET[:-1])
    wire.feed_eof()
    assert wire.next_head() is None


def test_data_behind_a_closing_request_stays_where_it_is(wire):
    """W-170: the connection closes; the wire does not look at what follows."""
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\x00garbage")
    assert not head_of(wire).keep_alive
    assert wire.buffered == 8


def test_a_refusal_is_final(wire):
    wire.feed(b"bad\r\n\r\n" + GET)
    with pytest.raises(Refusal) as first:
        wire.next_head()
    assert wire.buffered == 0
    for call in (wire.next_head, wire.next_data, wire.next_cycle, wire.hand_over):
        with pytest.raises(Refusal) as again:
            call()
        assert again.value is first.value


def test_calls_out_of_order_are_mistakes(wire):
    with pytest.raises(RuntimeError, match=r"next_data\(\) expects .* in the body"):
        wire.next_data()
    with pytest.raises(RuntimeError, match=r"next_cycle\(\) expects"):
        wire.next_cycle()
    wire.feed(POST)
    head_of(wire)
    with pytest.raises(RuntimeError, match=r"next_head\(\) expects a wire waiting for a head, but it is in the body"):
        wire.next_head()
    with pytest.raises(RuntimeError, match=r"hand_over\(\) expects"):
        wire.hand_over()


def test_a_head_in_pieces_shares_its_block_too():
    """The lane takes heads that come in pieces or behind empty lines."""
    wire = Http1(Limits())
    blocks = []
    for pieces in ((GET,), (GET[:3], GET[3:20], GET[20:]), (b"\r\n" + GET,), (b"\r", b"\n" + GET[:1], GET[1:])):
        for piece in pieces:
            wire.feed(piece)
            head = wire.next_head()
        assert head is not None
        blocks.append(head.block)
        wire.next_cycle()
    assert all(block is blocks[0] for block in blocks)


def test_a_rested_wire_keeps_nothing(wire):
    wire.feed(GET)
    block = head_of(wire).block
    wire.next_cycle()
    wire.rest()
    wire.feed(GET)
    again = head_of(wire).block
    assert again is not block
    assert again.raw == block.raw


def test_a_head_shows_what_was_asked(wire):
    wire.feed(GET)
    head = head_of(wire)
    assert repr(head) == "<Head GET / HTTP/1.1>"
    assert head.block.mapping is head.block.mapping
