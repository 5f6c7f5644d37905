"""SIGTERM under what users write themselves, each in a process of its own: in time, cleaned up, and the culprit named.

What clients can do against a shutdown is in `test_signals`, idle WebSockets are in `test_websocket_sockets`.
"""

import re
from pathlib import Path

import pytest

from tests.system.culprits_app import CLOSE, SHIELD, WAIT
from tests.system.process import LEEWAY, Server, best_of, get

#: Seconds for requests, and for each step of the clean-up.
TIMEOUT = 0.2
#: Seconds that the clean-up of jobs has beyond theirs.
MARGIN = 0.1
SOURCE = Path(__file__).with_name("culprits_app.py")


def here(function: str, mark: str = "# here") -> str:
    """Return the line of a function of the application that bears the mark, as reports name it."""
    inside = False
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        inside = line.startswith(f"async def {function}(") or (inside and not line.startswith("async def "))
        if inside and line.endswith("  " + mark):
            return f"{SOURCE}:{number} in {function}"
    raise LookupError(f"no line of {function} ends in {mark!r}")


@pytest.fixture(params=["asyncio", "trio"])
def backend(request):
    return request.param


class Culprit:
    """Starts a server with a culprit, ends it by SIGTERM, and keeps what it said."""

    def __init__(self, backend: str, folder: Path, kind: str = "none", path: str | None = None) -> None:
        self._arguments = backend, folder, "--shutdown-timeout", str(TIMEOUT), "--cleanup-timeout", str(TIMEOUT)
        self._entry = "tests.system.culprits_app:make_app", kind
        self._path = path
        self.code = -1
        self.took = 0.0
        self.said = ""

    def end(self) -> float:
        """Return the seconds from SIGTERM to the end of the process, once each clean-up is seen to have run, in order.

        Without those for which the process was ready to run, and others had all processors: `took` has them, too.
        """
        with Server(*self._arguments, entry=self._entry) as server:
            if self._path is not None:
                client = server.connect(get(self._path))
                server.wait_for("waiting")
            ended = server.end()
            self.said = server.output()
            if self._path is not None:
                client.close()
        assert re.findall("(.* cleaned|goodbye)\n", self.said) == ["second cleaned", "first cleaned", "goodbye"]
        self.code, self.took = ended.code, ended.took
        return ended.own

    def logged(self, *, name: str, words: str) -> str:
        """Return the one line of a log record, or of a report in it, that begins with `name` and has `words`."""
        (line,) = [line for line in self.said.splitlines() if line.lstrip().startswith(name) and words in line]
        return line


def test_a_handler_that_shields_for_ever_is_lifted_and_named(backend, tmp_path):
    def attempt() -> float:
        culprit = Culprit(backend, tmp_path, path="/atomic")
        took = culprit.end()
        assert culprit.code == 0
        assert culprit.took >= TIMEOUT + SHIELD
        for record in ("cancelled", "shield lifted"):
            named = culprit.logged(name=f"{record}:", words="route GET /atomic")
            assert f", at {here('atomic')}, server shutdown" in named
        assert "Traceback" not in culprit.said, culprit.said
        return took

    best_of(attempt, TIMEOUT + SHIELD + LEEWAY)


@pytest.mark.parametrize("way", ["spawn", "shield"])
def test_a_job_that_ignores_its_cancellation_is_named_and_does_not_last(backend, tmp_path, way):
    """Told to end, it shields itself for longer than jobs may take: the log says where it waits then."""

    def attempt() -> float:
        culprit = Culprit(backend, tmp_path, path=f"/{way}")
        took = culprit.end()
        assert culprit.code == 0
        assert culprit.took >= WAIT + CLOSE
        assert culprit.logged(name="cut short: job", words="deaf").endswith(f", at {here('deaf')}")
        late = culprit.logged(name="TimeoutError:", words=f"has not ended {CLOSE} s after it was cancelled")
        assert late.endswith(f"it waits in {here('deaf', '# here, later')}")
        assert "deaf no more" in culprit.said
        return took

    best_of(attempt, WAIT + CLOSE + MARGIN + LEEWAY)


@pytest.mark.parametrize("kind", ["critical", "loose"])
def test_a_service_that_crashes_while_stopping_is_named_with_its_line(backend, tmp_path, kind):
    """What a critical one raised comes out of the program; that of another one is logged."""

    def attempt() -> float:
        culprit = Culprit(backend, tmp_path, kind)
        took = culprit.end()
        file, _, line = here("crash").partition(" in ")[0].rpartition(":")
        assert culprit.said.count(f'File "{file}", line {line}, in crash\n') == 1
        assert culprit.said.count("\nOSError: the disk is gone\n") == 1
        if kind == "critical":
            assert culprit.code == 1
            assert "OSError('the disk is gone')" in culprit.logged(name="failed: service crash", words="")
        else:
            assert culprit.code == 0
            assert culprit.logged(name="ERROR:structweb.web:Service crash failed", words="")
        return took

    best_of(attempt, LEEWAY)
