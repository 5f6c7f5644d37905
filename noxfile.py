"""The one entrance to every check: `nox -l` lists them, `nox` runs what a change must pass."""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "wire", "tests", "docs"]
# A Python that is not installed is skipped, here and in CI; `.ci/run` says which.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"

PYTHONS = ["3.11", "3.12", "3.13"]
ROOT = Path(__file__).parent
# What speaks bytes to a server: everything here runs with the express lane and without it.
LANELESS = (
    "tests/server",
    *(f"tests/system/test_{name}.py" for name in ("smuggling", "patience", "conversations")),
)
# Whole files to each worker: a module's tests share its event loops.
IN_PARALLEL = ("-n", "auto", "--maxprocesses=4", "--dist=loadfile")
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

# pyenv's own `python3.12` refuses to run unless it was chosen by hand: look behind it.
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
os.environ["PATH"] = os.pathsep.join(
    [str(folder) for version in PYTHONS for folder in sorted(_PYENV.glob(f"{version}.*/bin"))] + [os.environ["PATH"]]
)


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(PROJECT, name)


@nox.session(tags=["static"])
def lint(session: nox.Session) -> None:
    """Ruff's rules and format, spelling, the floors, the news."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("lint-imports", "--no-logo", "--no-cache", env={"PYTHONPATH": "src"})
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session(tags=["static"])
def types(session: nox.Session) -> None:
    """Strict mypy within, complete public types without."""
    session.install(".[all]", *group("types"))
    session.run("mypy")
    session.run("pyright", "--verifytypes", "structweb", "--ignoreexternal")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the whole suite on asyncio, asyncio with uvloop and trio; what the express lane could change also without it."""
    session.install(".[all]", *group("tests"))
    session.run("python", "-W", "error", "-m", "pytest", *(session.posargs or IN_PARALLEL))
    if not session.posargs:
        session.run("python", "-W", "error", "-m", "pytest", *LANELESS, "--express=off", *IN_PARALLEL)


@nox.session(python=PYTHONS[0])
def tests_min(session: nox.Session) -> None:
    """Run the suite on the oldest releases that pyproject.toml admits, without extras."""
    oldest = Path(session.virtualenv.location) / "oldest.txt"  # create_tmp() would move the tests' own folders, too
    oldest.write_text(
        "".join(f"{line.split(';')[0].replace('>=', '==')}\n" for line in PROJECT["project"]["dependencies"])
    )
    session.install(".", *group("tests"), "--constraint", str(oldest))
    session.run("python", "-W", "error", "-m", "pytest", *IN_PARALLEL, *session.posargs)


@nox.session
def wire(session: nox.Session) -> None:
    """Run the wire's tests where no event loop is installed at all."""
    session.install("h11", "hypothesis", "multidict", "pytest", "wsproto", "yarl")
    session.install("--no-deps", ".")
    # Nothing above tests/wire: the other floors' fixtures need anyio.
    session.run("python", "-W", "error", "-m", "pytest", "tests/wire", "--confcutdir=tests/wire", *session.posargs)


@nox.session(python=PYTHONS[0])
def coverage(session: nox.Session) -> None:
    """Run what `tests` runs on the oldest Python, and measure its branch coverage."""
    session.install(".[all]", *group("tests"), *group("coverage"))
    session.run("coverage", "erase")
    session.run("python", "-W", "error", "-m", "coverage", "run", "-m", "pytest", "-q", *IN_PARALLEL)
    lane_off = (*LANELESS, "--express=off", *IN_PARALLEL)
    session.run("python", "-W", "error", "-m", "coverage", "run", "-m", "pytest", "-q", *lane_off)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed the lanes and h11, or wsproto, the same bytes: the long comparisons of tests/wire, then five minutes at random.

    With arguments only the latter: `nox -s fuzz -- --seconds 30`, or, as in CI, the same inputs each time.
    """
    session.install(".", *group("tests"))
    if not session.posargs:
        session.run("python", "-W", "error", "-m", "pytest", "tests/wire", "-m", "fuzz")
    session.run("python", "-m", "tests.fuzz", *(session.posargs or ["--seconds", "300"]))


@nox.session
def autobahn(session: nox.Session) -> None:
    """Run Autobahn's cases for WebSockets against the echo example, on asyncio and trio, with the lane on and off.

    All of them take long, half an hour at least; with ``-- --quick``, as in CI, those with many messages are sampled.
    """
    session.install(".[all]", "kosoku>=0.1", *group("tests"))
    session.run("python", "-W", "error", "-m", "tests.autobahn", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Let Chromium chat with the chat example; skipped, with a word, where there is none."""
    session.install(".[all]", *group("tests"))
    session.run("python", "-W", "error", "-m", "pytest", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def databases(session: nox.Session) -> None:
    """Cancel requests at random while they speak to a real Redis and a real PostgreSQL; without one, its part is skipped."""
    session.install(".[all]", *group("tests"), *group("databases"))
    session.run("python", "-W", "error", "-m", "pytest", "-m", "databases", "tests/databases", *session.posargs)


@nox.session
def gigabytes(session: nox.Session) -> None:
    """Move a gigabyte each way, to clients that are fast and slow, and see that the server's memory stays flat."""
    session.install(".[all]", *group("tests"))
    session.run("python", "-W", "error", "-m", "pytest", "tests/system", "-m", "gigabytes", "-s", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages with warnings as errors, and run every example in them."""
    session.install(".[all]", *group("docs"), *group("tests"))
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")
    session.run("python", "-W", "error", "-m", "pytest", "-q", "tests/test_docs.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure server CPU per operation against the peers, interleaved, and print the table."""
    session.install(".[all]", "--requirement", "benchmarks/requirements.txt")
    session.run("python", "benchmarks/run.py", *session.posargs)
