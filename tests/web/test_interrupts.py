"""Ctrl-C without signal handlers, at every line of start-up and of the way into idleness.

Trio raises KeyboardInterrupt in whatever frame it finds running.  A process of its own is interrupted once at each
line of structweb that it passes until it is idle, and one last time when it is: whatever was opened must be closed,
and the program must return.  (asyncio cancels the main task instead, which tests of cancellation sweep.)
"""

import json
import subprocess
import sys

PROGRAM = """
import collections, json, signal, sys

import trio

from structweb import web

HOME = web.__file__.rpartition("web")[0]
seen = []


async def context(app):
    seen.append("opened")
    yield
    seen.append("closed")


class Interrupter(trio.abc.Instrument):
    def __init__(self, line):
        self.left = line
        self.place = None

    def before_io_wait(self, timeout):
        if timeout > 0.3 and self.place is None:  # nothing will happen until somebody connects, or the reaper looks
            self.interrupt("idle")

    def trace(self, frame, event, arg):
        if self.place is not None or not frame.f_code.co_filename.startswith(HOME):
            return None
        if event == "line":
            self.left -= 1
            if not self.left:
                self.interrupt(f"{frame.f_code.co_filename.removeprefix(HOME)}:{frame.f_lineno}")
        return self.trace

    def interrupt(self, place):
        self.place = place
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)


def interrupted(line):
    seen.clear()
    app = web.Application()
    app.cleanup_ctx.append(context)
    interrupter = Interrupter(line)
    sys.settrace(interrupter.trace)
    try:
        web.run_app(app, host="127.0.0.1", port=0, handle_signals=False, print=None,
                    backend="trio", backend_options={"instruments": [interrupter]})
        end = "returned"
    except KeyboardInterrupt:
        end = "interrupted"  # fine before there is a loop: nothing has been opened
    finally:
        sys.settrace(None)
    return interrupter.place, end, *seen


ends = collections.defaultdict(list)
line = place = 0
while place != "idle":
    line += 1
    place, *end = interrupted(line)
    ends[" ".join(end)].append(place)
print(json.dumps(ends))
"""


def test_ctrl_c_at_any_line_ends_a_program_on_trio():
    program = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True, timeout=100)
    assert program.returncode == 0, program.stderr
    ends = json.loads(program.stdout)
    assert ends.keys() == {"interrupted", "returned", "returned opened closed"}, ends
    assert len(ends["returned opened closed"]) > 100
    assert ends["returned opened closed"][-1] == "idle"
