"""Generated requests for the application of `house`: sound ones, and streams of whatever a peer may send."""

from random import Random
from typing import NamedTuple

from hypothesis import strategies as st

from tests.fuzz import requests as fuzz

PATHS = [
    b"/echo", b"/ignore", b"/plain/x", b"/plain/%C3%A9", b"/wait", b"/wait?a=%2B", b"/stream", b"/stream?length=9",
    b"/stream?status=204", b"/stream?status=304", b"/copy", b"/taste", b"/refuse", b"/post-only", b"/", b"/a/b?q=1&q=2",
    b"//x", b"/%", b"http://other:8080/abs?x", b"/none",
]  # fmt: skip
METHODS = [b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"X-OWN"]
FIELDS = [
    b"User-Agent: curl/8.5.0", b"Accept: */*", b"Cookie: a=b; c=d", b'Cookie: e="f', b"Content-Type: text/plain; charset=x",
    b"X-Empty:", b"x-bytes: \xc3\xa9\xff", b"Connection: keep-alive", b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Upgrade: h2c\r\nConnection: upgrade", b"TE: trailers", b"Range: bytes=0-", b"Range: x", b"If-None-Match: x",
    b"If-Modified-Since: Thu, 99 Foo", b"Content-Encoding: identity", b"Accept-Encoding: gzip, br",
]  # fmt: skip
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200))


@st.composite
def sound_requests(draw: st.DrawFn, *, expect: bool = False) -> bytes:
    """Return one sound request, mostly one that keeps the connection."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    lines = [b"%b %b HTTP/%b" % (draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS)), version)]
    fields = [b"Host: " + draw(st.sampled_from([b"a", b"localhost:80", b"[::1]:8080"]))]
    fields += draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique_by=lambda field: field.split(b":")[0].lower()))
    if version == b"1.0" and not any(field.startswith(b"Upgrade") for field in fields):
        fields += draw(st.sampled_from([[], [b"Connection: keep-alive"]]))
    body = draw(
        st.one_of(st.just(b""), st.binary(max_size=40), st.sampled_from([b"x" * 3000, b"GET / HTTP/1.1\r\n\r\n"]))
    )
    framing = draw(st.sampled_from(["none", "length"] if version == b"1.0" else ["none", "length", "chunked"]))
    if framing == "none":
        body = b""
    elif framing == "length":
        fields.append(b"Content-Length: %d" % len(body))
    else:
        fields.append(b"Transfer-Encoding: chunked")
        body = chunked(body, draw(st.lists(st.integers(1, 30), max_size=5)), draw(st.booleans()))
    if expect and framing != "none":
        fields.append(b"Expect: 100-continue")
    fields = draw(st.permutations(fields))
    return b"\r\n".join([*lines, *fields, b"", body])


def chunked(body: bytes, sizes: list[int], trailer: bool) -> bytes:
    """Return a body in chunks of `sizes`, the rest in one."""
    coded = b""
    for size in [*sizes, len(body)]:
        piece, body = body[:size], body[size:]
        if piece:
            coded += b"%x;x=y\r\n%b\r\n" % (len(piece), piece)
    return coded + b"0\r\n" + (b"X-Sum: 1\r\n" if trailer else b"") + b"\r\n"


def streams_of_sound_requests() -> st.SearchStrategy[bytes]:
    """Return several requests in a row."""
    return st.lists(sound_requests(), min_size=1, max_size=5).map(b"".join)


@st.composite
def fuzzed_streams(draw: st.DrawFn) -> bytes:
    """Return what the wire's fuzzer generates: plain requests, attacks, mutations; without Expect.

    What a server answers to Expect may depend on whether the body is there already.
    """
    seed = draw(st.integers(0, 1 << 32))
    data = fuzz.stream(Random(seed))
    return data.replace(b"Expect:", b"Except:")


@st.composite
def anything(draw: st.DrawFn) -> bytes:
    """Return what a broken or hostile peer may send: mutated, truncated, garbage, TLS, or all of it in a row."""
    kinds = st.one_of(
        st.integers(0, 1 << 32).map(lambda seed: fuzz.stream(Random(seed))),
        sound_requests(expect=True),
        sound_requests().flatmap(lambda data: st.integers(0, len(data)).map(lambda end: data[:end])),
        sound_requests().flatmap(mutated),
        st.binary(max_size=60),
        st.sampled_from([TLS_HELLO, TLS_HELLO[:1], b"\r\n", b"\n", b"\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]),
    )
    return b"".join(draw(st.lists(kinds, min_size=1, max_size=4)))


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """Return `data` with one of the fuzzer's mutations."""
    return st.tuples(st.sampled_from(fuzz.MUTATIONS), st.integers(0, 1 << 32)).map(
        lambda chosen: chosen[0](Random(chosen[1]), data)
    )


class Cut(NamedTuple):
    """A stream and the places where it is cut."""

    data: bytes
    cuts: tuple[int, ...]

    @property
    def pieces(self) -> list[bytes]:
        """The stream, cut."""
        places = zip((0, *self.cuts), (*self.cuts, len(self.data)), strict=True)
        return [self.data[start:end] for start, end in places if start < end]


@st.composite
def in_pieces(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> Cut:
    """Return a stream that is cut at random places; now and then byte by byte."""
    data = draw(streams)
    if len(data) < 300 and draw(st.integers(0, 9)) == 0:
        return Cut(data, tuple(range(len(data))))
    return Cut(data, tuple(sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))))
