"""The Content-Disposition header (RFC 6266, RFC 2231, RFC 7578): read as leniently as browsers need it, and written."""

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes

_TCHAR: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_TYPE: Final = re.compile(rf"[ \t]*({_TCHAR}+)[ \t]*(?=;|\Z)")
# A quoted string comes first: it may hold semicolons.  What is quoted wrongly is taken up to the next semicolon.
_PARAMETER: Final = re.compile(
    r';(?:([^=;]*+)=[ \t]*+("[^"\\]*+(?:\\.[^"\\]*+)*"[ \t]*+(?=;|\Z)|[^;]*+)|([^;]*+))', re.DOTALL
)
_TOKEN: Final = re.compile(rf"{_TCHAR}+")
_QUOTABLE: Final = re.compile(r"[\t !-~]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ESCAPED: Final = re.compile(r"\\([\x00-\x7f])")
_SECTION: Final = re.compile(r"(.+)\*(0|[1-9][0-9]{0,3})(\*?)")


class BadContentDispositionHeader(RuntimeWarning):
    """A Content-Disposition header has something where it must not be."""


class BadContentDispositionParam(RuntimeWarning):
    """A parameter of a Content-Disposition header was left out."""


class Disposition(NamedTuple):
    """What a Content-Disposition header says, and what is wrong with it."""

    #: Lower-cased; None if the header cannot be read.
    type: str | None
    #: By lower-cased name, as sent but for quotes; those of RFC 2231 are decoded unless they come in sections.
    parameters: Mapping[str, str]
    #: Whether something stands where it must not.
    bad_header: bool = False
    #: Parameters that were left out.
    bad_parameters: tuple[str, ...] = ()


def read_disposition(header: str | None) -> Disposition:
    """Return what a Content-Disposition header says.  Never raises."""
    if not header:
        return Disposition(None, {})
    start = _TYPE.match(header)
    if start is None:
        return Disposition(None, {}, bad_header=True)
    parameters: dict[str, str] = {}
    skipped: list[str] = []
    odd = False
    for name, value, other in _items(header, start.end()):
        if other is not None:
            if other:
                return Disposition(None, {}, bad_header=True)
            odd = True  # nothing between two semicolons, or behind the last one
        elif name in parameters:
            return Disposition(None, {}, bad_header=True)
        elif not _TOKEN.fullmatch(name):
            skipped.append(f"{name}={value}")
        else:
            text = _value_of(name, value)
            if text is not None:
                parameters[name] = text
            elif "*" in name:
                skipped.append(f"{name}={value}")
            else:
                return Disposition(None, {}, bad_header=True)
    return Disposition(start[1].lower(), parameters, odd, tuple(skipped))


def _items(header: str, position: int) -> Iterator[tuple[str, str, str | None]]:
    for match in _PARAMETER.finditer(header, position):
        if match[1] is None:
            yield "", "", match[3]
        else:
            yield match[1].strip().lower(), match[2], None


def _value_of(name: str, value: str) -> str | None:
    """Return the value of a parameter, None for a malformed one."""
    quoted = value.rstrip(" \t")
    is_quoted = len(quoted) >= 2 and quoted[0] == quoted[-1] == '"'
    if _SECTION.fullmatch(name):
        if is_quoted:
            return _ESCAPED.sub(r"\1", quoted[1:-1])
        return value if _TOKEN.fullmatch(value) else None
    if name.endswith("*"):
        return decode_extended(value)
    if is_quoted:
        return _ESCAPED.sub(r"\1", quoted[1:-1].lstrip("\\/"))
    return quoted if _TOKEN.fullmatch(quoted) else None


def decode_extended(value: str) -> str | None:
    """Return what an extended value (RFC 5987: ``charset'language'text``) says; None for a malformed one."""
    if value.count("'") != 2 or not _TOKEN.fullmatch(value):
        return None
    charset, _, text = value.split("'")
    try:
        return unquote_to_bytes(text).decode(charset or "utf-8")
    except (LookupError, ValueError):  # the sender chose the charset
        return None


def parameter_of(parameters: Mapping[str, str], name: str) -> str | None:
    """Return parameter `name`, preferring its extended form, and put it together if it comes in sections (RFC 2231)."""
    extended = parameters.get(f"{name}*")
    if extended is not None:
        return extended
    plain = parameters.get(name)
    return plain if plain is not None else _joined(parameters, name)


def _joined(parameters: Mapping[str, str], name: str) -> str | None:
    sections: dict[int, tuple[str, bool]] = {}
    for key, value in parameters.items():
        match = _SECTION.fullmatch(key)
        if match is not None and match[1] == name:
            sections[int(match[2])] = value, bool(match[3])
    if 0 not in sections:
        return None
    first, encoded = sections[0]
    charset = "utf-8"
    if encoded and first.count("'") >= 2:
        charset, _, first = first.split("'", 2)
    pieces = [(first, encoded)]
    while len(pieces) in sections:
        pieces.append(sections[len(pieces)])
    if not any(extended for _, extended in pieces):
        return "".join(text for text, _ in pieces)
    try:
        octets = [unquote_to_bytes(text) if extended else text.encode(charset or "utf-8") for text, extended in pieces]
        return b"".join(octets).decode(charset or "utf-8")
    except (LookupError, ValueError):
        return None


def parse_content_disposition(header: str | None) -> tuple[str | None, dict[str, str]]:
    """Return the disposition, lower-cased, and its parameters; ``(None, {})`` for a malformed header, with a warning.

    `content_disposition_filename` makes a file name of the parameters.
    """
    disposition = read_disposition(header)
    if disposition.bad_header:
        warnings.warn(str(header), BadContentDispositionHeader, stacklevel=2)
    for parameter in disposition.bad_parameters:
        warnings.warn(parameter, BadContentDispositionParam, stacklevel=2)
    return disposition.type, dict(disposition.parameters)


def content_disposition_filename(params: Mapping[str, str], name: str = "filename") -> str | None:
    """Return the file name (or another parameter `name`), whichever of RFC 2231's forms it has; None if there is none.

    It is what the sender says: never make it part of a path.
    """
    return parameter_of(params, name)


def format_disposition(
    disposition: str, parameters: Mapping[str, str], *, quote: bool = True, charset: str = "utf-8"
) -> str:
    """Return ``disposition; name="value"; ...``.

    With `quote`, the value is ASCII: a file name is percent-encoded, another value that is not ASCII becomes
    ``name*=utf-8''...``.  Without, values stay as they are, for recipients that take 8-bit names.
    Raises ValueError for a disposition or name that is no token, and for control characters in a value.
    """
    if not _TOKEN.fullmatch(disposition):
        raise ValueError(f"content disposition must be a token, got {disposition!r}")
    return "; ".join([disposition, *(_parameter(name, value, quote, charset) for name, value in parameters.items())])


def _parameter(name: str, value: str, quote: bool, charset: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"content disposition parameter must be a token, got {name!r}")
    if quote and name.lower() == "filename":
        return f'{name}="{percent_encode(value, "", encoding=charset)}"'
    if quote and not _QUOTABLE.fullmatch(value):
        return f"{name}*={charset}''{percent_encode(value, '', encoding=charset)}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    if _CONTROL.search(escaped):
        raise ValueError(f"content disposition parameter {name} must not have control characters, got {value!r}")
    return f'{name}="{escaped}"'
