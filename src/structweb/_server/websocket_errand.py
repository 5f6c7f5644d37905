"""A piece of work that a connection does now and then, in a task of its crew that sleeps in between."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from structweb._server.crew import Crew


class Errand:
    """Runs `work` whenever it is roused, one run at a time.  Never roused, it has no task."""

    __slots__ = ("_again", "_asleep", "_crew", "_name", "_started", "_work")

    def __init__(self, crew: Crew, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Any: what a backend's traps yield and take is its own affair."""
        self._crew: Final = crew
        self._work: Final = work
        self._name: Final = name
        self._started = False
        self._again = False
        self._asleep: anyio.Event | None = None

    def rouse(self) -> None:
        """Have the work done once more, from its beginning if it is being done now."""
        self._again = True
        if self._asleep is not None:
            self._asleep.set()
        elif not self._started:
            self._started = True
            self._crew.start_soon(self._run, name=self._name)

    async def _run(self) -> None:
        while True:
            if not self._again:
                self._asleep = anyio.Event()
                await self._asleep.wait()
                self._asleep = None
            self._again = False
            await self._work()
