"""The timer of all heartbeats, in virtual time."""

import anyio
import pytest

from structweb._server.websocket_pulse import BEATS, Pulse

pytestmark = pytest.mark.anyio


class Patient:
    """Notes when it beats, and lives for so many beats."""

    def __init__(self, beats: int) -> None:
        self.left = beats
        self.start = anyio.current_time()
        self.when: list[float] = []

    def beat(self) -> bool:
        self.when.append(round(anyio.current_time() - self.start, 6))
        self.left -= 1
        return self.left > 0


@pytest.fixture
async def pulse(anyio_backend):
    pulse = Pulse()
    async with anyio.create_task_group() as group:
        group.start_soon(pulse.run)
        await anyio.wait_all_tasks_blocked()
        yield pulse
        group.cancel_scope.cancel()


async def test_each_beats_in_its_own_time(pulse):
    """Four times in its interval; the quicker one, which comes later, does not wait for the slower."""
    slow, quick = Patient(3), Patient(5)
    pulse.add(slow, 10 * BEATS)
    pulse.add(quick, 2 * BEATS)
    await anyio.sleep(100)
    assert (slow.when, quick.when) == ([10, 20, 30], [2, 4, 6, 8, 10])


async def test_who_comes_while_it_sleeps_is_not_late(pulse):
    first = Patient(1)
    pulse.add(first, 100 * BEATS)
    await anyio.sleep(10)
    second = Patient(1)
    pulse.add(second, BEATS)
    await anyio.sleep(5)
    assert (first.when, second.when) == ([], [1])
    await anyio.sleep(100)
    assert first.when == [100]


async def test_a_late_beat_is_not_made_up_for():
    """A loop that was held up must not beat for the time in which nobody could hear anything."""
    pulse, patient = Pulse(), Patient(3)
    pulse.add(patient, BEATS)
    await anyio.sleep(10)  # nobody runs it
    async with anyio.create_task_group() as group:
        group.start_soon(pulse.run)
        await anyio.sleep(50)
        group.cancel_scope.cancel()
    assert patient.when == [10, 11, 12]
