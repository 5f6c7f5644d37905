"""Paths of URLs: the form that routes are matched in, and the way back into a URL.

Three spellings of one path meet here:

raw
    as on the wire: ASCII, percent-encoded.
safe
    decoded, except that an encoded slash stays ``%2F`` and every percent sign that is text is ``%25``.  Routes are
    matched in this spelling: ``%2F`` cannot make a segment, and no two different paths look the same.  Decoding a safe
    path once more changes nothing, so a raw path without escapes is its own safe spelling.
text
    one value out of a safe path, with the slashes and percent signs back in place.
"""

import re
from typing import Final
from urllib.parse import quote

_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+|%")
_ESCAPE: Final = re.compile(r"(%[0-9A-Fa-f]{2})")
_KEPT: Final = {ord("/"): "%2F", ord("%"): "%25"}

# RFC 3986's pchar and the slash; the letters, digits and "-._~" are safe for quote() anyway.
_PATH_CHARS: Final = "/@:!$&'()*+,;="


def decode_path(raw: str) -> str:
    """Return the safe spelling of a raw path; text that needs no escape (spaces, letters of any script) may be in it.

    An escape that is no valid UTF-8 and a ``%`` that starts no escape are text: their percent sign becomes ``%25``.
    """
    return _ESCAPES.sub(_decode_run, raw) if "%" in raw else raw


def decode_value(safe: str) -> str:
    """Return the text of a value cut out of a safe path."""
    # In this order: every percent sign of a safe path starts one of the two escapes, "%252F" holds no "%2F".
    return safe.replace("%2F", "/").replace("%25", "%") if "%" in safe else safe


def quote_path(text: str) -> str:
    """Percent-encode text for a path.  Slashes stay, a percent sign becomes ``%25``."""
    return quote(text, safe=_PATH_CHARS)


def requote_path(path: str) -> str:
    """Percent-encode what needs it in a path that may be encoded already: valid escapes stay as they are."""
    if "%" not in path:
        return quote_path(path)
    return "".join(part if i % 2 else quote_path(part) for i, part in enumerate(_ESCAPE.split(path)))


def _decode_run(match: re.Match[str]) -> str:
    run = match[0]
    if run == "%":
        return "%25"
    octets = bytes.fromhex(run.replace("%", ""))
    try:
        return octets.decode().translate(_KEPT)
    except UnicodeDecodeError:
        return _decode_broken_run(run, octets.decode(errors="surrogateescape"))


def _decode_broken_run(run: str, decoded: str) -> str:
    """Decode the valid characters of a run of escapes; the others stay, in the case they were sent in."""
    out: list[str] = []
    at = 0
    for char in decoded:
        if "\udc80" <= char <= "\udcff":
            out.append("%25" + run[at + 1 : at + 3])
            at += 3
        else:
            out.append(char.translate(_KEPT))
            at += 3 * len(char.encode())
    return "".join(out)
