"""Forms as application/x-www-form-urlencoded."""

import re
from collections.abc import Generator, Iterator
from io import StringIO
from typing import Final

_PAIR: Final = re.compile(r"[^&]+")
# Escapes that follow each other.  So many at most, because the engine keeps some 50 bytes for each.
_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}){1,1024}")
# Fields, or runs of escapes in one of them, that are read in a row: some milliseconds.
_STEP: Final = 4096


class TooManyFieldsError(ValueError):
    """A form has more fields than are accepted."""


def parse_form(body: bytes, charset: str, max_fields: int) -> list[tuple[str, str]]:
    """Return the fields of a form in their order, empty ones too; ``%ff`` that is no text becomes U+FFFD.

    Raises LookupError for a charset that is not known, UnicodeDecodeError for bytes that are not text in it, and
    TooManyFieldsError for more than `max_fields` (0: no limit) before it has taken memory for them.
    """
    pairs: list[tuple[str, str]] = []
    for _ in parse_form_in_steps(body, charset, max_fields, pairs):
        pass
    return pairs


def parse_form_in_steps(body: bytes, charset: str, max_fields: int, pairs: list[tuple[str, str]]) -> Iterator[None]:
    """Append the fields of a form to `pairs`, as `parse_form` does, and yield whenever others should have a turn."""
    text = body.rstrip().decode(charset)
    for match in _PAIR.finditer(text):
        if len(pairs) == max_fields > 0:
            raise TooManyFieldsError(f"Maximum number of form fields {max_fields} exceeded.")
        name, _, value = match[0].partition("=")
        name = (yield from _unquote(name, charset)) if "%" in name else name.replace("+", " ")
        value = (yield from _unquote(value, charset)) if "%" in value else value.replace("+", " ")
        pairs.append((name, value))
        if len(pairs) % _STEP == 0:
            yield


def _unquote(text: str, charset: str) -> Generator[None, None, str]:
    """Return `text` without its escapes.  The standard library's function takes 200 bytes for each ``%``."""
    text = text.replace("+", " ")
    plain = StringIO()
    octets = bytearray()  # of escapes that follow each other: together they may be one letter
    position = 0
    for count, match in enumerate(_ESCAPES.finditer(text), 1):
        if match.start() > position:
            plain.write(octets.decode(charset, "replace"))
            octets.clear()
            plain.write(text[position : match.start()])
        octets += bytes.fromhex(match[0].replace("%", ""))
        position = match.end()
        if count % _STEP == 0:
            yield
    plain.write(octets.decode(charset, "replace"))
    plain.write(text[position:])
    return plain.getvalue()
