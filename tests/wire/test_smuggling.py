"""One request hidden inside another: known attacks, each with a decoy that must never come out as a request.

The decoy is what a proxy in front, reading the bytes differently, would have taken for part of the first request.
"""

import pytest

from structweb._wire.events import Refusal
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits

DECOY = b"GET /decoy HTTP/1.1\r\nHost: a\r\n\r\n"

ATTACKS = {
    "CL.TE": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
    "TE.TE, a space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
    "TE.TE, a tab in the value": b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 0\r\n\r\n",
    "TE.TE, twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
    "TE.TE, quoted": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "TE.TE, prefix": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE.TE, comma": b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "TE.TE, trailing comma": b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    "TE.TE, folded": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE.TE, hidden by a bare LF": b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.TE, hidden by a bare CR": b"X: y\rTransfer-Encoding: chunked\r\n\r\n",
    "TE.TE, NUL": b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    "TE.TE, not ASCII": b"Transfer-Encoding: chunke\xe2\x84\xaa\r\n\r\n",
    "TE.TE, identity": b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
    "CL.CL": b"Content-Length: 0\r\nContent-Length: 33\r\n\r\n",
    "CL.CL, equal": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "CL.CL, a list": b"Content-Length: 0, 33\r\n\r\n",
    "CL, plus": b"Content-Length: +0\r\n\r\n",
    "CL, hexadecimal": b"Content-Length: 0x0\r\n\r\n",
    "CL, not ASCII": b"Content-Length: \xd9\xa3\r\n\r\n",
    "CL, underscore": b"Content-Length: 0_0\r\n\r\n",
    "CL, a space before the colon": b"Content-Length : 33\r\n\r\n",
    "CL, folded": b"Content-Length:\r\n 33\r\n\r\n",
    "CL, minus": b"Content-Length: -33\r\n\r\n",
    "CL, too large for 64 bits": b"Content-Length: 18446744073709551616\r\n\r\n",
    "two hosts": b"Host: b\r\n\r\n",
    "a head that ends in bare LF": b"X: y\r\n\n",
    "a nameless field": b": Content-Length\r\n\r\n",
    "chunk size, 0x": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "chunk size, too large for 64 bits": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    "chunk size, white space": b"Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
    "chunk size, minus": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "chunk size, bare LF": b"Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
    "chunk extension, bare LF": b"Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n",
    "chunk extension, bare CR": b"Transfer-Encoding: chunked\r\n\r\n0;a\rb\r\n\r\n",
    "chunk data, too long": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    "chunk data, LF only": b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
    "chunk data, two bytes of anything": b"Transfer-Encoding: chunked\r\n\r\n1\r\nxXX0\r\n\r\n",
    "trailer, Content-Length": b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 33\r\n\r\n",
    "trailer, bare LF": b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
    "trailer section, LF only": b"Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
}


def targets_of(data: bytes, *, express: bool) -> tuple[list[str], Refusal | None]:
    """Return the targets of the requests that came out, and the refusal that ended them."""
    wire = Http1(Limits(), express=express)
    wire.feed(data)
    targets = []
    try:
        while (head := wire.next_head()) is not None:
            targets.append(head.target)
            while wire.next_data():
                pass
            wire.next_cycle()
    except Refusal as refusal:
        return targets, refusal
    return targets, None


@pytest.mark.parametrize("express", [True, False], ids=["lane", "h11"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_decoy_stays_inside(attack, express):
    start = b"POST /first HTTP/1.1\r\nHost: a\r\n"
    targets, refusal = targets_of(start + attack + DECOY, express=express)
    assert "/decoy" not in targets
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize("express", [True, False], ids=["lane", "h11"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_behind_a_sound_request(attack, express):
    """A connection whose lane has just taken a request is no less strict."""
    start = b"GET /sound HTTP/1.1\r\nHost: a\r\n\r\nPOST /first HTTP/1.1\r\nHost: a\r\n"
    targets, refusal = targets_of(start + attack + DECOY, express=express)
    assert targets[0] == "/sound"
    assert "/decoy" not in targets
    assert refusal is not None


@pytest.mark.parametrize("express", [True, False], ids=["lane", "h11"])
def test_a_body_is_no_request(express):
    """What a counted or chunked body carries never comes out as a head."""
    counted = b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(DECOY) + DECOY
    chunked = b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(DECOY),
        DECOY,
    )
    assert targets_of(counted + chunked + counted, express=express) == (["/1", "/2", "/1"], None)
