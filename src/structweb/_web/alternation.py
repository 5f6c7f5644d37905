"""Many path templates as one regular expression that finds the first of them to match a whole path.

The templates are laid out as a tree of segments, so that equal beginnings are tried once: ``/{a}/x``, ``/{a}/y`` and
``/{a}/y/{b}`` become ``/([^{}/]+)/(?:x()|y(?:()|/([^{}/]+)()))``.  The empty group at the end of each template tells which
one matched (`Match.lastindex`), the others hold the values.

What must not change is the order: a template is tried before those added after it.  Hence a segment is shared only if
it matches in one way at most, and only if nothing between the two templates could have come first.
"""

import re
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from structweb._web.patterns import Segment

T = TypeVar("T")


class Outcome(NamedTuple, Generic[T]):
    """What a match stands for."""

    value: T
    #: The groups of the variables, in order.
    groups: tuple[int, ...]


class _Node(Generic[T]):
    """What may follow a beginning: its end, and further segments."""

    def __init__(self) -> None:
        self.end: T | None = None
        self.branches: list[tuple[Segment, _Node[T]]] = []

    def branch(self, segment: Segment) -> "_Node[T]":
        """Return the node behind a segment: a shared one if that keeps the order, else a new one, tried last."""
        for other, node in reversed(self.branches):
            if other.regex == segment.regex and segment.unique:
                return node
            if not (other.literal and segment.literal):
                break
        node = _Node[T]()
        self.branches.append((segment, node))
        return node


class Alternation(Generic[T]):
    """Templates in the order to try them; `compile` makes the expression."""

    def __init__(self) -> None:
        self._root = _Node[T]()
        self._groups = 0
        self._outcomes: dict[int | None, Outcome[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._root.branches)

    def add(self, segments: Sequence[Segment], value: T) -> None:
        """Add a template, to be tried after the others, and what finding it means."""
        node = self._root
        for segment in segments:
            node = node.branch(segment)
        if node.end is None:  # else the same template came before, and this one is never reached
            node.end = value

    def compile(self) -> tuple[re.Pattern[str], dict[int | None, Outcome[T]]]:
        """Return the expression, and the outcomes by the `lastindex` of a match."""
        self._groups = 0
        self._outcomes = {}
        return re.compile(self._write(self._root, ())), self._outcomes

    def _write(self, node: _Node[T], groups: tuple[int, ...]) -> str:
        choices = [self._write_branch(segment, after, groups) for segment, after in node.branches]
        return choices[0] if len(choices) == 1 else f"(?:{'|'.join(choices)})"

    def _write_branch(self, segment: Segment, node: _Node[T], groups: tuple[int, ...]) -> str:
        first = self._groups + 1
        self._groups += segment.variables
        groups = (*groups, *range(first, first + segment.variables))
        follow = []
        if node.end is not None:
            self._groups += 1
            self._outcomes[self._groups] = Outcome(node.end, groups)
            follow.append("()")
        if node.branches:
            follow.append("/" + self._write(node, groups))
        return segment.regex + (follow[0] if len(follow) == 1 else f"(?:{'|'.join(follow)})")
