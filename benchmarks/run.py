"""Run structweb and its peers side by side and print the ratios of server CPU per operation."""

import argparse
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import load
from cases import CASES, Case, payload
from process import cpu_seconds, free_port, resident_bytes, running
from servers import ONLY_WEBSOCKETS, SERVERS, YARDSTICK

IDLE = 1000


def slice_cost(case: Case, port: int, pid: int, operations: int) -> float:
    """Drive one slice and return the server's CPU seconds per operation, or bytes per idle connection."""
    if case.kind == "memory":
        with load.connections(port, 100) as warm:
            load.keep_alive(warm, case.request, 1)
        before = resident_bytes(pid)
        with load.connections(port, IDLE) as sockets:
            load.keep_alive(sockets, case.request, 0)
            time.sleep(2.5)  # what a server lets go of when a connection falls idle counts for it
            return max(resident_bytes(pid) - before, 1) / IDLE
    operations //= case.weight
    if case.kind == "websocket":
        message = case.request(0)
        with load.connections(port, case.connections) as sockets:
            for sock in sockets:
                load.open_websocket(sock)
                sock.sendall(message)
                size = load.read_echo(sock, payload(case.size))
            before_cpu = cpu_seconds(pid)
            done = load.echo(sockets, message, size, max(operations // case.connections, 1))
            return (cpu_seconds(pid) - before_cpu) / done
    if case.kind == "deflated websocket":
        with load.connections(port, case.connections) as sockets:
            for sock in sockets:
                load.open_websocket(sock, deflated=True)
            rounds = max(operations // case.connections, 1)
            before_cpu = cpu_seconds(pid)
            done = load.deflated_echo(sockets, case.request(0), payload(case.size), rounds)
            return (cpu_seconds(pid) - before_cpu) / done
    if case.kind == "churn":
        before_cpu = cpu_seconds(pid)
        done = load.churn(port, case.request, operations // 4)
    else:
        with load.connections(port, case.connections) as sockets:
            load.keep_alive(sockets, case.request, 2)
            if case.own is not None:
                return _own_ratio(case, case.own[1], sockets, pid, operations // case.connections)
            before_cpu = cpu_seconds(pid)
            done = load.keep_alive(sockets, case.request, max(operations // case.connections, 1))
    return (cpu_seconds(pid) - before_cpu) / done


def _own_ratio(case: Case, other: Callable[[int], bytes], sockets: list[socket.socket], pid: int, rounds: int) -> float:
    """Return what a request of the case costs, divided by what the other one does; in turns, a tenth of them at a time."""
    spent = [0.0, 0.0]
    for turn in range(20):
        before = cpu_seconds(pid)
        load.keep_alive(sockets, (case.request, other)[turn % 2], max(rounds // 10, 1))
        spent[turn % 2] += cpu_seconds(pid) - before
    return spent[0] / spent[1]


def measure(case: Case, names: list[str], rounds: int, operations: int, core: int) -> dict[str, list[float]]:
    """Run all servers at once and give each a slice in turn, `rounds` times; return the costs by server."""
    costs: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        places = {}
        for name in names:
            if name == "quart-trio" and case.app != "plain":
                continue  # its middlewares are ASGI's: the hypercorn row shows them
            if name in ONLY_WEBSOCKETS and "websocket" not in case.kind:
                continue
            port = free_port()
            places[name] = port, stack.enter_context(running(SERVERS[name](port, case.app), port, core))
        slow = {name for name in places if "hypercorn" in name or "quart" in name}
        for number in range(1 if case.kind == "memory" else rounds + 1):
            for name, (port, pid) in list(places.items()):
                share = operations // 5 if name in slow else operations
                try:
                    cost = slice_cost(case, port, pid, share)
                except (OSError, EOFError, ValueError) as exc:
                    print(f"{name} fails at {case.name!r}: {exc!r}", file=sys.stderr)
                    costs[name] = []
                    del places[name]
                    continue
                if number or case.kind == "memory":  # the first round warms up
                    costs[name].append(cost)
    return costs


def row(case: Case, costs: dict[str, list[float]]) -> str:
    """Format the ratios of one case: the yardstick's cost to each server's, round by round, in the median."""
    base = costs[YARDSTICK]
    if case.own is not None:
        own_cells = [f"{1 / statistics.median(own):.2f}" if own else "-" for own in costs.values()]
        return f"| {case.name} | its own {case.own[0]} | " + " | ".join(own_cells) + " |"
    cells = []
    for own in costs.values():
        if own:
            cells.append(f"{statistics.median(b / o for b, o in zip(base, own, strict=True)):.2f}")
        else:
            cells.append("-")
    unit = (
        f"{statistics.median(base) / 1024:.1f} KiB"
        if case.kind == "memory"
        else f"{statistics.median(base) * 1e6:.1f} us"
    )
    return f"| {case.name} | {unit} | " + " | ".join(cells) + " |"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", help="run only cases whose name contains this (may repeat)")
    parser.add_argument("--server", action="append", choices=list(SERVERS), help="run only these (may repeat)")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved slices for each server (default: 15)")
    parser.add_argument("--operations", type=int, default=4000, help="requests in a slice (default: 4000)")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the servers, one for the load")
    os.sched_setaffinity(0, {cores[-1]})
    names = [name for name in SERVERS if name == YARDSTICK or not options.server or name in options.server]
    cases = [case for case in CASES if not options.case or any(part in case.name for part in options.case)]
    print(f"| case | {YARDSTICK} CPU | " + " | ".join(names) + " |")
    print("| --- " * (len(names) + 2) + "|")
    for case in cases:
        print(row(case, measure(case, names, options.rounds, options.operations, cores[0])), flush=True)


if __name__ == "__main__":
    main()
