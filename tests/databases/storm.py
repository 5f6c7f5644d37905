"""A thousand requests, most of whose clients leave at some point or other of the handler."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from structweb import web
from tests.web.served import Served, get, serving

REQUESTS, WORKERS = 1000, 20
#: Turns of the event loop that the most patient of those who leave gives a handler; an answer takes about half of it.
LONGEST = 60


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    left: int = 0
    #: Handlers that were cancelled before they had an answer.
    cut: int = 0
    #: Answers that were for somebody else, or errors.
    wrong: tuple[str, ...] = ()
    #: Set as the handler of that number begins.
    begun: defaultdict[str, anyio.Event] = field(default_factory=lambda: defaultdict(anyio.Event))


async def storm(app: web.Application, seed: int) -> Tally:
    """Ask ``/{number}`` a thousand times, leave at random, and then ask as often as there are workers, patiently.

    An answer has to be the number that was asked for.  A third of the clients stay, a third leave in the turn of the
    loop after their handler has begun, and the others a random number of turns later.
    """
    tally = Tally()

    @web.middleware
    async def watch(request: web.Request, handler) -> web.StreamResponse:
        tally.begun[request.match_info["number"]].set()
        try:
            return await handler(request)
        except anyio.get_cancelled_exc_class():
            tally.cut += 1
            raise

    app.middlewares.append(watch)
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
        turns = chance.choice([None, 0, chance.randint(1, LONGEST)]) if chance else None
        if turns is None:
            answer = await client.answer()
            tally.answered += 1
            if answer.text != str(number):
                tally.wrong += (f"{number}: {answer.status} {answer.text}",)
        else:
            await tally.begun[str(number)].wait()
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            tally.left += 1
        client.stream.close()
