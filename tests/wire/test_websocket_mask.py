"""Masking gives what RFC 6455 section 5.3 says, whoever does it."""

import runpy
import sys
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from structweb._wire import websocket_mask
from structweb._wire.websocket_mask import mask, mask_in_python
from tests.fuzz.frames import xor

KEYS = st.binary(min_size=4, max_size=4)
SIZES = st.integers(0, 40) | st.integers(780, 820) | st.integers(0, 5000)


@given(SIZES, KEYS, st.integers(0, 255))
@example(799, b"\x01\x02\x03\x04", 0)
@example(800, b"\x01\x02\x03\x04", 0)
def test_python_masks_as_the_rfc_says(size, key, first):
    data = bytes((first + index) & 255 for index in range(size))
    assert mask_in_python(data, key) == xor(data, key)
    assert mask_in_python(bytearray(data), bytearray(key)) == xor(data, key)


@given(st.binary(max_size=2000), KEYS)
def test_what_was_chosen_agrees_with_python(data, key):
    masked = mask(data, key)
    assert type(masked) is bytes
    assert masked == mask_in_python(data, key)
    assert mask(masked, key) == data


@given(SIZES, KEYS)
def test_the_function_in_c_agrees_with_python(size, key):
    speedups = pytest.importorskip("websockets.speedups")
    data = bytes(index & 255 for index in range(size))
    for given_data in (data, bytearray(data)):
        masked = speedups.apply_mask(given_data, key)
        assert type(masked) is bytes
        assert masked == mask_in_python(data, key)


def chosen_when_imported() -> object:
    return runpy.run_path(websocket_mask.__file__)["mask"]


def test_the_function_in_c_is_used_where_it_is_installed(monkeypatch):
    def in_c(data, key):
        """Stand where websockets has a compiled function."""

    monkeypatch.setitem(sys.modules, "websockets", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "websockets.speedups", SimpleNamespace(apply_mask=in_c))
    assert chosen_when_imported() is in_c


def test_python_does_it_where_nothing_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    chosen = chosen_when_imported()
    assert chosen.__name__ == "mask_in_python"
    assert chosen(b"abcde", b"\0\0\0\x01") == b"abcee"
