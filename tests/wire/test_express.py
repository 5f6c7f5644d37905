"""The law of the lane: what it takes, h11 reads the same; from all else it stays out."""

import sys
import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structweb._wire.events import Refusal
from structweb._wire.express import Express
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits
from tests.fuzz.requests import stream
from tests.fuzz.transcript import TINY, difference, minimal, transcript

SEEDS = st.integers(0, 1 << 32)


def agree(seed: int) -> None:
    """Check one generated stream; a difference is shown by the shortest stream that makes it."""
    data = stream(Random(seed))
    if difference(data, seed) is not None:
        data = minimal(data, seed)
        pytest.fail(f"{data!r} (seed {seed})\n{difference(data, seed)}")


@settings(max_examples=500, deadline=None)
@given(SEEDS)
def test_lane_and_h11_agree_in_one_piece_and_in_many(seed):
    agree(seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(20))
def test_lane_and_h11_agree_on_100_000_inputs(block):
    for seed in range(block * 5000, (block + 1) * 5000):
        agree(seed)


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.booleans())
def test_every_split_gives_the_same_events(seed, express):
    """Each stream is cut once at each of its bytes."""
    data = stream(Random(seed))[:300]
    whole = transcript([data], TINY, express=express)
    for cut in range(len(data)):
        assert transcript([data[:cut], data[cut:]], TINY, express=express) == whole, data[:cut]


HTTP_BYTES = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [
                b"GET / HTTP/1.1\r\nHost: a\r\n",
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"\r\n",
                b"\n",
                b"\r",
                b"Content-Length: 3\r\n",
                b"3\r\nabc\r\n",
                b"0\r\n",
                b"X: y\r\n",
                b"x" * 40,
            ]
        ),
    ),
    max_size=12,
)


@settings(max_examples=500, deadline=None)
@given(HTTP_BYTES, st.booleans())
def test_any_bytes_give_events_or_a_refusal_and_bounded_memory(pieces, express):
    wire = Http1(TINY, express=express)
    bound = TINY.request_line + TINY.fields * (TINY.field + 2) + 2
    refusal = None
    for piece in pieces:
        wire.feed(piece)
        try:
            read_all(wire)
        except Refusal as exc:
            refusal = exc
            break
        assert wire.buffered <= bound
    if refusal is not None:
        assert refusal.status in (400, 414, 431)
        assert refusal.message.isprintable()
        assert wire.buffered == 0


def read_all(wire: Http1) -> None:
    """Read requests and bodies until the wire needs more bytes."""
    while not wire.body_done or wire.next_head() is not None:
        while wire.next_data():
            pass
        if not wire.body_done:
            return
        wire.next_cycle()


HOST = b"\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1" + HOST,
        b"GET /a?b#c HTTP/1.1" + HOST,
        b"PURGE / HTTP/1.1" + HOST,
        b"POST / HTTP/1.1" + HOST + b"Content-Length: 5\r\nContent-Type: text/plain\r\n",
        b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.1" + HOST + b"Connection: Keep-Alive\r\n",
        b"GET / HTTP/1.1" + HOST + b"connection:close\r\n",
        b"GET / HTTP/1.1" + HOST + b"Cookie: a\r\nCookie: b\r\nX:\r\nY: \t\xff \r\n",
        b"GET / HTTP/1.1\r\nhost:localhost:8080\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n",
    ],
)
def test_the_lane_takes(head):
    lane = Express(Limits())
    assert lane.take(b"behind" + head + b"\r\nmore", 6) is not None
    assert lane.end == len(head) + 8


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0" + HOST,
        b"CONNECT / HTTP/1.1" + HOST,
        b"GET http://a/ HTTP/1.1" + HOST,
        b"OPTIONS * HTTP/1.1" + HOST,
        b"M-SEARCH / HTTP/1.1" + HOST,
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX: y\r\n",
        b"GET / HTTP/1.1\nHost: a\n",
        b"GET / HTTP/1.1\r\nHost: localhost:65536\r\n",
        b"GET / HTTP/1.1\r\nHost: \xe9\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n",
        b"GET / HTTP/1.1" + HOST + b"Host: a\r\n",
        b"GET / HTTP/1.1" + HOST + b"Transfer-Encoding: Chunked\r\n",  # h11 writes it in lower case
        b"GET / HTTP/1.1" + HOST + b"Transfer-Encoding: gzip\r\n",
        b"GET / HTTP/1.1" + HOST + b"Transfer-Encoding: gzip, chunked\r\n",
        b"GET / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        b"GET / HTTP/1.1" + HOST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.0" + HOST + b"Transfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.1" + HOST + b"Upgrade: h2c\r\n",
        b"GET / HTTP/1.1" + HOST + b"Expect: 100-continue\r\n",
        b"GET / HTTP/1.1" + HOST + b"Connection: keep-alive, TE\r\n",
        b"GET / HTTP/1.1" + HOST + b"Connection: close\r\nConnection: close\r\n",
        b"GET / HTTP/1.1" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"GET / HTTP/1.1" + HOST + b"Content-Length: +1\r\n",
        b"GET / HTTP/1.1" + HOST + b"Content-Length: \xb2\r\n",
        b"GET / HTTP/1.1" + HOST + b"User-Agent: a\r\nuser-agent: a\r\n",
        b"GET / HTTP/1.1" + HOST + b"X: a\r\n b\r\n",
        b"GET / HTTP/1.1" + HOST + b"X : a\r\n",
        b"GET / HTTP/1.1" + HOST + b"X: a\nY: b\r\n",
        b"GET / HTTP/1.1" + HOST + b"X: a\rY: b\r\n",
        b"GET / HTTP/1.1" + HOST + b"X: \x00\r\n",
    ],
)
def test_the_lane_stays_out(head):
    assert Express(Limits()).take(head + b"\r\n", 0) is None


def test_the_lane_stays_out_of_an_incomplete_head():
    lane = Express(Limits())
    head = b"GET / HTTP/1.1" + HOST + b"X: y\r\n\r\n"
    for _ in range(2):  # the second time, the block is known
        for cut in range(len(head)):
            assert lane.take(head[:cut], 0) is None
        assert lane.take(head, 0) is not None


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 40 + b" HTTP/1.1" + HOST,
        b"GET / HTTP/1.1" + HOST + b"X: " + b"x" * 62 + b"\r\n",
        b"GET / HTTP/1.1" + HOST + b"X: y\r\n" * 6,
    ],
)
def test_the_lane_stays_out_past_the_limits(head):
    assert Express(Limits()).take(head + b"\r\n", 0) is not None
    assert Express(TINY).take(head + b"\r\n", 0) is None


def test_a_known_block_does_not_hide_a_long_request_line():
    lane = Express(TINY)
    assert lane.take(b"GET / HTTP/1.1" + HOST + b"\r\n", 0) is not None
    assert lane.take(b"GET /" + b"x" * 40 + b" HTTP/1.1" + HOST + b"\r\n", 0) is None


def test_the_lane_forgets_a_block_that_does_not_return():
    lane = Express(Limits())
    for value in (b"1", b"2", b"1"):
        head = lane.take(b"GET / HTTP/1.1" + HOST + b"X: " + value + b"\r\n\r\n", 0)
        assert head is not None
        assert head.block.mapping["X"] == value.decode()


def test_the_table_of_lines_does_not_grow_without_end():
    """More distinct lines than the table holds, sent by many peers, leave each of them readable."""
    tracemalloc.start()
    try:
        for number in range(20_000):
            line = b"User-Agent: " + b"%06d" % number * 30
            head = Express(Limits()).take(b"GET / HTTP/1.1" + HOST + line + b"\r\n\r\n", 0)
            assert head is not None
            assert head.block.raw[1][1] == line[12:]
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [b"Cookie", b"Authorization", b"X-Api-Key"])
def test_secrets_do_not_outlive_their_connection(name):
    """A line that may carry one never enters the shared table."""
    head = Express(Limits()).take(b"GET / HTTP/1.1" + HOST + name + b": s3cret\r\n\r\n", 0)
    assert head is not None
    secret = head.block.raw[1][1]
    del head
    assert sys.getrefcount(secret) == 2, "only this test holds it"
