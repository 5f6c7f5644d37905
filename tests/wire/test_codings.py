"""Content codings: negotiation, encoders, decoders in bounded steps (W-097, W-099)."""

import gzip
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.codings import (
    ContentCoding,
    MissingCodingError,
    available_codings,
    choose_coding,
    coding_module,
    is_available,
    known_coding,
    make_encoder,
)
from structweb._wire.decoders import CodingError, make_decoder

CODINGS = available_codings()
every_coding = pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.value)
STEP = 2**16


def encoded(coding: ContentCoding, data: bytes) -> bytes:
    encoder = make_encoder(coding)
    return encoder.compress(data) + encoder.finish()


def raw_deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


def decoded(coding: ContentCoding, pieces: list[bytes], limit: int = STEP) -> bytes:
    decoder = make_decoder(coding)
    out = b""
    for piece in pieces:
        decoder.feed(piece)
        while step := decoder.take(limit):
            assert len(step) <= 2 * max(limit, STEP)  # Brotli's limit is a soft one
            out += step
    decoder.finish()
    assert decoder.ended or not any(pieces)
    return out


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


# -- negotiation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ((), "identity"),
        (("",), "identity"),
        (("gzip, deflate",), "gzip"),
        (("deflate", "gzip"), "gzip"),
        (("deflate",), "deflate"),
        (("GZip",), "gzip"),
        (("x-gzip",), "gzip"),
        (("gzip;q=0",), "identity"),
        (("gzip;q=0, deflate",), "deflate"),
        (("gzip; q=0.5 , deflate;q=0.8",), "deflate"),
        (("gzip;q=0.5, identity",), "identity"),
        (("gzip;q=0.5, identity;q=0.5",), "gzip"),
        (("identity;q=0",), "identity"),
        (("identity;q=0, gzip;q=0.001",), "gzip"),
        (("*;q=0",), "identity"),
        (("*;q=0, gzip",), "gzip"),
        (("notgzip, gzip-not",), "identity"),
        (("gzip;q=2, deflate;q=1.0000, ;;, gzip;x=1",), "identity"),
        (("gzip;q=x, deflate",), "deflate"),
        (("\u00fcber, deflate",), "deflate"),
    ],
)
def test_what_a_client_takes(accepted: tuple[str, ...], expected: str):
    """W-097: by weight, not by substring; what is refused is not sent."""
    assert choose_coding(accepted).value == expected


def test_a_star_takes_the_best():
    assert choose_coding(["*"]) is CODINGS[0]
    assert choose_coding([f"*, {CODINGS[0].value};q=0"]) is CODINGS[1]


@pytest.mark.skipif(len(CODINGS) < 4, reason="needs the extras brotli and zstd")
def test_newer_codings_are_preferred():
    assert choose_coding(["gzip, deflate, br, zstd"]) is ContentCoding.zstd
    assert choose_coding(["gzip, deflate, br"]) is ContentCoding.br
    assert choose_coding(["gzip, br;q=0.9"]) is ContentCoding.gzip


@given(st.lists(st.text()))
def test_any_text_is_read(values: list[str]):
    assert choose_coding(values) in (*CODINGS, ContentCoding.identity)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gzip", "gzip"),
        (" X-GZIP ", "gzip"),
        ("Deflate", "deflate"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("identity", None),
        ("gzip, br", None),
        ("aes", None),
        ("", None),
    ],
)
def test_names(value: str, expected: str | None):
    coding = known_coding(value)
    assert (None if coding is None else coding.value) == expected


@pytest.mark.parametrize("coding", [ContentCoding.br, ContentCoding.zstd])
def test_what_is_not_installed_names_the_command(coding: ContentCoding, monkeypatch: pytest.MonkeyPatch):
    for name in ("brotli", "brotlicffi", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    coding_module.cache_clear()
    try:
        extra = {"br": "brotli", "zstd": "zstd"}[coding.value]
        for make in (make_encoder, make_decoder):
            with pytest.raises(MissingCodingError, match=rf"pip install structweb\[{extra}\]"):
                make(coding)
        assert not is_available(coding)
        assert available_codings() == (ContentCoding.gzip, ContentCoding.deflate)
    finally:
        coding_module.cache_clear()


def test_identity_is_no_compression():
    for make in (make_encoder, make_decoder):
        with pytest.raises(ValueError, match="identity is no compression"):
            make(ContentCoding.identity)


# -- there and back ------------------------------------------------------------------------------------------------


@every_coding
@given(st.binary(max_size=3000), st.lists(st.integers(0, 5000), max_size=6), st.integers(1, 200))
def test_decoding_gives_back_what_was_encoded(coding: ContentCoding, data: bytes, cuts: list[int], limit: int):
    """However the bytes are split, and however little is asked for at once."""
    assert decoded(coding, cut(encoded(coding, data), cuts), limit) == data
    if coding is ContentCoding.deflate:
        assert decoded(coding, cut(raw_deflated(data), cuts), limit) == data


@every_coding
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_each_flushed_piece_can_be_decoded(coding: ContentCoding, pieces: list[bytes]):
    encoder, decoder = make_encoder(coding), make_decoder(coding)
    for piece in pieces:
        decoder.feed(encoder.compress(piece) + encoder.flush())
        assert b"".join(iter(lambda: decoder.take(STEP), b"")) == piece
        assert not decoder.ended
    decoder.feed(encoder.finish())
    assert decoder.take(STEP) == b""
    decoder.finish()


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if coding.value in ("gzip", "zstd")])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_several_members_are_one_body(coding: ContentCoding, size: int):
    data = encoded(coding, b"one ") + encoded(coding, b"") + encoded(coding, b"two")
    assert decoded(coding, [data[at : at + size] for at in range(0, len(data), size)]) == b"one two"


def test_gzip_may_be_padded_with_zeros():
    assert decoded(ContentCoding.gzip, [gzip.compress(b"x") + b"\0" * 600]) == b"x"


def test_strategies_are_zlibs():
    encoder = make_encoder(ContentCoding.gzip, zlib.Z_HUFFMAN_ONLY)
    assert gzip.decompress(encoder.compress(b"x" * 1000) + encoder.finish()) == b"x" * 1000


# -- what is no such data ------------------------------------------------------------------------------------------


@every_coding
def test_an_empty_body_is_empty(coding: ContentCoding):
    assert decoded(coding, [b""]) == b""


@every_coding
@given(st.data())
def test_an_early_end_is_an_error(coding: ContentCoding, data: st.DataObject):
    whole = encoded(coding, b"some text, some more text")
    size = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(CodingError, match="ended before its end"):
        decoded(coding, [whole[:size]])


@every_coding
@pytest.mark.parametrize("behind", [b"x", b"garbage" * 20])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_behind_the_end_are_an_error(coding: ContentCoding, behind: bytes, *, together: bool):
    whole = encoded(coding, b"text")
    with pytest.raises(CodingError):
        decoded(coding, [whole + behind] if together else [whole, behind])


@every_coding
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_decoded_or_refused(coding: ContentCoding, data: bytes):
    try:
        decoded(coding, [data])
    except CodingError:
        pass


@pytest.mark.skipif(ContentCoding.zstd not in CODINGS, reason="needs the extra zstd")
def test_a_window_larger_than_the_webs_is_refused():
    """RFC 9659: 8 MiB; a frame may ask its decoder for 2 GiB."""
    module = coding_module(ContentCoding.zstd)
    engine = module.ZstdCompressor(options={module.CompressionParameter.window_log: 27})
    with pytest.raises(CodingError):
        decoded(ContentCoding.zstd, [engine.compress(b"x" * 1000) + engine.flush(engine.FLUSH_FRAME)])


@every_coding
def test_a_bomb_costs_no_memory(coding: ContentCoding):
    """W-099: 256 MiB of zeros, taken step by step; in a second layer of the same it would be hundreds of GiB."""
    encoder = make_encoder(coding)
    bomb = b"".join(encoder.compress(b"\0" * 2**20) for _ in range(256)) + encoder.finish()
    assert len(bomb) < 300_000
    decoder = make_decoder(coding)
    total = 0
    tracemalloc.start()
    decoder.feed(bomb)
    while step := decoder.take(STEP):
        total += len(step)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    decoder.finish()
    assert total == 2**28
    assert peak < 2**20 + len(bomb)
