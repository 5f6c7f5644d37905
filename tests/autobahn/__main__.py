"""Run Autobahn's cases against ``examples/echo.py``: ``python -m tests.autobahn``, or ``nox -s autobahn``.

Kosoku runs them; it needs no Python 2.  Every case must be OK, or one on which the RFC has no opinion.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence

from kosoku import FailureError, run_fuzzingclient
from kosoku._kosoku import CaseResult

from tests.examples.program import Program

#: Framing, pings, RSV bits, opcodes, fragments, UTF-8, closing, sizes, fragments again, compression (two groups).
GROUPS = ("1", "2", "3", "4", "5", "6", "7", "9", "10", "12", "13")
#: With --quick: of the long groups the small messages only.
LONG = ("9.*", "12.*", "13.*")
SAMPLE = (
    "9.1.1",
    "9.2.1",
    "9.3.1",
    "9.5.1",
    "9.7.1",
    "9.8.1",
    "12.1.1",
    "12.2.1",
    "12.3.1",
    "13.1.1",
    "13.3.1",
    "13.7.1",
)
BACKENDS = {"asyncio": "'asyncio'", "uvloop": "'asyncio', backend_options={'use_uvloop': True}", "trio": "'trio'"}
FINE = {"OK", "INFORMATIONAL"}


def serve(backend: str, *, express: bool) -> Program:
    """Run the example in a process of its own."""
    options = f"host='127.0.0.1', port=0, access_log=None, backend={BACKENDS[backend]}, express={express}"
    return Program(
        "-c", f"from structweb import web; from examples import echo; web.run_app(echo.init_func([]), {options})"
    )


def run(url: str, cases: Sequence[str], parallel: int) -> list[CaseResult]:
    """Run cases, and return what became of each."""

    async def client() -> list[CaseResult]:
        try:
            return await run_fuzzingclient(url, list(cases), concurrency=parallel)
        except FailureError as failure:
            return list(failure.results)

    return asyncio.run(client())


def told(result: CaseResult) -> str:
    """Return the worse of the verdicts about the messages and about the close."""
    verdicts = (result.behavior.value, result.behavior_close.value)
    return next((verdict for verdict in verdicts if verdict not in FINE), verdicts[0])


def check(name: str, server: Program, cases: Sequence[str], parallel: int) -> bool:
    """Run cases against a server, end it, and say what came of it; return whether all was well."""
    with server:
        url = f"ws://127.0.0.1:{server.port()}/"
        start = time.monotonic()
        results = run(url, cases, parallel)
        seconds = time.monotonic() - start
        server.interrupt()
        code = server.ended()
    say(row(name, results, seconds))
    bad = [result for result in results if told(result) not in FINE]
    for each in bad:
        say(
            f"{each.case_id}: {each.behavior.value}: {each.result} Close: {each.behavior_close.value}: {each.result_close}"
        )
    broken = bool(code) or "Traceback" in server.said
    if broken:
        say(f"the server ended with {code}:\n{server.said}")
    return bool(results) and not bad and not broken


def say(line: str) -> None:
    """Print a line now, also into a file."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row(name: str, results: Sequence[CaseResult], seconds: float) -> str:
    """Count the verdicts of each group."""
    cells = []
    for group in GROUPS:
        counts = Counter(told(result) for result in results if result.case_id.split(".")[0] == group)
        cells.append(", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts, reverse=True)) or "-")
    return f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} s |"


def main() -> int:
    """Parse the command line, run, print a table; return how many servers failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"of {', '.join(LONG)} a few cases only")
    parser.add_argument("--backend", action="append", choices=list(BACKENDS), help="default: asyncio and trio")
    parser.add_argument("--express", choices=("on", "off", "both"), default="both", help="default: both")
    parser.add_argument("--case", action="append", help="run these only, as 6.* or 7.1.1 (may repeat)")
    parser.add_argument("--parallel", type=int, default=8, help="cases at the same time (default: 8)")
    options = parser.parse_args()
    cases = [f"{group}.*" for group in GROUPS]
    if options.quick:
        cases = [*(case for case in cases if case not in LONG), *SAMPLE]
    lanes = [lane for lane in ("on", "off") if options.express in {lane, "both"}]
    say("| server | " + " | ".join(GROUPS) + " | took |")
    say("| --- " * (len(GROUPS) + 2) + "|")
    fine = [
        check(f"{backend}, lane {lane}", serve(backend, express=lane == "on"), options.case or cases, options.parallel)
        for backend in options.backend or ["asyncio", "trio"]
        for lane in lanes
    ]
    return fine.count(False)


if __name__ == "__main__":
    sys.exit(main())
