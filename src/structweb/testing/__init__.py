"""Tools for tests: peers in memory, virtual time, a fixed order of events, cancellation everywhere, no leaks."""

from structweb.testing.clock import VirtualTimeLoop, virtual_backend
from structweb.testing.everywhere import (
    CANCELLATION,
    DISCONNECT,
    RESET,
    SHUTDOWN,
    Case,
    Cause,
    Moment,
    Sweep,
    Visit,
    cancel_everywhere,
)
from structweb.testing.leaks import LeakError, LeakGuard, no_leaks
from structweb.testing.pipes import ClientEnd, PipeEnd, memory_pipe, open_pipe
from structweb.testing.sequencer import SequenceBrokenError, Sequencer

__all__ = [
    "CANCELLATION",
    "DISCONNECT",
    "RESET",
    "SHUTDOWN",
    "Case",
    "Cause",
    "ClientEnd",
    "LeakError",
    "LeakGuard",
    "Moment",
    "PipeEnd",
    "SequenceBrokenError",
    "Sequencer",
    "Sweep",
    "VirtualTimeLoop",
    "Visit",
    "cancel_everywhere",
    "memory_pipe",
    "no_leaks",
    "open_pipe",
    "virtual_backend",
]
