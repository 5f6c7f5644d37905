"""Compare the express lanes with h11 and wsproto on generated inputs: ``python -m tests.fuzz --seconds 300``.

Requests and WebSocket streams take turns.  Prints how many inputs it compared.  On a difference, prints the shortest
input that shows it and exits with 1.
"""

import argparse
import sys
from itertools import count
from random import Random, SystemRandom
from time import monotonic

from structweb._wire.express import Express
from structweb._wire.websocket_lane import Lane
from tests.fuzz import transcript, websockets
from tests.fuzz.requests import stream


class Tally:
    """What was compared so far."""

    def __init__(self) -> None:
        self.compared = self.lane = self.refused = 0

    def request(self, seed: int) -> str | None:
        """Compare what is said to a stream of requests; return how it differs, if it does."""
        data = stream(Random(seed))
        if transcript.difference(data, seed) is not None:
            data = transcript.minimal(data, seed)
            return f"seed {seed}, input {data!r}\n{transcript.difference(data, seed)}\n"
        self.compared += 1
        self.lane += Express(transcript.ROOMY).take(data, 0) is not None
        said = transcript.transcript([data], transcript.ROOMY, express=True)
        self.refused += any(words[0] == "refusal" for words in said)
        return None

    def websocket(self, seed: int) -> str | None:
        """Compare what is said to a WebSocket stream; return how it differs, if it does."""
        chosen, data = websockets.stream(seed)
        if websockets.difference(data, chosen, seed) is not None:
            data = websockets.minimal(data, chosen, seed)
            return f"seed {seed}, WebSocket input {data!r}\n{websockets.difference(data, chosen, seed)}\n"
        self.compared += 1
        lane = Lane(chosen.limits, client=chosen.client, decode_text=chosen.decode_text)
        self.lane += lane.take(data, 0) is not None
        said = websockets.transcript([data], chosen, express=True)
        self.refused += any(words[0] == "error" for words in said)
        return None

    def __str__(self) -> str:
        return f"{self.compared} (the lane took the first of {self.lane}, {self.refused} ended in a refusal)"


def main() -> int:
    """Run until the time, or the number of inputs, is used up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0, help="how long to run")
    length.add_argument("--count", type=int, help="how many inputs of each kind to run instead, however long they take")
    parser.add_argument("--seed", type=int, help="start here, to run the same inputs again")
    options = parser.parse_args()
    first = SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    end = monotonic() + options.seconds
    requests, sockets = Tally(), Tally()
    for seed in count(first):
        done = monotonic() >= end if options.count is None else requests.compared == options.count
        if done:
            break
        difference = requests.request(seed) or sockets.websocket(seed)
        if difference is not None:
            sys.stdout.write(difference)
            return 1
    sys.stdout.write(f"from seed {first}, no difference: {requests} requests, {sockets} WebSocket streams\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
