"""The one timer for the heartbeats of all WebSockets of a server.

Each beats four times in its interval and counts beats without a byte from its peer, so that receiving costs one flag
and no look at the clock.  A silence is measured to a quarter of the interval that way.
"""

from heapq import heappop, heappush
from itertools import count
from typing import Final, Protocol

import anyio

#: Beats in one heartbeat interval.
BEATS: Final = 4


class Patient(Protocol):
    """What has a heart."""

    def beat(self) -> bool:
        """Take note of a beat; False ends them.  Must not raise."""


class Pulse:
    """Wakes each patient again and again.  One task a server; a patient costs an entry in a heap."""

    def __init__(self) -> None:
        #: When, in order of arrival, how often, who.
        self._due: list[tuple[float, int, float, Patient]] = []
        self._count = count()
        #: Wakes `run`, when something is due before what it waits for.
        self._sooner: anyio.Event | None = None

    def add(self, patient: Patient, interval: float) -> None:
        """Have `patient` beat `BEATS` times in `interval` seconds, until it says that it is over."""
        pause = interval / BEATS
        self._push(anyio.current_time() + pause, pause, patient)
        if self._sooner is not None and self._due[0][3] is patient:
            self._sooner.set()

    def _push(self, when: float, pause: float, patient: Patient) -> None:
        heappush(self._due, (when, next(self._count), pause, patient))

    async def run(self) -> None:
        """Beat for ever.  Run it as a task of the server; cancel it to end."""
        while True:
            now = anyio.current_time()
            while self._due and self._due[0][0] <= now:
                _, _, pause, patient = heappop(self._due)
                if patient.beat():
                    # From now, not from when it was due: a loop that was held up must not beat for the time lost,
                    # in which nobody could hear anything.
                    self._push(now + pause, pause, patient)
            self._sooner = anyio.Event()
            with anyio.move_on_at(self._due[0][0] if self._due else float("inf")):
                await self._sooner.wait()
            self._sooner = None
