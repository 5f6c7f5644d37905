"""h11 has the last word: what it refuses, or reads in another way, is no request."""

import h11
import pytest

from structweb._wire.events import Refusal
from structweb._wire.judge import Judge
from structweb._wire.limits import Limits

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"


def test_events():
    judge = Judge(Limits())
    assert judge.hear(HEAD, h11.Request).target == b"/"
    assert judge.hear(b"x", h11.Data).data == b"x"
    judge.hear(b"", h11.EndOfMessage)


def test_refused_by_h11():
    with pytest.raises(Refusal, match="illegal request line") as caught:
        Judge(Limits()).hear(b"GET /\r\n\r\n", h11.Request)
    assert caught.value.status == 400


def test_a_coding_h11_does_not_know_is_the_clients_fault():
    with pytest.raises(Refusal) as caught:
        Judge(Limits()).hear(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", h11.Request)
    assert caught.value.status == 400


def test_incomplete_past_the_cap():
    with pytest.raises(Refusal) as caught:
        Judge(Limits(request_line=10, fields=0, field=0)).hear(b"GET / HTTP/1.1\r\nHost", h11.NEED_DATA)
    assert caught.value.status == 431


def test_read_in_another_way():
    judge = Judge(Limits())
    with pytest.raises(Refusal, match="expected Request, got NEED_DATA"):
        judge.hear(HEAD[:-2], h11.Request)


def test_the_head_that_the_lane_took_is_heard_first():
    judge = Judge(Limits(), HEAD)
    assert judge.hear(b"x", h11.Data).data == b"x"
    with pytest.raises(Refusal, match="illegal request line"):
        Judge(Limits(), b"GET /\r\n\r\n").hear(b"x", h11.Data)
