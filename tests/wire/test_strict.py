"""What is no acceptable request is refused, with the lane and without: rows W-166 to W-171, W-174 and W-176 to W-178."""

import pytest

from structweb._wire.events import Refusal
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits

LIMITS = Limits(request_line=100, field=80, fields=5)


@pytest.fixture(params=[True, False], ids=["lane", "h11"])
def express(request: pytest.FixtureRequest) -> bool:
    return request.param


def refusal(data: bytes, *, express: bool, limits: Limits = LIMITS) -> Refusal:
    """Feed `data` to a fresh wire and return how its first head is refused."""
    wire = Http1(limits, express=express)
    wire.feed(data)
    with pytest.raises(Refusal) as caught:
        wire.next_head()
    return caught.value


def accepted(data: bytes, *, express: bool, limits: Limits = LIMITS) -> bool:
    wire = Http1(limits, express=express)
    wire.feed(data)
    return wire.next_head() is not None


def fields(lines: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        # W-167, W-176: the request line
        (b"", "request line"),
        (b"GET", "request line"),
        (b"GET /", "request line"),
        (b"GET  / HTTP/1.1", "request line"),
        (b"GET /  HTTP/1.1", "request line"),
        (b"GET / HTTP/1.1 ", "request line"),
        (b" GET / HTTP/1.1", "request line"),
        (b"GET /a b HTTP/1.1", "request line"),
        (b"GET\t/\tHTTP/1.1", "request line"),
        (b"get / HTTP/1.1", "request line"),
        (b"Get / HTTP/1.1", "request line"),
        (b"G(T / HTTP/1.1", "request line"),
        (b"G\x00T / HTTP/1.1", "request line"),
        (b"GET /\x00 HTTP/1.1", "request line"),
        (b"GET /\x7f HTTP/1.1", "request line"),
        (b"GET /\xc3\xa9 HTTP/1.1", "request line"),
        (b"GET / http/1.1", "request line"),
        (b"GET / HTTP/1.10", "request line"),
        (b"GET / HTTP/1", "request line"),
        (b"GET / HTTP/0.9", "version"),
        (b"GET / HTTP/1.2", "version"),
        (b"GET / HTTP/2.0", "version"),
        (b"PRI * HTTP/2.0", "version"),
        # W-174: the target
        (b"GET * HTTP/1.1", "target"),
        (b"GET x HTTP/1.1", "target"),
        (b"GET ?x HTTP/1.1", "target"),
        (b"GET h:80 HTTP/1.1", "target"),
        (b"GET http:/h HTTP/1.1", "target"),
        (b"GET http:///p HTTP/1.1", "target"),
        (b"GET http://:80/ HTTP/1.1", "target"),
        (b"CONNECT / HTTP/1.1", "target"),
        (b"CONNECT h HTTP/1.1", "target"),
    ],
)
def test_bad_request_lines(line, words, express):
    if line:
        found = refusal(line + b"\r\nHost: a\r\n\r\n", express=express)
        assert found.status == 400
        assert words in found.message


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        # W-167: field lines
        (b"X", "expected name: value"),
        (b": x", "empty name"),
        (b"X : x", "white space before the colon"),
        (b"X\t: x", "white space before the colon"),
        (b"X y: z", "not a token"),
        (b"X(: z", "not a token"),
        (b"X\xe9: z", "not a token"),
        (b"X: a\r\n b", "folded"),
        (b"X: a\r\n\tb", "folded"),
        (b"X: a\r\n \r\nY: b", "folded"),
        (b"X: a\nY: b", "bare LF"),
        (b"X: a\rY: b", "control byte"),
        (b"X: a\r\r\nY: b", "control byte"),
        (b"X: \x00", "control byte"),
        (b"X: \x01", "control byte"),
        (b"X: \x08", "control byte"),
        (b"X: a\x0bb", "control byte"),
        (b"X:\x0ca", "control byte"),
        (b"X: \x1f", "control byte"),
        (b"X: \x7f", "control byte"),
        # W-168, W-176: framing
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length and Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 0", "Content-Length and Transfer-Encoding"),
        (b"Content-Length: 1\r\nContent-Length: 1", "duplicate Content-Length"),
        (b"Content-Length: 1\r\ncontent-length: 2", "duplicate Content-Length"),
        (b"Content-Length: 1, 1", "bad Content-Length"),
        (b"Content-Length: +1", "bad Content-Length"),
        (b"Content-Length: -1", "bad Content-Length"),
        (b"Content-Length: 0x1", "bad Content-Length"),
        (b"Content-Length: 1_0", "bad Content-Length"),
        (b"Content-Length: 1.0", "bad Content-Length"),
        (b"Content-Length: 1 1", "bad Content-Length"),
        (b"Content-Length: \xb2", "bad Content-Length"),
        (b"Content-Length:", "bad Content-Length"),
        (b"Content-Length: 18446744073709551616", "bad Content-Length"),
        (b"Transfer-Encoding: gzip, chunked", "bad Transfer-Encoding"),
        (b"Transfer-Encoding: chunked, chunked", "bad Transfer-Encoding"),
        (b"Transfer-Encoding: chunked, identity", "bad Transfer-Encoding"),
        (b"Transfer-Encoding: identity", "bad Transfer-Encoding"),
        (b"Transfer-Encoding: chunked;q=1", "bad Transfer-Encoding"),
        (b"Transfer-Encoding: xchunked", "bad Transfer-Encoding"),
        (b"Transfer-Encoding:", "bad Transfer-Encoding"),
        (b"Transfer-Encoding: \x0bchunked", "control byte"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "duplicate Transfer-Encoding"),
        (b"Transfer-Encoding: chunked\r\ntransfer-encoding: identity", "duplicate Transfer-Encoding"),
        # W-169
        (b"Content-Location: a\r\nContent-Location: a", "duplicate Content-Location"),
        (b"Content-Range: a\r\nContent-Range: a", "duplicate Content-Range"),
        (b"Content-Type: a\r\nCONTENT-TYPE: a", "duplicate Content-Type"),
        (b"ETag: a\r\nEtag: a", "duplicate Etag"),
        (b"Max-Forwards: 1\r\nMax-Forwards: 1", "duplicate Max-Forwards"),
        (b"Server: a\r\nServer: a", "duplicate Server"),
        (b"User-Agent: a\r\nUser-Agent: b", "duplicate User-Agent"),
        (b"Host: a", "duplicate Host"),
    ],
)
def test_bad_fields(lines, words, express):
    found = refusal(fields(lines), express=express)
    assert found.status == 400
    assert words in found.message


@pytest.mark.parametrize(
    "lines",
    [
        b"X: a\tb",
        b"X:",
        b"X: \xe9\xff\x80",
        b"Cookie: a\r\nCookie: b",
        b"Content-Length: 0",
        b"Content-Length: 007",
        b"Content-Length:\t7 ",
        b"Transfer-Encoding: Chunked",
        b"Accept: a\r\nAccept: b",
    ],
)
def test_good_fields(lines, express):
    assert accepted(fields(lines), express=express)


@pytest.mark.parametrize(
    "host", [b"a b", b"a,b", b"a/b", b"a@b", b"a:x", b"[::1", b"[::1]x", b"\xe9", b"a:65536", b"%zz", b'"a"', b"a\\b"]
)
def test_bad_hosts(host, express):
    found = refusal(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", express=express)
    assert found.status == 400
    assert "Host" in found.message


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"GET http://a/ HTTP/1.1\r\nX: y\r\n\r\n"])
def test_missing_host(head, express):
    assert "missing Host" in refusal(head, express=express).message


def test_two_hosts_in_1_0(express):
    assert "duplicate Host" in refusal(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", express=express).message


def test_transfer_encoding_in_1_0(express):
    found = refusal(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", express=express)
    assert found.status == 400
    assert "HTTP/1.0" in found.message


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\nHost: a\n\n", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\n"]
)
def test_bare_lf_is_refused_at_once(data, express):
    """W-176.  Even before the head is complete: a peer that sends LF only would never complete one."""
    assert "bare LF" in refusal(data, express=express).message


def test_head_that_ends_in_bare_lf(express):
    assert "bare LF" in refusal(b"GET / HTTP/1.1\r\nHost: a\r\n\n", express=express).message


@pytest.mark.parametrize("data", [b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_tls_on_a_plain_port(data, express):
    """W-171."""
    found = refusal(data, express=express)
    assert (found.status, found.message) == (400, "Received HTTPS traffic on an HTTP port")


def test_request_line_limit(express):
    """W-166, W-178: complete or not, and not by one byte less."""
    longest = b"GET /" + b"x" * (LIMITS.request_line - 14) + b" HTTP/1.1"
    assert len(longest) == LIMITS.request_line
    assert accepted(longest + b"\r\nHost: a\r\n\r\n", express=express)
    for data in (longest.replace(b"/", b"/x") + b"\r\nHost: a\r\n\r\n", b"GET /" + b"x" * LIMITS.request_line):
        found = refusal(data, express=express)
        assert found.status == 414
        assert "at most 100 bytes" in found.message


def test_field_limit(express):
    """W-166, W-178."""
    longest = b"X: " + b"x" * (LIMITS.field - 3)
    assert accepted(fields(longest), express=express)
    for data in (fields(longest + b"x"), fields(longest + b"x")[:-4]):
        found = refusal(data, express=express)
        assert found.status == 431
        assert "at most 80 bytes" in found.message


def test_fields_limit(express):
    """W-166, W-178: a head without end is refused when it passes the limit."""
    most = b"\r\n".join([b"X: y"] * (LIMITS.fields - 1))
    assert accepted(fields(most), express=express)
    for data in (fields(most + b"\r\nX: y"), fields(most + b"\r\nX: y")[:-2]):
        found = refusal(data, express=express)
        assert found.status == 431
        assert "at most 5" in found.message


def test_limits_of_aiohttp_are_the_defaults(express):
    limits = Limits()
    assert accepted(fields(b"X: " + b"x" * 8187), express=express, limits=limits)
    assert refusal(fields(b"X: " + b"x" * 8188), express=express, limits=limits).status == 431
    assert accepted(fields(b"\r\n".join([b"X: y"] * 127)), express=express, limits=limits)
    assert refusal(fields(b"\r\n".join([b"X: y"] * 128)), express=express, limits=limits).status == 431


@pytest.mark.parametrize(
    "stream",
    [
        b"GET /" + b"x" * 100000,
        b"x" * 100000,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100000,
        b"\r\n" * 100000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 100000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 100000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:" + b"x" * 100000,
    ],
)
def test_no_stream_without_end_is_kept(stream, express):
    """Whatever never ends is refused once it passes the limits, so what one peer can pin is bounded."""
    wire = Http1(LIMITS, express=express)
    bound = LIMITS.request_line + LIMITS.fields * (LIMITS.field + 2) + 64
    head = None
    for start in range(0, len(stream), 50):
        wire.feed(stream[start : start + 50])
        try:
            head = head or wire.next_head()
            if head is not None:
                while wire.next_data():
                    pass
        except Refusal:
            assert start < bound
            return
        assert wire.buffered <= bound
    pytest.fail("never refused")
