"""How long `import structweb.web` takes, and `from aiohttp import web`, in alternating fresh processes: medians.

python benchmarks/imports.py [ROUNDS], in an environment that has both.
"""

import statistics
import subprocess
import sys

PROGRAMS = {"structweb.web": "import structweb.web", "aiohttp.web": "from aiohttp import web"}


def cost(program: str) -> float:
    """Return the CPU time of an import in a process of its own, in milliseconds."""
    timed = f"import time; began = time.process_time(); {program}; print((time.process_time() - began) * 1000)"
    done = subprocess.run([sys.executable, "-c", timed], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print a line for each."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    costs: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, program in PROGRAMS.items():
            costs[name].append(cost(program))
    for name, found in costs.items():
        print(f"{name:15} {statistics.median(found):6.0f} ms, best {min(found):.0f} ms")


if __name__ == "__main__":
    main()
