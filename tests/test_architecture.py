"""The house rules that a machine can check: floors, cycles, backends, sizes, reasons, and what must be documented."""

import ast
import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from structweb._server.config import ServerConfig
from structweb._web.settings import ServerOptions
from structweb._wire.limits import Limits, Timeouts

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "structweb"
REFERENCE = ROOT / "docs" / "reference"
FILES = sorted(SOURCE.rglob("*.py"))
FLOORS = ("_wire", "_server", "_web")
#: The only files that may name a backend: the seam, where the loop starts, and where tests take hold of it.
BACKEND_FILES = {
    "_server/native.py",
    "_server/parking.py",
    "_server/transport/asyncio.py",
    "_server/transport/trio.py",
    "_web/run.py",
    "testing/clock.py",
    "testing/stepping.py",
}
IMPURE = {"anyio", "asyncio", "logging", "select", "selectors", "socket", "ssl", "threading", "time", "trio", "uvloop"}
FACADES = ("__init__.py", "web/__init__.py", "testing/__init__.py", "jobs/__init__.py", "sessions/__init__.py")


def relative(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def named_module(name: str) -> str | None:
    """Return the module of ours that `name` is, or that it is taken from."""
    while name:
        if name in MODULES:
            return name
        name = name.rpartition(".")[0]
    return None


def imports_of(tree: ast.AST, *, types_too: bool) -> Iterator[tuple[int, str]]:
    """Yield each import of a module as line and dotted name, at any depth."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not types_too:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        yield from imports_of(node, types_too=types_too)


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def floor_of(module: str) -> int:
    room = module.split(".")[1] if "." in module else ""
    return FLOORS.index(room) if room in FLOORS else len(FLOORS)


# -- floors, cycles, backends ------------------------------------------------------------------------------------


def check_contracts(folder: Path, contract: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the import contracts of `folder`/pyproject.toml over the package in `folder`/src."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    if contract:
        command += ["--contract", contract]
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


needs_import_linter = pytest.mark.skipif(find_spec("importlinter") is None, reason="import-linter is not installed")


@needs_import_linter
def test_import_contracts_are_kept():
    done = check_contracts(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_import_linter
@pytest.mark.parametrize(
    ("contract", "planted"),
    [
        ("floors", {"_wire/planted.py": "import structweb._server.config"}),
        ("floors", {"_server/planted.py": "from structweb._web import handling"}),
        ("floors", {"_web/planted.py": "def f():\n    import structweb.testing"}),
        ("floors", {"web/planted.py": "import structweb.jobs"}),
        ("floors", {"utils.py": "# a room on no floor"}),
        ("pure-wire", {"_wire/planted.py": "import anyio"}),
        ("pure-wire", {"_wire/planted.py": "from time import monotonic"}),
        ("pure-wire", {"_wire/planted.py": "import socket"}),
        ("pure-wire", {"_wire/planted.py": "from logging import getLogger"}),
        ("backends", {"_server/planted.py": "import asyncio.events"}),
        ("backends", {"_web/planted.py": "def f():\n    from trio import lowlevel"}),
        ("backends", {"testing/planted.py": "import uvloop"}),
        (
            "no-cycles",
            {
                "_server/planted.py": "import structweb._server.planted_too",
                "_server/planted_too.py": "from structweb._server import planted",
            },
        ),
    ],
)
def test_planted_violation_breaks_its_contract(tmp_path: Path, contract: str, planted: dict[str, str]):
    """Each contract is able to fail: a copy of the package with one bad import in it does."""
    shutil.copytree(SOURCE, tmp_path / "src" / "structweb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert check_contracts(tmp_path, contract).returncode == 0
    for name, text in planted.items():
        (tmp_path / "src" / "structweb" / name).write_text(f'"""Planted."""\n\n{text}\n')
    done = check_contracts(tmp_path, contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "planted" in done.stdout or "utils" in done.stdout + done.stderr


def test_annotations_go_down_too():
    """What is imported for annotations only obeys the floors as well."""
    upward = [
        f"{relative(file)}:{line} imports {name}"
        for module, file in MODULES.items()
        for line, name in imports_of(parsed(file), types_too=True)
        if (target := named_module(name)) and floor_of(target) > floor_of(module)
    ]
    assert not upward, "\n".join(upward)


def test_outside_imports_stay_where_they_belong():
    """The same rules as the contracts', read from the source, imports for annotations included."""
    strays = []
    for file in FILES:
        for line, name in imports_of(parsed(file), types_too=True):
            top = name.split(".")[0]
            impure = relative(file).startswith("_wire/") and top in IMPURE
            backend = top in {"asyncio", "trio", "uvloop"} and relative(file) not in BACKEND_FILES
            if impure or backend:
                strays.append(f"{relative(file)}:{line} imports {name}")
    assert not strays, "\n".join(strays)


def test_no_import_cycles():
    graph = {
        module: {
            target
            for _, name in imports_of(parsed(file), types_too=False)
            if (target := named_module(name)) and target != module
        }
        for module, file in MODULES.items()
    }
    path: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for target in sorted(graph[module]):
                visit(target)
            path.pop()
            done.add(module)

    for module in graph:
        visit(module)


@pytest.mark.parametrize("name", FACADES)
def test_facade_holds_only_imports(name: str):
    if not (SOURCE / name).exists():
        pytest.skip(f"there is no {name} yet")
    for node in parsed(SOURCE / name).body:
        allowed = (
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
            or (
                isinstance(node, ast.If)
                and ast.unparse(node.test) == "not TYPE_CHECKING"
                and all(isinstance(inner, ast.ImportFrom) for inner in node.body)
            )
        )
        assert allowed, f"{name}:{node.lineno} is neither an import nor __all__: {ast.unparse(node)[:60]}"


# -- sizes and reasons -------------------------------------------------------------------------------------------


def test_no_file_is_over_400_lines():
    sizes = {relative(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_no_function_is_over_50_lines():
    """Counted without the docstring, which may be as long as it has something to say."""
    long = {}
    for file in FILES:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                size = (node.end_lineno or 0) - first.lineno + 2
                if size > 50:
                    long[f"{relative(file)}:{node.lineno} {node.name}"] = size
    assert long == {}


def test_no_file_is_a_drawer():
    """A module is named by its noun, never by what did not fit elsewhere."""
    assert [relative(file) for file in FILES if file.stem in {"utils", "helpers", "misc", "common"}] == []


def test_no_possessive_quantifier_behind_a_group():
    """Up to Python 3.11.4 such an expression matches what it must not; behind one class or character it does not."""
    character_class = re.compile(r"\[(?:\\.|[^\]\\])+\]")
    behind_a_group = re.compile(r"[^(]\)(?:[*+?]|\{[0-9,]+\})\+|\{\w+\}[*+?]\+")  # the latter in an f-string
    found = [
        f"{relative(file)}:{number}: {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if behind_a_group.search(character_class.sub("", line))
    ]
    assert not found, "\n".join(found)


CODES = r"[A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*"
ESCAPE = re.compile(rf"#\s*(?:noqa: {CODES}|type: ignore\[[\w, -]+\]|pragma: no \w+|pyright: ignore\[\w+\])(.*)")


def test_every_escape_from_a_checker_has_its_reason():
    """Words that say why stand after `noqa`, `type: ignore` and `pragma`, or in a comment right above."""
    bare = []
    for file in FILES:
        above = ""
        for number, line in enumerate(file.read_text().splitlines(), 1):
            escape = ESCAPE.search(line)
            said = escape and re.search(r"\w+ \w+", ESCAPE.sub(r"\1", escape.group(1)))
            if escape and not said and not above.startswith("#"):
                bare.append(f"{relative(file)}:{number}: {line.strip()}")
            above = line.strip()
    assert not bare, "\n".join(bare)


def test_any_has_its_reason_on_the_line():
    bare = []
    for file in FILES:
        lines = file.read_text().splitlines()
        for node in ast.walk(parsed(file)):
            if not isinstance(node, ast.Name) or node.id not in {"Any", "cast"}:
                continue
            line = lines[node.lineno - 1]
            # What a coroutine yields and is sent is between the loop and itself: everybody writes Any there.
            if "#" not in line and "Coroutine[Any, Any, " not in line:
                bare.append(f"{relative(file)}:{node.lineno}: {line.strip()}")
    assert not bare, "\n".join(bare)


# -- what must be documented -------------------------------------------------------------------------------------


def public_names(package: str) -> list[str]:
    """Return `__all__` of a facade, read and not imported: a facade that cannot be imported fails one test, not all."""
    facade = SOURCE / package
    for node in parsed(facade / "__init__.py" if facade.is_dir() else facade.with_suffix(".py")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


FACADES = ("web", "jobs", "jinja2", "mako", "sessions", "typedefs")
PAGES = {"jobs": "jobs.md", "jinja2": "templates.md", "mako": "templates.md", "sessions": "sessions.md"}


@pytest.mark.parametrize("package", FACADES)
def test_facade_says_what_is_public(package: str):
    assert public_names(package), f"structweb.{package} has no __all__"


@pytest.mark.parametrize(("package", "name"), [(room, name) for room in FACADES for name in public_names(room)])
def test_public_name_is_documented(package: str, name: str):
    """Every public name has a docstring and a line in its page of the reference."""
    thing = getattr(__import__(f"structweb.{package}", fromlist=[name]), name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        assert inspect.cleandoc(thing.__doc__ or ""), f"structweb.{package}.{name} has no docstring"
    pages = "\n".join(page.read_text() for page in REFERENCE.glob(PAGES.get(package, "*.md")))
    assert re.search(rf"\b{name}\b", pages), f"structweb.{package}.{name} is on no page of docs/reference"


@pytest.mark.parametrize("settings", [ServerConfig, Limits, Timeouts], ids=lambda cls: cls.__name__)
def test_every_setting_is_documented_with_its_default(settings: type):
    page = (REFERENCE / "settings.md").read_text()
    section = re.search(rf"^## [^\n]*`{settings.__name__}`.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"docs/reference/settings.md has no section on {settings.__name__}"
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", section.group(), re.MULTILINE))
    expected = {}
    for field in dataclasses.fields(settings):
        default = f"{field.default_factory.__name__}()" if callable(field.default_factory) else repr(field.default)
        expected[field.name] = default if field.name != "server_header" else rows.get(field.name, "")
    assert rows == expected


def test_every_keyword_of_a_server_is_documented():
    section = (REFERENCE / "settings.md").read_text().partition("## The keyword arguments")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(rows) == sorted(ServerOptions.__optional_keys__)


def test_every_option_of_the_command_line_is_documented():
    command = [sys.executable, "-m", "structweb", "serve", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\| (?:`-\w`, )?`(--[\w-]+)` \|", (REFERENCE / "cli.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(set(re.findall(r"--[a-z][\w-]*", said)) - {"--help"})


def test_every_logger_is_documented():
    sources = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    names = set(re.findall(r'getLogger\("(structweb\.\w+)"\)', sources))
    page = (REFERENCE.parent / "how-to" / "deploy.md").read_text()
    assert len(names) > 3
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
