"""Tools for tests: peers in memory, virtual time, a fixed order of events, cancellation everywhere, no leaks."""

from structweb.testing.clock import VirtualTimeLoop, virtual_backend
from structweb.testing.conversation import HalfResponseError
from structweb.testing.everywhere import (
    CANCELLATION,
    DEADLINE,
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
from structweb.testing.sockets import SocketStream, connect_socket
from structweb.testing.websocket import ClientWebSocket
from structweb.testing.websocket_opening import (
    WebSocketHandshakeError,
    WebSocketOptions,
    connect_websocket,
    open_websocket,
)

__all__ = [
    "CANCELLATION",
    "DEADLINE",
    "DISCONNECT",
    "RESET",
    "SHUTDOWN",
    "Case",
    "Cause",
    "ClientEnd",
    "ClientWebSocket",
    "HalfResponseError",
    "LeakError",
    "LeakGuard",
    "Moment",
    "PipeEnd",
    "SequenceBrokenError",
    "Sequencer",
    "SocketStream",
    "Sweep",
    "VirtualTimeLoop",
    "Visit",
    "WebSocketHandshakeError",
    "WebSocketOptions",
    "cancel_everywhere",
    "connect_socket",
    "connect_websocket",
    "memory_pipe",
    "no_leaks",
    "open_pipe",
    "open_websocket",
    "virtual_backend",
]
