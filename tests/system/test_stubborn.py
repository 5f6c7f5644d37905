"""SIGTERM against what goes on when it is told to end: handlers, jobs and services, in a process of their own."""

import inspect

import pytest

from tests.system import stubborn_app
from tests.system.process import AT_ONCE, BACKENDS, LEEWAY, Server, best_of, get, read_until
from tests.system.stubborn_app import SHIELDED, WAITED

TIMEOUT = 0.5


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return request.param


def waits_at(func, words: str) -> str:
    """Return how a report names the line of a function that has these words."""
    lines, first = inspect.getsourcelines(func)
    (offset,) = [number for number, line in enumerate(lines) if words in line]
    return f"at {stubborn_app.__file__}:{first + offset} in {func.__qualname__}"


def test_a_handler_that_shields_itself_for_ever(backend, tmp_path):
    """Its client is still there; the shield is lifted when its time is up as well."""

    def attempt() -> float:
        (tmp_path / "cleaned").unlink(missing_ok=True)
        options = ("--shutdown-timeout", str(TIMEOUT))
        with (
            Server(backend, tmp_path, *options, entry="stubborn_app:make_app") as server,
            server.connect(get("/atomic")),
        ):
            server.await_waiting(1)
            code, took = server.end()
            said = server.output()
        assert code == 0, said
        assert took >= TIMEOUT + SHIELDED
        (lifted,) = [line for line in said.splitlines() if line.startswith("  shield lifted: ")]
        assert "GET /atomic" in lifted
        assert waits_at(stubborn_app.atomic, "# the shield") in lifted
        assert (tmp_path / "cleaned").exists()
        return took

    best_of(attempt, TIMEOUT + SHIELDED + LEEWAY)


def test_a_job_that_goes_on_until_its_shield_is_lifted(backend, tmp_path):
    """The request has been answered; the scheduler's patience is what it has."""

    def attempt() -> float:
        (tmp_path / "cleaned").unlink(missing_ok=True)
        with (
            Server(backend, tmp_path, entry="stubborn_app:make_app") as server,
            server.connect(get("/shield")) as client,
        ):
            read_until(client, b"begun")
            code, took = server.end()
            said = server.output()
        assert code == 0, said
        assert took >= WAITED
        (cut,) = [line for line in said.splitlines() if line.startswith("  cut short: job work")]
        assert waits_at(stubborn_app.work, "# the job") in cut
        assert (tmp_path / "cleaned").exists()
        return took

    best_of(attempt, WAITED + LEEWAY)


def test_a_service_that_fails_while_it_stops(backend, tmp_path):
    """Nobody waits for it; the program fails with what it raised, and what was to be cleaned up is."""

    def attempt() -> float:
        (tmp_path / "cleaned").unlink(missing_ok=True)
        with Server(backend, tmp_path, entry="stubborn_app:make_crashing_app") as server:
            code, took = server.end()
            said = server.output()
        assert code == 1, said
        assert "failed: service crash, after 0.0 s, OSError('the disk is gone')" in said, said
        assert said.rstrip().endswith("OSError: the disk is gone"), said
        assert (tmp_path / "cleaned").exists()
        return took

    best_of(attempt, AT_ONCE)
