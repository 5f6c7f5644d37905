"""Services that fail, and how to look at them."""

import anyio

from structweb import web

#: Without chance: pauses of 1, 2, 4, 8 ... seconds.
STEADY = web.Backoff(jitter=0)


class Faulty:
    """A service that ends each of its runs as its script says: with an error, or (None) by returning."""

    def __init__(self, *script: Exception | None, lasting: float = 0) -> None:
        self.script = list(script)
        self.lasting = lasting
        self.runs: list[float] = []

    async def __call__(self) -> None:
        self.runs.append(anyio.current_time())
        await anyio.sleep(self.lasting)
        if not self.script:
            await anyio.sleep_forever()
        outcome = self.script.pop(0)
        if outcome is not None:
            raise outcome

    def pauses(self) -> list[float]:
        """The seconds between the runs."""
        return [round(after - before, 6) for before, after in zip(self.runs, self.runs[1:], strict=False)]


def only(app: web.Application) -> web.Service:
    (service,) = app.services
    return service
