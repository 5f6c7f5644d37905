"""Tools for tests of servers and applications: peers in memory, virtual time, a fixed order of events."""

from structweb.testing.clock import VirtualTimeLoop, virtual_backend
from structweb.testing.leaks import LeakError, LeakGuard, no_leaks
from structweb.testing.pipes import ClientEnd, PipeEnd, memory_pipe, open_pipe
from structweb.testing.sequencer import SequenceBrokenError, Sequencer

__all__ = [
    "ClientEnd",
    "LeakError",
    "LeakGuard",
    "PipeEnd",
    "SequenceBrokenError",
    "Sequencer",
    "VirtualTimeLoop",
    "memory_pipe",
    "no_leaks",
    "open_pipe",
    "virtual_backend",
]
