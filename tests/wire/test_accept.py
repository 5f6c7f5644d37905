"""Accept-Encoding: which codings a client takes (W-109)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.accept import takes_coding


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("br, gzip;q=0.001", True),
        ("gzip;q=1.000", True),
        ("gzip ; q=0.5 , br", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0, gzip", True),
        ("xgzip, gzipx", False),
        ("gzip;q=2", False),
        ("gzip;level=9", False),
        ("identity", False),
    ],
)
def test_what_a_client_takes(header, takes):
    assert takes_coding(header, "gzip") is takes


@given(st.text())
def test_any_text_is_read(text):
    takes_coding(text, "br")
