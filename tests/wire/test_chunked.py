"""Chunked bodies: what is sound is decoded, what two parsers could read differently is refused (W-168)."""

import time

import pytest

from structweb._wire.events import Refusal
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = Limits(field=200, fields=3)


@pytest.fixture(params=[True, False], ids=["lane", "h11"])
def express(request: pytest.FixtureRequest) -> bool:
    return request.param


def read(body: bytes, *, express: bool, behind: bytes = b"") -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Return the decoded body and the trailers; `behind` must stay in the wire."""
    wire = Http1(LIMITS, express=express)
    wire.feed(HEAD + body + behind)
    assert wire.next_head() is not None
    whole = b""
    while piece := wire.next_data():
        whole += piece
    assert piece == b""
    trailers = wire.trailers
    assert wire.hand_over() == behind
    return whole, trailers


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"1;a\r\nx\r\n0;b\r\n\r\n", b"x"),
        (b"1;a=b;c=d\r\nx\r\n0\r\n\r\n", b"x"),
        (b'1;a="b;c \\" \xe9"\r\nx\r\n0\r\n\r\n', b"x"),
        (b'1;a="";b;c="\\\\\\"";d=e\r\nx\r\n0\r\n\r\n', b"x"),
    ],
)
def test_sound_bodies(body, decoded, express):
    assert read(body, express=express, behind=b"0\r\n\r\nGET") == (decoded, ())


def test_trailers(express):
    body, trailers = read(b"1\r\nx\r\n0\r\nX-Sum:  1 \r\nx-sum: \xff\r\n\r\n", express=express, behind=b"\r\n")
    assert body == b"x"
    assert trailers == ((b"X-Sum", b"1"), (b"x-sum", b"\xff"))


@pytest.mark.parametrize(
    "body",
    [
        # chunk sizes
        b"\r\n",
        b"g\r\n",
        b"+1\r\nx\r\n",
        b"-1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1_0\r\nx\r\n",
        b"1 \r\nx\r\n",
        b" 1\r\nx\r\n",
        b"1\t\r\nx\r\n",
        b"1\x00\r\nx\r\n",
        b"10000000000000000\r\nx",
        b"1,1\r\nx\r\n",
        # line ends
        b"1\nx\r\n0\r\n\r\n",
        b"1\rx\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx\r0\r\n\r\n",
        b"1\r\nx\n\r0\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        # extensions
        b"1;\r\nx\r\n",
        b"1;=a\r\nx\r\n",
        b"1;a=\r\nx\r\n",
        b"1; a\r\nx\r\n",
        b"1 ;a\r\nx\r\n",
        b"1;a\nb\r\nx\r\n",
        b"1;a\rb\r\nx\r\n",
        b"1;a\x01\r\nx\r\n",
        b"1;\xe9\r\nx\r\n",
        b'1;a="\r\nx\r\n',
        b'1;a="\x01"\r\nx\r\n',
        b'1;a="b\r\nx\r\n',
        b'1;a="b\\"\r\nx\r\n',
        b'1;a="b\\\r\nx\r\n',
        b'1;a="b"c\r\nx\r\n',
        b'1;a="b"="c"\r\nx\r\n',
        b"1;a=b=c\r\nx\r\n",
        b"1;a=;b\r\nx\r\n",
        b"1;a=b;\r\nx\r\n",
        b'1;"a"\r\nx\r\n',
        b"1;a\n0\r\n\r\n",
        # trailers
        b"0\r\nX: y\n\r\n",
        b"0\r\nX: y\r\n\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\nContent-Length: 1\r\n\r\n",
        b"0\r\ntransfer-encoding: chunked\r\n\r\n",
        b"0\r\nHost: b\r\n\r\n",
        b"0\r\nAuthorization: b\r\n\r\n",
        b"0\r\nCookie: b\r\n\r\n",
        b"0\r\nTrailer: b\r\n\r\n",
        b"0\r\nETag: a\r\netag: a\r\n\r\n",
    ],
)
def test_unsound_bodies(body, express):
    with pytest.raises(Refusal) as caught:
        read(body, express=express)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"1;" + b"x" * 199, 400, "chunk size line too long"),
        (b"1;" + b"x" * 199 + b"\r\nx\r\n", 400, "chunk size line too long"),
        (b"0\r\nX: " + b"x" * 198 + b"\r\n\r\n", 431, "trailer field too long"),
        (b"0\r\nX: " + b"x" * 198, 431, "trailer field too long"),
        (b"0\r\n" + b"X: y\r\n" * 4 + b"\r\n", 431, "too many trailer fields"),
        (b"0\r\n" + b"X: y\r\n" * 4, 431, "too many trailer fields"),
        ((b"1;" + b"x" * 190 + b"\r\nx\r\n") * 100, 400, "chunk extensions too long"),
    ],
)
def test_limits(body, status, words, express):
    with pytest.raises(Refusal, match=words) as caught:
        read(body, express=express)
    assert caught.value.status == status


@pytest.mark.parametrize("extension", [b";a", b";a=b", b';a="', b';a=""', b';a="\\"', b'\\"', b"a", b'";a=', b"\\\\"])
def test_hostile_extensions_are_cheap(extension, express):
    """No line takes time that grows faster than its length."""
    wire = Http1(Limits(), express=express)
    wire.feed(HEAD + b'1;x="y"' + extension * (8000 // len(extension)) + b"\x01\r\n")
    assert wire.next_head() is not None
    began = time.process_time()
    with pytest.raises(Refusal, match="bad chunk size line"):
        wire.next_data()
    assert time.process_time() - began < 0.1


def test_longest_lines_are_taken(express):
    body, trailers = read(
        b"1;" + b"x" * 198 + b"\r\nx\r\n0\r\nX: " + b"x" * 197 + b"\r\n" + b"X: y\r\n" * 2 + b"\r\n", express=express
    )
    assert body == b"x"
    assert len(trailers) == 3


def test_pieces_come_as_they_arrive(express):
    """A long chunk need not be complete to be read."""
    wire = Http1(Limits(), express=express)
    wire.feed(HEAD + b"ffff\r\n" + b"x" * 1000)
    assert wire.next_head() is not None
    assert wire.next_data() == b"x" * 1000
    assert wire.next_data() is None
    wire.feed(b"y" * 64535 + b"\r")
    assert wire.next_data() == b"y" * 64535
    assert wire.next_data() is None
    assert not wire.body_done
    wire.feed(b"\n0\r\n\r")
    assert wire.next_data() is None
    wire.feed(b"\n")
    assert wire.next_data() == b""
    assert wire.body_done


def heard(pieces: list[bytes], *, express: bool) -> tuple[list[bytes], list[int]]:
    """Return the pieces of a body that arrives in `pieces`, and where in the body its chunks end."""
    wire = Http1(LIMITS, express=express)
    wire.feed(HEAD)
    assert wire.next_head() is not None
    read: list[bytes] = []
    ends: list[int] = []
    size = 0
    for arrived in pieces:
        wire.feed(arrived)
        while piece := wire.next_data():
            read.append(piece)
            ends += [size + end for end in wire.chunk_ends]
            size += len(piece)
    assert piece == b""
    assert wire.body_done
    return read, ends


def test_every_cut_gives_the_same_bytes_and_ends(express):
    body = b"1\r\na\r\n3\r\nbcd\r\n2;x=y\r\nef\r\n0A\r\n\r\n0\r\n\r\nghi\r\n04\r\njkl\r\r\n0\r\nX: y\r\n\r\n"
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            pieces = [body[:first], body[first:second], body[second:]]
            read, ends = heard(pieces, express=express)
            assert b"".join(read) == b"abcdef\r\n0\r\n\r\nghijkl\r"
            assert ends == [1, 4, 6, 16, 20]


def test_the_end_may_come_with_the_last_chunks(express):
    """As that of a body with a length does; who reads it need not ask once more."""
    wire = Http1(LIMITS, express=express)
    wire.feed(HEAD + b"3\r\nabc\r\n0\r\n\r\nGET")
    assert wire.next_head() is not None
    assert wire.next_data() == b"abc"
    assert wire.body_done is express
    assert wire.next_data() == b""
    assert wire.body_done
    assert wire.trailers == ()
    assert wire.hand_over() == b"GET"


def test_small_chunks_come_together_on_the_lane():
    """Not too many of them: who reads a body lets others have their turn between two pieces."""
    body = b"1\r\nx\r\n" * 150 + b"0\r\n\r\n"
    read, ends = heard([body], express=True)
    assert [len(piece) for piece in read] == [32, 32, 32, 32, 22]
    assert ends == [*range(1, 151)]
    assert heard([body], express=False) == ([b"x"] * 150, ends)


def test_large_chunks_come_alone():
    chunk = b"fff\r\n" + b"x" * 4095 + b"\r\n"
    read, ends = heard([chunk * 3 + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"0\r\n\r\n"], express=True)
    assert [len(piece) for piece in read] == [8190, 8191]
    assert ends == [4095, 8190, 12285, 16381]
    assert heard([b"1000\r\n" + b"x" * 4096 + b"\r\n1\r\nx\r\n0\r\n\r\n"], express=True)[0] == [b"x" * 4096, b"x"]


@pytest.mark.parametrize(
    "bad", [b"1\r\nx\r\r\n", b"1\r\nxy\r\n", b"-1\r\nx\r\n", b"1 \r\nx\r\n", b"0x1\r\nx\r\n", b"\r\n"]
)
def test_what_is_sound_before_a_bad_chunk_is_read(express, bad):
    wire = Http1(LIMITS, express=express)
    wire.feed(HEAD + b"1\r\na\r\n2\r\nbc\r\n" + bad)
    assert wire.next_head() is not None
    read = b""
    with pytest.raises(Refusal, match="bad chunk"):
        while piece := wire.next_data():
            read += piece
    assert read.startswith(b"abc")
