"""Compare the express lane with h11 on generated requests: ``python -m tests.fuzz --seconds 300``.

Prints how many inputs it compared.  On a difference, prints the shortest input that shows it and exits with 1.
"""

import argparse
import sys
from itertools import count
from random import Random, SystemRandom
from time import monotonic

from structweb._wire.express import Express
from tests.fuzz.requests import stream
from tests.fuzz.transcript import ROOMY, difference, minimal, transcript


def main() -> int:
    """Run until the time, or the number of inputs, is used up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to run")
    parser.add_argument("--count", type=int, help="stop after so many inputs")
    parser.add_argument("--seed", type=int, help="start here, to run the same inputs again")
    options = parser.parse_args()
    first = SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    end = monotonic() + options.seconds
    lane = refused = compared = 0
    for seed in count(first):
        if monotonic() >= end or compared == options.count:
            break
        data = stream(Random(seed))
        compared += 1
        if difference(data, seed) is not None:
            data = minimal(data, seed)
            sys.stdout.write(f"seed {seed}, input {data!r}\n{difference(data, seed)}\n")
            return 1
        lane += Express(ROOMY).take(data, 0) is not None
        refused += any(said[0] == "refusal" for said in transcript([data], ROOMY, express=True))
    sys.stdout.write(
        f"{compared} inputs from seed {first}: no difference; "
        f"the lane took the first head of {lane}, {refused} ended in a refusal\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
