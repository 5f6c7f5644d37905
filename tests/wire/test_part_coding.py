"""Parts in base64, quoted-printable, gzip and deflate (W-119)."""

import base64
import gzip
import quopri
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.multipart import MultipartError
from structweb._wire.part_coding import (
    Inflater,
    UnknownEncodingError,
    deflater,
    transfer_decode,
    transfer_encode,
    whole_length,
)


@pytest.mark.parametrize("encoding", ["", "binary", "8bit", "7bit"])
def test_verbatim(encoding):
    assert transfer_decode(b"a\xff=", encoding) == b"a\xff="


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable"]), st.integers(4, 50))
def test_pieces_cut_where_they_may_be_decode_alone(data, encoding, size):
    encoded = (base64.encodebytes(data) if encoding == "base64" else quopri.encodestring(data)) or b""
    decoded, held = b"", b""
    for start in range(0, len(encoded), size):
        held += encoded[start : start + size]
        end = whole_length(held, encoding)
        decoded += transfer_decode(held[:end], encoding)
        held = held[end:]
        assert len(held) < 80
    assert decoded + transfer_decode(held, encoding) == data


@given(st.binary(max_size=300).filter(lambda data: b"\r" not in data), st.sampled_from(["base64", "quoted-printable"]))
def test_what_was_encoded_is_decoded(data, encoding):
    decoded = transfer_decode(transfer_encode(data, encoding), encoding)
    assert decoded.replace(b"\r\n", b"\n") == data if encoding != "base64" else decoded == data


def test_bad_transfer_encodings():
    with pytest.raises(MultipartError, match="bad base64"):
        transfer_decode(b"YQ", "base64")
    with pytest.raises(UnknownEncodingError, match="unknown content transfer encoding: x"):
        transfer_decode(b"a", "x")


def raw_deflate(data):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)]
)
@given(data=st.binary(max_size=500), size=st.integers(1, 100))
def test_inflates_pieces(encoding, compress, data, size):
    compressed = compress(data)
    inflater = Inflater(encoding, 7)
    assert inflater.complete
    pieces = [
        piece for start in range(0, len(compressed), size) for piece in inflater.feed(compressed[start : start + size])
    ]
    assert b"".join(pieces) == data
    assert all(len(piece) <= 7 for piece in pieces)
    assert inflater.complete


def test_inflates_one_stream_behind_the_other():
    assert b"".join(Inflater("gzip", 99).feed(gzip.compress(b"a") + gzip.compress(b"b"))) == b"ab"


def test_a_bomb_comes_in_pieces():
    pieces = Inflater("gzip", 1000).feed(gzip.compress(bytes(10**7)))
    assert {len(next(pieces)) for _ in range(100)} == {1000}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_deflater(encoding):
    stream = deflater(encoding)
    assert b"".join(Inflater(encoding, 99).feed(stream.compress(b"abc") + stream.flush())) == b"abc"


def test_bad_compression():
    with pytest.raises(MultipartError, match="bad gzip data"):
        list(Inflater("gzip", 9).feed(b"no gzip"))
    with pytest.raises(UnknownEncodingError, match="unknown content encoding: br"):
        Inflater("br", 9)
    broken = Inflater("gzip", 9)
    list(broken.feed(gzip.compress(b"abc")[:-2]))
    assert not broken.complete
