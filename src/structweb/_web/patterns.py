r"""Path templates with variable parts: ``/users/{name}``, ``/posts/{year:\d{4}}/{slug}``.

A template is matched against the *decoded* path (`structweb._wire.urlpath`, the safe spelling): a space is a space and
letters of any script are themselves; only an encoded slash stays ``%2F`` and a percent sign ``%25`` while matching, and
become ``/`` and ``%`` in the values.  Literals may be written decoded or percent-encoded, which makes no difference.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from structweb._wire.urlpath import decode_path, decode_value, quote_path, requote_path

#: What a variable part without a regular expression of its own matches.
DEFAULT_PATTERN: Final = r"[^{}/]+"
#: A variable part within a path, whose expression may have braces of its own.
ROUTE_RE: Final = re.compile(r"(\{[_a-zA-Z][^{}]*(?:\{[^{}]*\}[^{}]*)*\})")
#: A variable part that matches `DEFAULT_PATTERN`, and one with an expression of its own.
PLAIN_VARIABLE: Final = re.compile(r"\{(?P<var>[A-Za-z_][A-Za-z0-9_]*)\}")
REGEX_VARIABLE: Final = re.compile(r"\{(?P<var>[A-Za-z_][A-Za-z0-9_]*):(?P<re>.+)\}", re.DOTALL)
# What ties an expression to its own group numbers and names, so that it cannot be a part of a longer one.
_REFERENCE: Final = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")


class Variable(NamedTuple):
    """A variable part: its name, and the regular expression for its value."""

    name: str
    regex: str


class Segment(NamedTuple):
    """What is between two literal slashes of a template, as a regular expression with a group for each variable."""

    regex: str
    variables: int
    #: Whether a path can match it in one way at most.
    unique: bool

    @property
    def literal(self) -> bool:
        """Whether there is no variable in it."""
        return self.variables == 0


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path with variable parts, compiled.  Make it with `parse_template`."""

    #: Literals, percent-encoded, and variables, in order.
    parts: tuple[str | Variable, ...]
    #: The template as text, with the expressions left out: ``/posts/{year}/{slug}``.
    formatter: str
    #: For the safe spelling of a whole path (use `fullmatch`).
    pattern: re.Pattern[str]
    #: The safe spelling of what stands before the first variable.
    literal_prefix: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables, in order."""
        return tuple(part.name for part in self.parts if isinstance(part, Variable))

    @property
    def segments(self) -> "tuple[Segment, ...] | None":
        """The pattern cut at its literal slashes, for joining with others.

        None if an expression of the template has groups of its own or refers to some.
        """
        if self.pattern.groups != len(self.names) or not all(_stands_alone(part) for part in self.parts):
            return None
        segments: list[list[str | Variable]] = [[]]
        for part in self.parts:
            if isinstance(part, Variable):
                segments[-1].append(part)
                continue
            first, *others = decode_path(part).split("/")
            segments[-1].append(first)
            segments.extend([other] for other in others)
        return tuple(map(_segment, segments))

    def match(self, path: str) -> dict[str, str] | None:
        """Return the texts of the variables if the whole path (in its safe spelling) matches, else None."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        return {name: decode_value(value) for name, value in found.groupdict().items() if value is not None}

    def fill(self, values: dict[str, str]) -> str:
        """Return the raw path with the variables filled in and quoted; slashes in values stay slashes.

        Raises KeyError for a missing variable, TypeError for a value that is no str.
        """
        return "".join(part if isinstance(part, str) else self._quoted(part.name, values) for part in self.parts)

    def with_prefix(self, prefix: str) -> "PathTemplate":
        """Return the template with a literal put before it."""
        return replace(
            self,
            parts=(requote_path(prefix), *self.parts),
            formatter=requote_path(prefix) + self.formatter,
            pattern=re.compile(re.escape(decode_path(prefix)) + self.pattern.pattern),
            literal_prefix=decode_path(prefix) + self.literal_prefix,
        )

    def _quoted(self, name: str, values: dict[str, str]) -> str:
        if name not in values:
            raise KeyError(f"url_for() of {self.formatter} needs {name!r}, got {sorted(values)}")
        value = values[name]
        if not isinstance(value, str):
            raise TypeError(f"url_for() of {self.formatter} needs a str for {name!r}, got {value!r}")
        return quote_path(value)


def has_variables(path: str) -> bool:
    """Whether a path is a template and not just a literal."""
    return "{" in path or "}" in path


def parse_template(path: str) -> PathTemplate:
    """Compile a path with variable parts.

    Raises ValueError for unbalanced braces, a name that is no ASCII identifier or comes twice, a bad expression.
    """
    if not path.startswith("/"):
        raise ValueError(f"path with variable parts must start with '/', got {path!r}")
    parts = tuple(_parse_part(piece, path) for piece in _split(path))
    regex = _regex(parts)
    try:
        pattern = re.compile(regex)
    except re.error as exc:
        raise ValueError(f"Bad pattern {regex!r} of path {path!r}: {exc}") from exc
    first = parts[0]
    return PathTemplate(
        parts=parts,
        formatter="".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in parts),
        pattern=pattern,
        literal_prefix=decode_path(first) if isinstance(first, str) else "",
    )


def _split(path: str) -> list[str]:
    """Cut a path into literals and variables."""
    pieces = [piece for piece in ROUTE_RE.split(path) if piece]
    start = 0
    for piece in pieces:
        if not ROUTE_RE.fullmatch(piece) and (brace := re.search("[{}]", piece)):
            raise ValueError(
                f"Invalid path {path!r}: expected {{name}} or {{name:regex}}, got a lone {brace[0]!r}"
                f" at position {start + brace.start()}"
            )
        start += len(piece)
    return pieces


def _parse_part(piece: str, path: str) -> str | Variable:
    if not piece.startswith("{"):
        return requote_path(piece)
    if found := PLAIN_VARIABLE.fullmatch(piece):
        return Variable(found["var"], DEFAULT_PATTERN)
    found = REGEX_VARIABLE.fullmatch(piece)
    if found is None:
        raise ValueError(f"Invalid path {path!r}: expected {{name}} or {{name:regex}}, got {piece!r}")
    return Variable(found["var"], found["re"])


def _regex(parts: tuple[str | Variable, ...]) -> str:
    return "".join(
        re.escape(decode_path(part)) if isinstance(part, str) else f"(?P<{part.name}>{part.regex})" for part in parts
    )


def _stands_alone(part: str | Variable) -> bool:
    """Whether a part means the same within another expression."""
    if isinstance(part, str) or part.regex == DEFAULT_PATTERN:
        return True
    if _REFERENCE.search(part.regex):
        return False
    try:
        re.compile(part.regex)
    except re.error:  # it closes the group it is put into, and opens another
        return False
    return True


def _segment(pieces: Sequence[str | Variable]) -> Segment:
    variables = [piece for piece in pieces if isinstance(piece, Variable)]
    return Segment(
        regex="".join(re.escape(piece) if isinstance(piece, str) else f"({piece.regex})" for piece in pieces),
        variables=len(variables),
        # Two variables, or one that may match a slash, leave a choice of where to end.
        unique=len(variables) <= 1 and all(variable.regex == DEFAULT_PATTERN for variable in variables),
    )


def literal_segments(path: str) -> tuple[Segment, ...]:
    """Return the segments of a path without variables, given in its safe spelling."""
    return tuple(Segment(re.escape(piece), 0, unique=True) for piece in path.split("/"))
