"""Code for asyncio alone, under cancellations of anyio: it is told once, and may await on its way out."""

import asyncio

import anyio
import pytest

from structweb import web
from structweb._server.native import run_native

pytestmark = pytest.mark.anyio


@pytest.fixture
def asyncio_only(anyio_backend_name):
    if anyio_backend_name != "asyncio":
        pytest.skip("what it runs is for asyncio")


class Database:
    """Gives its only connection back in two steps, as libraries for asyncio do."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def use(self, seconds: float, goodbye: float = 1.0) -> str:
        self.steps.append("taken")
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(goodbye)
            self.steps.append("rolled back")
            await asyncio.sleep(goodbye)
            self.steps.append("given back")
        return "used"


async def test_on_trio_it_says_what_it_needs(anyio_backend_name):
    if anyio_backend_name == "asyncio":
        pytest.skip("it is at home")
    with pytest.raises(RuntimeError, match=r"run_native\(\) needs asyncio"):
        await run_native(Database().use, 1)


async def test_without_it_a_clean_up_is_cut(asyncio_only):
    """What this is for: shown with the means of the bare backend."""
    database = Database()
    with anyio.move_on_after(1):
        await database.use(10)
    assert database.steps == ["taken"]


async def test_a_cancellation_is_delivered_once(asyncio_only):
    database = Database()
    start = anyio.current_time()
    with anyio.move_on_after(1) as scope:
        await web.run_native(database.use, 10)
    assert scope.cancelled_caught
    assert database.steps == ["taken", "rolled back", "given back"]
    assert anyio.current_time() - start == pytest.approx(1 + 2)


async def test_results_and_errors_come_out(asyncio_only):
    async def fail() -> None:
        raise LookupError("no such row")

    assert await run_native(Database().use, 1) == "used"
    with pytest.raises(LookupError, match="no such row"):
        await run_native(fail)


async def test_an_error_of_the_clean_up_comes_in_place_of_the_cancellation(asyncio_only):
    async def fail() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise OSError("the server is gone")

    with pytest.raises(OSError, match="the server is gone"), anyio.move_on_after(1):
        await run_native(fail)


async def test_past_its_patience_it_is_cancelled_at_each_await(asyncio_only, caplog):
    database = Database()
    start = anyio.current_time()
    with anyio.move_on_after(1):
        await run_native(database.use, 10, 60, patience=5)
    assert database.steps == ["taken"]
    assert anyio.current_time() - start == pytest.approx(1 + 5, abs=0.2)
    assert "is cancelled again: 5 s were not enough for its clean-up, at " in caplog.text
    assert "test_native.py" in caplog.text


async def test_what_ends_well_in_spite_of_it_is_cancelled_all_the_same(asyncio_only):
    async def deaf() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "done"

    with anyio.move_on_after(1) as scope:
        await run_native(deaf)
    assert scope.cancelled_caught


async def test_a_cancellation_from_elsewhere_is_an_error(asyncio_only):
    async def stray() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="was cancelled, and not by its caller"):
        await run_native(stray)


@pytest.mark.parametrize("patience", [-1, float("inf"), float("nan")])
async def test_patience_is_finite(patience):
    with pytest.raises(ValueError, match="patience must be a finite number of seconds from 0"):
        await run_native(Database().use, 1, patience=patience)
