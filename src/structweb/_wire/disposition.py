"""The Content-Disposition header of bodies and parts (RFC 6266, RFC 7578)."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote as percent_encode

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUOTABLE: Final = re.compile(r"[\t !-~]*")


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
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", escaped):
        raise ValueError(f"content disposition parameter {name} must not have control characters, got {value!r}")
    return f'{name}="{escaped}"'
