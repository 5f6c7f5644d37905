"""permessage-deflate is agreed on as RFC 7692 has it; what cannot be kept to is declined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._wire.websocket_deflate import (
    DeflateParameters,
    check_answer,
    choose_offer,
    make_offer,
    parse_extensions,
)


@pytest.mark.parametrize(
    ("header", "extensions"),
    [
        ("", []),
        ("a", [("a", {})]),
        ("A; B; c=1, d", [("a", {"b": None, "c": "1"}), ("d", {})]),
        (' a ; b = "1" ', [("a", {"b": "1"})]),
        (",, a,", [("a", {})]),
        ("a; b; b", [("a", None)]),
        ("a; b=1; B=2, c", [("a", None), ("c", {})]),
        ("a;", []),
        ("a b", []),
        ("a; b=", []),
        ('a; b="', []),
        ('a; b=""', []),
        ('a; b="1 2"', []),
        ("a; b=1=2", []),
        ("a, é", []),
        ("a, @", []),
        ("=, a", []),
        ("; a", []),
    ],
)
def test_extensions_are_read(header, extensions):
    assert parse_extensions(header) == extensions


def parameters(**changes: int | bool) -> DeflateParameters:
    return DeflateParameters(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offer", "agreed", "answer"),
    [
        ("permessage-deflate", {}, "permessage-deflate"),
        ("PerMessage-Deflate", {}, "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", {}, "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=8", {}, "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=15", {}, "permessage-deflate"),
        (
            "permessage-deflate; server_max_window_bits=15",
            {},
            "permessage-deflate",
        ),
        (
            'permessage-deflate; server_max_window_bits="9"',
            {"server_max_window_bits": 9},
            "permessage-deflate; server_max_window_bits=9",
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            {"server_no_context_takeover": True, "client_no_context_takeover": True},
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            "permessage-deflate; client_no_context_takeover",
            {"client_no_context_takeover": True},
            "permessage-deflate; client_no_context_takeover",
        ),
        # The first offer that can be kept to.
        (
            "x, permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10",
            {"server_max_window_bits": 10},
            "permessage-deflate; server_max_window_bits=10",
        ),
    ],
)
def test_an_offer_is_accepted(offer, agreed, answer):
    assert choose_offer(offer) == (parameters(**agreed), answer)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-bzip2",
        "permessage-deflate; x",
        "permessage-deflate; x=1",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        # zlib has no raw windows of 8 bits: it would take 9, and the peer could not follow.
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=1٠",
        "permessage-deflate; server_max_window_bits=x",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=+9",
        "permessage-deflate;",
        "permessage-deflate, @",
    ],
)
def test_an_offer_is_declined(offer):
    assert choose_offer(offer) is None


def test_our_own_window_may_be_smaller():
    agreed = parameters(server_max_window_bits=10), "permessage-deflate; server_max_window_bits=10"
    assert choose_offer("permessage-deflate", 10) == agreed
    assert choose_offer("permessage-deflate; server_max_window_bits=12", 10) == agreed


def test_a_client_offers():
    assert make_offer() == "permessage-deflate; client_max_window_bits"
    assert make_offer(12) == "permessage-deflate; client_max_window_bits=12"


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ({}, {}),
        ({"server_no_context_takeover": None}, {"server_no_context_takeover": True}),
        ({"client_no_context_takeover": None}, {"client_no_context_takeover": True}),
        ({"server_max_window_bits": "8"}, {"server_max_window_bits": 8}),
        # We send without compression then.
        ({"client_max_window_bits": "8"}, {"client_max_window_bits": 8}),
        ({"client_max_window_bits": "10"}, {"client_max_window_bits": 10}),
        ({"server_no_context_takeover": "1"}, None),
        ({"client_no_context_takeover": "1"}, None),
        ({"server_max_window_bits": None}, None),
        ({"server_max_window_bits": "16"}, None),
        ({"client_max_window_bits": None}, None),
        ({"client_max_window_bits": "7"}, None),
        ({"x": None}, None),
    ],
)
def test_a_client_checks_the_answer(answer, agreed):
    assert check_answer(answer) == (None if agreed is None else parameters(**agreed))


@given(st.integers(9, 15), st.integers(9, 15))
def test_both_sides_agree(ours, theirs):
    chosen = choose_offer(make_offer(ours), theirs)
    assert chosen is not None
    [(_, answer)] = parse_extensions(chosen[1])
    agreed = check_answer(answer or {}, ours)
    assert agreed == parameters(server_max_window_bits=theirs, client_max_window_bits=ours)
