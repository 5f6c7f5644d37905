"""Content-Disposition as aiohttp has it: `parse_content_disposition` and `content_disposition_filename`."""

import warnings
from collections.abc import Mapping

from structweb._wire.content_disposition import parameter_of, read_disposition


class BadContentDispositionHeader(RuntimeWarning):
    """A Content-Disposition header has something where it must not be."""


class BadContentDispositionParam(RuntimeWarning):
    """A parameter of a Content-Disposition header was left out."""


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
