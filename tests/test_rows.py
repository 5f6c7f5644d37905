"""tests/rows.txt says which tests show which row of the census: nothing in it is made up, and nothing is left out."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
ROWS = TESTS / "rows.txt"


def numbers(*spans: int | tuple[int, int]) -> list[int]:
    """Return single numbers and spans (both ends included) as one list."""
    return [
        number for span in spans for number in (range(span[0], span[1] + 1) if isinstance(span, tuple) else (span,))
    ]


#: What each issue has to show.  An issue adds its own.
SCOPE = {
    "the engine and a first application": [
        *(f"S-{number:02}" for number in numbers((1, 32), 37)),
        *(f"W-{number:03}" for number in numbers((1, 71), (79, 96), (142, 183), 196)),
        *(f"X-{number:02}" for number in numbers((1, 32), (39, 41))),
    ],
    "all of aiohttp.web": [
        *(f"S-{number:02}" for number in numbers((38, 41), 45, (49, 57))),
        *(f"W-{number:03}" for number in numbers((17, 125), (185, 188), (197, 204))),
        *(f"X-{number:02}" for number in numbers(28, 42)),
    ],
    "lifetimes, services and the test helpers": [f"B-{number:02}" for number in numbers((3, 10))],
    "templates": [
        *(f"S-{number:02}" for number in numbers((42, 44))),
        *(f"T-{number:02}" for number in numbers((1, 14))),
        "X-38",
    ],
    "the test kit": [
        *(f"W-{number:03}" for number in numbers((189, 195))),
        *(f"X-{number:02}" for number in numbers((34, 36), (39, 43))),
    ],
    "shutdown": ["B-02", "B-08", "B-12"],
    "jobs": [
        *(f"S-{number:02}" for number in numbers((28, 36))),
        *(f"J-{number:02}" for number in numbers((1, 22))),
    ],
    "sessions": [
        *(f"S-{number:02}" for number in numbers((46, 48))),
        *(f"T-{number:02}" for number in numbers((15, 28))),
        "X-37",
    ],
    "companions": ["B-19"],
    "WebSockets": [
        *(f"S-{number:02}" for number in numbers((58, 60))),
        *(f"W-{number:03}" for number in numbers((126, 141), 173, (183, 184))),
        *(f"X-{number:02}" for number in numbers((24, 27))),
        "B-14",
    ],
}


class Row(NamedTuple):
    """A line of rows.txt."""

    name: str
    tests: list[str]
    later: str


def rows() -> list[Row]:
    """Read rows.txt."""
    found = []
    for line in ROWS.read_text().splitlines():
        if not line.startswith("#"):
            shown, _, later = line.partition(" later: ")
            name, *tests = shown.split()
            found.append(Row(name, tests, later))
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file, whose path begins below tests/."""
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_every_named_test_exists(row: Row):
    for test in row.tests:
        file, _, name = test.partition("::")
        assert (TESTS / file).is_file(), f"{row.name} names {test}, and there is no such file"
        assert name in names_in(file), f"{row.name} names {test}, and there is no such test"


def test_a_row_has_tests_or_says_what_it_waits_for():
    assert [row.name for row in rows() if not row.tests and not row.later] == []


def test_each_row_has_one_line():
    names = [row.name for row in rows()]
    assert sorted(names) == sorted(set(names))
    assert all(re.fullmatch(r"[A-Z]-\d{2,3}", name) for name in names)


@pytest.mark.parametrize("issue", SCOPE)
def test_every_row_of_an_issue_is_listed(issue: str):
    listed = {row.name for row in rows()}
    assert [name for name in SCOPE[issue] if name not in listed] == []
