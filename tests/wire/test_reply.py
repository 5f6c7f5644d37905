"""What is written for a response is what an h11 client reads, and what must not be written is refused."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.events import HttpVersion, HttpVersion10, HttpVersion11
from structweb._wire.reply import (
    LAST_CHUNK,
    Framing,
    bodiless,
    chunk,
    frame_stream,
    reply_head,
    size_of_complete,
)

TOKENS = st.text("!#$%&'*+-.^_`|~019azAZ", min_size=1, max_size=12)
# Names that take part in the framing are tested by name, below.
NAMES = TOKENS.filter(
    lambda name: name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=30).map(
    lambda value: "".join(c for c in value if not 0x80 <= ord(c) < 0xA0).strip()
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
STATUSES = st.sampled_from([200, 201, 204, 206, 304, 400, 404, 500, 599])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE"])
REASONS = st.sampled_from(["", "OK", "Not Found", "Alles in Ordnung", "a  b"])
VERSIONS = st.sampled_from([HttpVersion10, HttpVersion11])


def read(method: str, data: bytes) -> tuple[h11.Response, bytes]:
    """Read one response to `method` as h11's client does; the connection ends behind `data`."""
    client = h11.Connection(h11.CLIENT)
    headers = [("Host", "a")]
    client.send(h11.Request(method=method, target="/", headers=headers))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return response, body


@given(METHODS, VERSIONS, STATUSES, REASONS, FIELDS, st.binary(max_size=40))
def test_a_client_reads_the_complete_response_that_was_written(
    method: str, version: HttpVersion, status: int, reason: str, fields: list[tuple[str, str]], body: bytes
) -> None:
    """Status, reason, fields and body arrive as given; a body where none is allowed never reaches the wire."""
    reply = reply_head(version, status, reason, fields)
    sent = b"" if bodiless(method, status) else body
    data = reply.data + size_of_complete(method, status, reply, len(body)) + b"\r\n" + sent
    response, received = read(method, data)
    assert received == sent
    assert response.status_code == status
    assert response.reason == reason.encode()
    assert response.http_version == b"1.%d" % version.minor
    expected = [(name.lower().encode(), value.encode()) for name, value in fields]
    assert [pair for pair in response.headers if pair[0] != b"content-length"] == expected
    lengths = [value for name, value in response.headers if name == b"content-length"]
    assert lengths == ([] if status in (204, 304) else [b"%d" % len(body)])


@given(METHODS, VERSIONS, STATUSES, st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.booleans())
def test_a_client_reads_the_streamed_response_that_was_written(
    method: str, version: HttpVersion, status: int, pieces: list[bytes], with_length: bool
) -> None:
    """The pieces arrive joined, whichever way their end is told."""
    reply = reply_head(version, status, "", [])
    total = sum(map(len, pieces))
    framing, owed, size_line = frame_stream(method, version, status, reply, total if with_length else None)
    data = reply.data + size_line + b"\r\n"
    expected = b"" if bodiless(method, status) else b"".join(pieces)
    if framing is Framing.CHUNKED:
        data += b"".join(map(chunk, pieces)) + LAST_CHUNK
    elif framing is not Framing.NONE:
        data += expected
    assert (framing is Framing.NONE) == bodiless(method, status)
    assert owed == (len(expected) if framing is Framing.LENGTH else 0)
    assert read(method, data)[1] == expected


@pytest.mark.parametrize("reason", ["a\rb", "a\nb", "a\0b", "\x1b[0m", "OK\r\nSet-Cookie: a=b"])
def test_control_characters_in_a_reason_are_refused(reason: str) -> None:
    """W-069, W-180: h11 would let them split the response."""
    with pytest.raises(ValueError, match="reason must not contain control characters"):
        reply_head(HttpVersion11, 200, reason, [])


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "\x01", "\x7f", "v\r\nX: y"])
def test_control_characters_in_a_value_are_refused(value: str) -> None:
    """W-069, W-180."""
    with pytest.raises(ValueError, match=r"header value must not contain control characters, got .* in X-A"):
        reply_head(HttpVersion11, 200, "OK", [("X-A", value)])


def test_a_tab_in_a_value_is_allowed() -> None:
    """RFC 9110 section 5.5: HTAB is white space, not a danger."""
    assert b"X-A: a\tb\r\n" in reply_head(HttpVersion11, 200, "OK", [("X-A", "a\tb")]).data


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "\u00fc", "a\0"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    """W-069."""
    with pytest.raises(ValueError, match="header name must be a token"):
        reply_head(HttpVersion11, 200, "OK", [(name, "v")])


@pytest.mark.parametrize("status", [0, 99, 1000, -200])
def test_a_status_of_other_than_three_digits_is_refused(status: int) -> None:
    """RFC 9112 section 4."""
    with pytest.raises(ValueError, match="status must be from 100 to 999"):
        reply_head(HttpVersion11, status, "", [])


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Length", "x")],
        [("Content-Length", "-1")],
        [("Content-Length", "+1")],
        [("Content-Length", "1, 1")],
        [("Content-Length", "1"), ("content-length", "1")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
    ],
)
def test_fields_that_contradict_the_framing_are_refused(fields: list[tuple[str, str]]) -> None:
    """A response that two readers could read in two ways is never sent."""
    with pytest.raises(ValueError, match=r"Content-Length|Transfer-Encoding"):
        reply_head(HttpVersion11, 200, "OK", fields)


@pytest.mark.parametrize("status", [204, 101, 199])
def test_a_size_where_no_body_can_be_is_refused(status: int) -> None:
    """W-066; RFC 9110 section 8.6."""
    reply = reply_head(HttpVersion11, status, "", [("Content-Length", "0")])
    with pytest.raises(ValueError, match="must not have Content-Length"):
        size_of_complete("GET", status, reply, 0)
    with pytest.raises(ValueError, match="must not have Content-Length"):
        frame_stream("GET", HttpVersion11, status, reply, None)


def test_304_may_repeat_the_length_of_the_full_response() -> None:
    """RFC 9110 section 8.6."""
    reply = reply_head(HttpVersion11, 304, "", [("Content-Length", "7")])
    assert size_of_complete("GET", 304, reply, 0) == b""


def test_a_length_that_is_not_the_bodys_is_refused() -> None:
    """W-068."""
    reply = reply_head(HttpVersion11, 200, "OK", [("Content-Length", "5")])
    with pytest.raises(ValueError, match="Content-Length is 5, the body has 4 bytes"):
        size_of_complete("GET", 200, reply, 4)
    assert size_of_complete("HEAD", 200, reply, 0) == b""
    with pytest.raises(ValueError, match="Content-Length is 5, but length=4"):
        frame_stream("GET", HttpVersion11, 200, reply, 4)


def test_chunked_is_refused_where_it_cannot_be() -> None:
    """W-065: neither for HTTP/1.0, nor with a length, nor for a complete body."""
    reply = reply_head(HttpVersion10, 200, "OK", [("Transfer-Encoding", "chunked")])
    with pytest.raises(ValueError, match=r"for HTTP/1.1, the request is HTTP/1.0"):
        frame_stream("GET", HttpVersion10, 200, reply, None)
    with pytest.raises(ValueError, match="but length=3 was given"):
        frame_stream("GET", HttpVersion11, 200, reply, 3)
    with pytest.raises(ValueError, match="not chunked"):
        size_of_complete("GET", 200, reply, 3)


def test_a_tunnel_has_no_size() -> None:
    """RFC 9110 section 9.3.6: no Content-Length or Transfer-Encoding in a 2xx to CONNECT."""
    reply = reply_head(HttpVersion11, 200, "OK", ())
    assert size_of_complete("CONNECT", 200, reply, 0) == b""
    assert frame_stream("CONNECT", HttpVersion11, 200, reply, None) == (Framing.NONE, 0, b"")


def test_a_tuple_of_fields_is_encoded_once() -> None:
    """The head of a repeating response costs a look-up."""
    fields = (("Content-Type", "text/plain"),)
    assert reply_head(HttpVersion11, 200, "OK", fields) is reply_head(HttpVersion11, 200, "OK", fields)
    assert reply_head(HttpVersion11, 200, "OK", [*fields]).data == reply_head(HttpVersion11, 200, "OK", fields).data


@pytest.mark.parametrize(
    ("fields", "date", "server", "connection", "close"),
    [
        ([], False, False, False, False),
        ([("date", "x"), ("SERVER", "y")], True, True, False, False),
        ([("Connection", "keep-alive, Close")], False, False, True, True),
        ([("Connection", "upgrade")], False, False, True, False),
    ],
)
def test_it_tells_which_fields_were_given(
    fields: list[tuple[str, str]], date: bool, server: bool, connection: bool, close: bool
) -> None:
    """What the server would add must not stand twice."""
    reply = reply_head(HttpVersion11, 200, "OK", fields)
    assert (reply.date, reply.server, reply.connection, reply.close) == (date, server, connection, close)
