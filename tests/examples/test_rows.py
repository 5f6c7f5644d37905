"""Nothing is shown that does not run: each example has its test, its docstring and a page that shows it."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from structweb import web
from tests.examples.program import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TESTS = sorted(Path(__file__).parent.glob("test_*.py"))
PAGES = [page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts]
#: What the examples have to show: from the first handler to the resources' own rules.
ROWS = {f"S-{number:02}" for number in (*range(1, 27), 33, 34, 36, 37, *range(42, 45), *range(46, 49), *range(58, 61))}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_whole(file: Path):
    """It makes an application from a list of arguments, and what it imports of ours is the one name (or a companion)."""
    tree = ast.parse(file.read_text())
    ours = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and "structweb" in ast.unparse(node)
    ]
    companions = ("import structweb", "from structweb.jobs import ", "from structweb.sessions")
    assert [line for line in ours if not line.startswith(companions)] == ["from structweb import web"]
    module = import_module(f"examples.{file.stem}")
    assert isinstance(module.init_func([]), web.Application)
    if file.stem != "hello":  # the README shows that one, and explains it
        assert ast.get_docstring(tree)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_run_and_shown(file: Path):
    tests = "\n".join(test.read_text() for test in TESTS)
    assert re.search(rf"\b{file.stem}\b", tests), f"no test runs {file.name}"
    if file.stem != "hello":
        shown = [page for page in PAGES if f"examples/{file.name}" in page.read_text()]
        assert shown, f"no page shows {file.name}"


def test_every_row_is_named():
    """A test's docstring says which rows it shows."""
    named = set()
    for test in TESTS:
        for node in ast.walk(ast.parse(test.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                named |= set(re.findall(r"S-\d\d", ast.get_docstring(node) or ""))
    assert named == ROWS
