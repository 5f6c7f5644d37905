"""Multipart bodies: any split gives the same parts, any bytes give parts or one error (W-115, W-117, W-119)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.multipart import MultipartError, MultipartParser


def parts_of(pieces, boundary=b"B", *, limit=2**16, **options):
    """Return the complete parts as pairs of fields and body, and the error that ended them, if any."""
    parser = MultipartParser(boundary, **options)
    feed = iter([*pieces, None])
    parts = []
    largest = 0

    def more():
        nonlocal largest
        piece = next(feed)
        if piece is None:
            parser.feed_eof()
        elif piece:
            parser.feed(piece)
            largest = max(largest, parser.buffered - len(piece))

    try:
        while True:
            while (fields := parser.next_fields()) is None:
                if parser.ended:
                    return parts, None, largest
                more()
            body = b""
            while (data := parser.next_data(limit)) != b"":
                if data is None:
                    more()
                else:
                    assert 0 < len(data) <= limit
                    body += data
            assert not parser.in_part
            parts.append((fields, body))
    except MultipartError as error:
        with pytest.raises(MultipartError, match=re.escape(str(error))):
            parser.next_fields()
        return parts, str(error), largest


def good(body, **options):
    parts, error, _ = parts_of([body], **options)
    assert error is None
    return parts


def bad(body, **options):
    _, error, _ = parts_of([body], **options)
    assert error is not None
    return error


TWO = b'--B\r\nA: 1\r\nb:2 \r\n\r\nfirst\r\n--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\nsecond\r\n\r\n--B--\r\n'


def test_parts():
    assert good(TWO) == [
        (((b"A", b"1"), (b"b", b"2")), b"first"),
        (((b"Content-Disposition", b'form-data; name="x"'),), b"\r\nsecond\r\n"),
    ]


@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        (b"--B--", []),
        (b"--B--\r\n", []),
        (b"--B\r\n\r\n--B--", [b""]),  # the empty line's CRLF is the delimiter's too
        (b"--B\r\n\r\n\r\n--B--", [b""]),
        (b"--B\r\n\r\na\r\n--B--epilogue --B", [b"a"]),
        (b"preamble\r\n--B\r\n\r\na\r\n--B--\r\n", [b"a"]),
        (b"--Boo\r\n--B\r\n\r\na\r\n--B--", [b"a"]),  # before the first boundary, lines may begin like one
        (b"x--B\r\n\r\n--B\r\n\r\na\r\n--B--", [b"a"]),
        (b"--B \t \r\n\r\na\r\n--B  \r\n\r\nb\r\n--B--", [b"a", b"b"]),  # padded by a transport
        (b"--B\r\n\r\n\r\r\n-\r\n--\r\n--C--B\r\n--B--", [b"\r\r\n-\r\n--\r\n--C--B"]),
    ],
)
def test_delimiters(body, bodies):
    assert [body for _, body in good(body)] == bodies


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "could not find the starting boundary '--B'"),
        (b"hello", "could not find the starting boundary '--B'"),
        (b"--C\r\n\r\n--C--", "could not find the starting boundary '--B'"),
        (b"--B", "could not find the starting boundary '--B'"),
        (b"--B\n\na\n--B--", "could not find the starting boundary '--B'"),
        (b"--B\r\n", "ended in the header of a part"),
        (b"--B\r\nA: b\r\n", "ended in the header of a part"),
        (b"--B\r\n\r\n", "ended in a part"),
        (b"--B\r\n\r\nabc", "ended in a part"),
        (b"--B\r\n\r\nabc\r\n--B", "ended in a part"),
        (b"--B\r\n\r\nabc\r\n--B-", "ended in a part"),
        (b"--B\r\n\r\nabc\r\n--B\r\n", "ended in the header of a part"),
        (b"--B\r\n\r\nabc\r\n--Bx\r\n", "expected CRLF or -- behind boundary '--B', got 'x"),
        (b"--B\r\n\r\nabc\r\n--B" + b" " * 65 + b"\r\n\r\n\r\n--B--", "expected CRLF or --"),
        (b"--B\r\n--B--", "ended in the header of a part"),
        (b"--B\r\nA\r\n\r\n\r\n--B--", "expected name: value, got 'A'"),
        (b"--B\r\nA : b\r\n\r\n\r\n--B--", "white space before the colon"),
        (b"--B\r\nA: b\0\r\n\r\n\r\n--B--", "control byte"),
        (b"--B\r\nA: b\n\r\n\r\n--B--", "bare LF"),
        (b"--B\r\n: b\r\n\r\n\r\n--B--", "empty name"),
        (b"--B\r\n A: b\r\n\r\n\r\n--B--", "begins with a continuation line"),
    ],
)
def test_malformed(body, error):
    assert error in bad(body)


def test_folded_fields_are_unfolded():
    body = b'--B\r\nContent-Disposition: form-data; \r\n\tname="a";\r\n filename="b"\r\n\r\n\r\n--B--'
    assert good(body) == [(((b"Content-Disposition", b'form-data; name="a"; filename="b"'),), b"")]


@pytest.mark.parametrize(
    ("boundary", "error"), [(b"", "the boundary is empty"), (b"x" * 71, "too long"), (b"x" * 70, None)]
)
def test_boundary_length(boundary, error):
    if error is None:
        assert good(b"--%b--" % boundary, boundary=boundary) == []
    else:
        with pytest.raises(MultipartError, match=error):
            MultipartParser(boundary)


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_field_line_is_limited():
    body = b"--B\r\nA: %b\r\n\r\n\r\n--B--"
    assert good(body % (b"x" * 97), max_field=100)
    assert "at most 100 bytes" in bad(body % (b"x" * 98), max_field=100)
    assert "at most 100 bytes" in bad(b"--B\r\nA: " + b"x" * 200, max_field=100)
    folded = b"--B\r\nA: %b\r\n %b\r\n\r\n\r\n--B--"
    assert "at most 100 bytes" in bad(folded % (b"x" * 60, b"x" * 60), max_field=100)


def test_fields_are_counted():
    body = b"--B\r\n%b\r\n\r\n--B--"
    assert good(body % (b"A: b\r\n" * 3), max_fields=3)
    assert "more than 3 header fields" in bad(body % (b"A: b\r\n" * 4), max_fields=3)
    assert "more than 3 header fields" in bad(body % (b"A: b\r\n" + b" x\r\n" * 3), max_fields=3)
    # Of each part on its own.
    assert len(good(b"--B\r\nA: b\r\n\r\n\r\n" * 9 + b"--B--", max_fields=1)) == 9


BOMBS = {
    "no end of a field": (b"--B\r\nA: ", b"x" * 1000),
    "fields": (b"--B\r\n", b"A: b\r\n" * 100),
    "folded": (b"--B\r\nA: b\r\n", b" x\r\n" * 100),
    "preamble": (b"", b"\r\n--B\r\n--B"[:-4] + b"x" * 100),
    "almost a boundary": (b"--B\r\n\r\n", b"\r\n--" * 100),
    "returns": (b"--B\r\n\r\n", b"\r" * 1000),
    "padding": (b"--B\r\n\r\na\r\n--B", b" " * 1000),
    "parts": (b"", b"--B\r\n\r\n" * 100),
    "epilogue": (b"--B--", b"x" * 1000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_fill_no_memory(bomb):
    """Whatever is sent, no more is held than a field line and a delimiter."""
    start, flood = BOMBS[bomb]
    _, _, largest = parts_of([start, *[flood] * 300], max_field=500)
    assert largest < 600


def test_long_header_in_single_bytes_takes_linear_time():
    body = b"--B\r\n" + b"A: " + b"x" * 8000 + b"\r\n\r\n\r\n--B--"
    assert len(parts_of([bytes([byte]) for byte in body])[0]) == 1


# -- invariants ----------------------------------------------------------------------------------------------------

TOKENS = [
    b"\r\n",
    b"--B",
    b"--",
    b"-",
    b"B",
    b"\r",
    b"\n",
    b"A: b",
    b" ",
    b"x",
    b"\r\n--B\r\n",
    b"\r\n--B--",
    b":",
    b"\0",
]
BODIES = st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)


@given(BODIES, st.data())
def test_any_split_gives_the_same(body, data):
    whole = parts_of([body])[:2]
    assert parts_of([bytes([byte]) for byte in body])[:2] == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert parts_of(pieces)[:2] == whole
    assert parts_of([body], limit=data.draw(st.integers(1, 5)))[:2] == whole


def test_every_split_in_two_gives_the_same():
    whole = parts_of([TWO])[:2]
    for cut in range(len(TWO)):
        assert parts_of([TWO[:cut], TWO[cut:]])[:2] == whole


@given(st.binary(max_size=300))
def test_any_bytes_give_parts_or_one_error(body):
    parts_of([body])
    parts_of([b"--B\r\n", body])
    parts_of([b"--B\r\n\r\n", body])


NAMES = st.text("abcXYZ-", min_size=1).map(str.encode)
VALUES = st.text("abc ;=\"'é", max_size=20).map(lambda text: text.strip().encode())
CONTENTS = st.lists(st.sampled_from(TOKENS), max_size=10).map(b"".join).filter(lambda body: b"--B" not in body)


@given(st.lists(st.tuples(st.lists(st.tuples(NAMES, VALUES), max_size=3), CONTENTS), max_size=4))
def test_what_was_written_is_read(parts):
    body = b"".join(
        b"--B\r\n%b\r\n%b\r\n" % (b"".join(b"%b: %b\r\n" % field for field in fields), content)
        for fields, content in parts
    )
    assert good(body + b"--B--\r\n") == [(tuple(fields), content) for fields, content in parts]


def test_reading_past_a_part_needs_its_end():
    parser = MultipartParser(b"B")
    parser.feed(TWO)
    assert parser.next_fields()
    with pytest.raises(RuntimeError, match="taken to its end first"):
        parser.next_fields()


def test_a_parser_can_begin_inside_of_a_part():
    parser = MultipartParser(b"B", in_part=True)
    parser.feed(b"abc\r\n--B--")
    assert (parser.next_data(9), parser.next_data(9), parser.ended) == (b"abc", b"", True)
