"""Accept-Encoding (RFC 9110 section 12.5.3): which content codings a client takes."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_ITEM: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]*;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?))?")


@lru_cache(maxsize=128)
def _weights(header: str) -> Mapping[str, float]:
    weights: dict[str, float] = {}
    for piece in header.split(","):
        match = _ITEM.fullmatch(piece.strip(" \t"))
        if match is not None:
            weights[match[1].lower()] = float(match[2] or 1)
    return weights


def takes_coding(header: str, coding: str) -> bool:
    """Tell whether a client with this Accept-Encoding takes `coding`; what is malformed in it does not count."""
    weights = _weights(header)
    return weights.get(coding, weights.get("*", 0.0)) > 0
