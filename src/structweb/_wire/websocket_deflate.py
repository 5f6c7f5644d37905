"""permessage-deflate (RFC 7692): its parameters, and how the two sides agree on them."""

import re
from dataclasses import dataclass
from typing import Final

NAME: Final = "permessage-deflate"

#: RFC 6455 section 9.1; a quoted value must be a token as well, once its quotes are gone.
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = rf"[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*(?:({_WORD})|\"({_WORD})\"))?"
_EXTENSION: Final = re.compile(rf"[ \t]*(?:({_WORD})((?:{_PARAMETER})*))?[ \t]*")
_PARAMETERS: Final = re.compile(_PARAMETER)
_BITS: Final = re.compile(r"[89]|1[0-5]")

#: The smallest window that zlib compresses raw data with: asked for 8, it takes 9, and the peer may fail.
_ZLIB_LEAST: Final = 9
_MOST: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateParameters:
    """What both sides agreed on: whether each forgets its window after a message, and how large that is (2**bits)."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = _MOST
    client_max_window_bits: int = _MOST


Extension = tuple[str, dict[str, str | None] | None]


def parse_extensions(header: str) -> list[Extension]:
    """Return each extension with its parameters (None for a name without value), with None if a parameter is repeated.

    A malformed header names none.
    """
    extensions: list[Extension] = []
    at = 0
    while at < len(header):
        match = _EXTENSION.match(header, at)
        if match is None or header[match.end() : match.end() + 1] not in ("", ","):
            return []
        at = match.end() + 1
        name, tail = match.group(1, 2)
        if name:  # a list may have empty elements
            found = [(key.lower(), token or quoted or None) for key, token, quoted in _PARAMETERS.findall(tail)]
            parameters = dict(found)
            extensions.append((name.lower(), parameters if len(parameters) == len(found) else None))
    return extensions


def _bits(value: str | None) -> int | None:
    return int(value) if value is not None and _BITS.fullmatch(value) is not None else None


def choose_offer(header: str, window_bits: int = _MOST) -> tuple[DeflateParameters, str] | None:
    """Return the parameters of the first offer that we can keep to, and the line that accepts it; None for no offer.

    An offer with anything unknown or malformed is declined, and so is one for a window of 2**8 bytes, which zlib cannot
    keep to.  `window_bits` is the largest window of ours.
    """
    for name, parameters in parse_extensions(header):
        if name == NAME and parameters is not None:
            accepted = _accept(dict(parameters), window_bits)
            if accepted is not None:
                return accepted
    return None


def _accept(parameters: dict[str, str | None], window_bits: int) -> tuple[DeflateParameters, str] | None:
    answer = [NAME]
    flags = {}
    for flag in ("server_no_context_takeover", "client_no_context_takeover"):
        flags[flag] = flag in parameters
        if flags[flag]:
            if parameters.pop(flag) is not None:
                return None
            answer.append(flag)
    if "client_max_window_bits" in parameters:
        # What it may use, not what it asks: any window up to 2**15 can be read, so there is nothing to answer.
        value = parameters.pop("client_max_window_bits")
        if value is not None and _bits(value) is None:
            return None
    if "server_max_window_bits" in parameters:
        bits = _bits(parameters.pop("server_max_window_bits"))
        if bits is None or bits < _ZLIB_LEAST:
            return None
        window_bits = min(bits, window_bits)
    if parameters:
        return None
    if window_bits < _MOST:
        answer.append(f"server_max_window_bits={window_bits}")
    return DeflateParameters(server_max_window_bits=window_bits, **flags), "; ".join(answer)


def make_offer(window_bits: int = _MOST) -> str:
    """Return the line with which a client offers permessage-deflate, in windows of at most 2**`window_bits` bytes."""
    limit = "" if window_bits == _MOST else f"={window_bits}"
    return f"{NAME}; client_max_window_bits{limit}"


def check_answer(parameters: dict[str, str | None], window_bits: int = _MOST) -> DeflateParameters | None:
    """Return what a server made of our offer; None if it may not say that (RFC 7692 section 7.1)."""
    flags = {}
    for flag in ("server_no_context_takeover", "client_no_context_takeover"):
        flags[flag] = flag in parameters
        if parameters.pop(flag, None) is not None:
            return None
    ours = theirs = _MOST
    for key in ("client_max_window_bits", "server_max_window_bits"):
        if key in parameters:
            bits = _bits(parameters.pop(key))
            if bits is None:
                return None
            if key[0] == "c":
                ours = bits
            else:
                theirs = bits
    if parameters:
        return None
    return DeflateParameters(client_max_window_bits=min(ours, window_bits), server_max_window_bits=theirs, **flags)
