"""Accept-Encoding (RFC 9110 section 12.5.3): which content codings a client takes."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_ELEMENT: Final = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?")


@lru_cache(maxsize=128)
def coding_weights(header: str) -> Mapping[str, float]:
    """Return the weight of each coding that an Accept-Encoding names, "*" among them; malformed elements do not count."""
    weights: dict[str, float] = {}
    for element in header.lower().split(","):
        match = _ELEMENT.fullmatch(element.strip(" \t"))
        if match is not None:
            name, weight = match.groups()
            weights["gzip" if name == "x-gzip" else name] = 1.0 if weight is None else float(weight)
    return weights


def takes_coding(header: str, coding: str) -> bool:
    """Tell whether a client with this Accept-Encoding takes `coding`."""
    weights = coding_weights(header)
    return weights.get(coding, weights.get("*", 0.0)) > 0
