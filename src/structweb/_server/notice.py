"""The notice of a shutdown: what long handlers look at, or wait for, to come to an end by themselves."""

import anyio


class ShutdownNotice:
    """Truthy once a shutdown has begun; ``await notice.wait()`` returns when it does.

    It is the first level of a shutdown: nothing is cancelled yet, and requests are still served.
    """

    __slots__ = ("_given", "_waiters")

    def __init__(self) -> None:
        self._given = False
        #: Made by the first who waits.
        self._waiters: anyio.Event | None = None

    def __bool__(self) -> bool:
        return self._given

    async def wait(self) -> None:
        """Return when a shutdown begins, or at the next checkpoint if it has begun."""
        if self._waiters is None:
            self._waiters = anyio.Event()
            if self._given:
                self._waiters.set()
        await self._waiters.wait()

    def give(self) -> None:
        """Wake everybody who waits.  Idempotent."""
        self._given = True
        if self._waiters is not None:
            self._waiters.set()

    def __repr__(self) -> str:
        return f"<ShutdownNotice {'given' if self._given else 'not given'}>"
