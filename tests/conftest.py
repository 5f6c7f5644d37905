"""What every test stands on: backends, the express lane's switch, and the guard against leaks.

A test runs on asyncio and on trio, in virtual time: waiting is free.  With the mark ``real_backends`` it runs on
asyncio, asyncio with uvloop, and trio, on the real clock: for real sockets and worker threads.
"""

import importlib.util
import signal

import hypothesis
import pytest

from structweb.testing import virtual_backend

pytest_plugins = ["structweb.testing.plugin"]

VIRTUAL = ["asyncio", "trio"]
REAL = ["real-asyncio", "real-trio"]
if importlib.util.find_spec("uvloop") is not None:
    REAL.insert(1, "real-uvloop")

#: Marks of tests that take long, or need what not every machine has: ``pytest -m NAME`` runs them.
ONLY_WHEN_ASKED = {
    "browser": "needs Chromium",
    "databases": "needs Redis and PostgreSQL",
    "gigabytes": "moves gigabytes",
}

# The same examples in every run, however slow the machine: new ones are for the fuzzer to find.
hypothesis.settings.register_profile("structweb", deadline=None, derandomize=True)
hypothesis.settings.load_profile("structweb")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--express", choices=("on", "off"), default="on", help="run servers with or without the express lane"
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As shells have it for what runs in their background; the programs of tests would inherit it, and never hear Ctrl+C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "real_backends: run on real clocks, and with uvloop too (real sockets, worker threads)"
    )
    for name, what in ONLY_WHEN_ASKED.items():
        config.addinivalue_line("markers", f"{name}: {what}; runs with -m {name} only")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases of cancellation there were: tests record them as "cancellations", in whichever process."""
    reports = terminalreporter.stats.get("passed", ())
    counts = [value for report in reports for name, value in report.user_properties if name == "cancellations"]
    if counts:
        terminalreporter.write_line(
            f"cancelled everywhere: {sum(counts)} cases (handler, cause, checkpoint) of {len(counts)} handlers"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("markexpr")
    unasked = [
        item for item in items if any(name not in asked and item.get_closest_marker(name) for name in ONLY_WHEN_ASKED)
    ]
    if unasked:
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "anyio_backend" not in metafunc.fixturenames:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        if mark.args and "anyio_backend" in mark.args[0]:
            return
    real = metafunc.definition.get_closest_marker("real_backends") is not None
    metafunc.parametrize("anyio_backend", REAL if real else VIRTUAL, indirect=True, scope="module")


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Name the backend of one run of a test, with its options."""
    match request.param:
        case "real-asyncio":
            return "asyncio", {}
        case "real-uvloop":
            return "asyncio", {"use_uvloop": True}
        case "real-trio":
            return "trio", {}
        case name:
            return virtual_backend(name)


@pytest.fixture(scope="session")
def express(request: pytest.FixtureRequest) -> bool:
    """Whether servers use the express lane: ``--express=off`` sends every message through h11."""
    return str(request.config.getoption("--express")) == "on"


@pytest.fixture(autouse=True)
def every_test_tidies_up(no_leaks: None) -> None:
    """Put the guard against leaks around each test."""
