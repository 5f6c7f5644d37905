"""Parts in base64, quoted-printable, gzip and deflate (W-119)."""

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.multipart import MultipartError
from structweb._wire.part_coding import (
    UnknownEncodingError,
    deflater,
    part_decoder,
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


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_was_compressed_is_decoded(encoding):
    stream = deflater(encoding)
    decoder = part_decoder(encoding)
    decoder.feed(stream.compress(b"abc") + stream.flush())
    assert decoder.take(99) == b"abc"
    decoder.finish()


@pytest.mark.parametrize("encoding", ["br", "zstd", "identity", "x", ""])
def test_other_codings_are_not_for_parts(encoding):
    with pytest.raises(UnknownEncodingError, match=f"unknown content encoding: {encoding}"):
        part_decoder(encoding)
