"""However its bytes arrive, a request has one answer; and any bytes have an answer or a 4xx, and an end."""

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.system.answers import take_apart, undated
from tests.system.house import open_house
from tests.system.requests import Cut, anything, fuzzed_streams, in_pieces, sound_requests, streams_of_sound_requests

pytestmark = pytest.mark.anyio

#: What a server may say to bytes that are no request it can answer otherwise.
REFUSALS = {400, 403, 404, 405, 408, 411, 413, 414, 415, 417, 431}
FINE = {200, 204, 304}


@settings(max_examples=150)
@given(sent=in_pieces(st.one_of(streams_of_sound_requests(), fuzzed_streams())), lane=st.booleans())
async def test_pieces_make_no_difference(sent, lane):
    """The same bytes in one piece and in any pieces, with the lane and without, give the same answers."""
    async with open_house(half_close="serve", express=True) as house:
        whole = take_apart(undated(await house.talk(sent.data)))
    async with open_house(half_close="serve", express=lane) as house:
        start = anyio.current_time()
        split = take_apart(undated(await house.talk(*sent.pieces)))
        assert anyio.current_time() == start
    assert split == whole
    assert whole or b"\r\n\r\n" not in sent.data.lstrip(b"\r\n")


@settings(max_examples=100)
@given(requests=st.lists(sound_requests(expect=True), min_size=1, max_size=4), lane=st.booleans())
async def test_sound_requests_are_answered(requests, lane):
    """Each of them, up to one that ends the connection, and none is refused."""
    async with open_house(half_close="serve", express=lane) as house:
        answers = take_apart(await house.talk(*requests))
    assert all(answer.complete for answer in answers)
    assert {answer.status for answer in answers} <= FINE | {403, 404, 405}
    assert len(answers) == len(requests) or answers[-1].closes


MALFORMED_COPY = b"POST /copy HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx"


@example(sent=Cut(MALFORMED_COPY, (70,)), lane=True, half_close="gone")
@settings(max_examples=250)
@given(sent=in_pieces(anything()), lane=st.booleans(), half_close=st.sampled_from(["gone", "serve"]))
async def test_any_bytes_have_an_answer_and_an_end(sent, lane, half_close):
    """No 500, no error in the log, no hang; and at once, when the peer has ended its side."""
    async with open_house(half_close=half_close, express=lane) as house:
        start = anyio.current_time()
        answers = take_apart(await house.talk(*sent.pieces))
        assert anyio.current_time() == start
    _check(answers)


@settings(max_examples=80)
@given(data=anything(), lane=st.booleans())
async def test_any_bytes_of_a_peer_that_stays(data, lane):
    """It is answered, and sent away when it has been silent for long enough."""
    async with open_house(express=lane, keepalive_timeout=20, body_timeout=30, lingering_time=10) as house:
        start = anyio.current_time()
        answers = take_apart(await house.talk(data, leave=False))
        # A sweep more for each of the phases: to begin, and to end.
        assert anyio.current_time() - start <= 20 + 30 + 10 + 6
    _check(answers)


def _check(answers):
    for answer in answers:
        assert answer.status in FINE | REFUSALS
        if answer.status in (400, 408, 414, 431):
            assert answer.closes
            assert answer is answers[-1]
