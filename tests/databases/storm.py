"""A thousand requests, most of whose clients leave at some point or other."""

import random
from dataclasses import dataclass

import anyio

from structweb import web
from tests.web.served import Served, get, serving

REQUESTS, WORKERS = 1000, 20
#: No client is more patient than that, in seconds: about what an undisturbed request takes among so many.
LONGEST = 0.1


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    left: int = 0
    #: Answers that were for somebody else, or errors.
    wrong: tuple[str, ...] = ()


async def storm(app: web.Application, seed: int) -> Tally:
    """Ask ``/{number}`` a thousand times, leave at random, and then ask as often as there are workers, patiently.

    An answer has to be the number that was asked for.
    """
    tally = Tally()
    async with serving(app) as served:
        async with anyio.create_task_group() as group:
            for worker in range(WORKERS):
                numbers = range(worker, REQUESTS, WORKERS)
                group.start_soon(visit, served, numbers, random.Random(seed + worker), tally)
        assert tally.answered + tally.left == REQUESTS
        async with anyio.create_task_group() as group:
            for worker in range(WORKERS):
                group.start_soon(visit, served, [REQUESTS + worker], None, tally)
    return tally


async def visit(served: Served, numbers: range | list[int], chance: random.Random | None, tally: Tally) -> None:
    """Ask for each number on a connection of its own."""
    for number in numbers:
        client = served.connect()
        await client.stream.send(get(f"/{number}"))
        patience = 10.0 if chance is None else chance.choice([0.1, 0.3, 1, 1]) * chance.random() * LONGEST
        with anyio.move_on_after(patience) as scope:
            answer = await client.answer()
            tally.answered += 1
            if answer.text != str(number):
                tally.wrong += (f"{number}: {answer.status} {answer.text}",)
        if scope.cancelled_caught:
            tally.left += 1
        client.stream.close()
