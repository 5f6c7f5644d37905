"""Tools for tests: servers and clients, peers in memory, virtual time, a fixed order of events, cancellation everywhere, no leaks."""

from structweb.testing.answer import ClientResponse, ClientResponseError, ContentTypeError, ResponseContent
from structweb.testing.case import AioHTTPTestCase, StructWebTestCase, unittest_run_loop
from structweb.testing.client import TestClient
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
from structweb.testing.mocked import make_mocked_coro, make_mocked_request
from structweb.testing.pipes import ClientEnd, PipeEnd, memory_pipe, open_pipe
from structweb.testing.ports import REUSE_ADDRESS, get_port_socket, get_unused_port_socket, unused_port
from structweb.testing.sequencer import SequenceBrokenError, Sequencer
from structweb.testing.server import BaseTestServer, RawTestServer, TestServer
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
    "REUSE_ADDRESS",
    "SHUTDOWN",
    "AioHTTPTestCase",
    "BaseTestServer",
    "Case",
    "Cause",
    "ClientEnd",
    "ClientResponse",
    "ClientResponseError",
    "ClientWebSocket",
    "ContentTypeError",
    "HalfResponseError",
    "LeakError",
    "LeakGuard",
    "Moment",
    "PipeEnd",
    "RawTestServer",
    "ResponseContent",
    "SequenceBrokenError",
    "Sequencer",
    "SocketStream",
    "StructWebTestCase",
    "Sweep",
    "TestClient",
    "TestServer",
    "VirtualTimeLoop",
    "Visit",
    "WebSocketHandshakeError",
    "WebSocketOptions",
    "cancel_everywhere",
    "connect_socket",
    "connect_websocket",
    "get_port_socket",
    "get_unused_port_socket",
    "make_mocked_coro",
    "make_mocked_request",
    "memory_pipe",
    "no_leaks",
    "open_pipe",
    "open_websocket",
    "unittest_run_loop",
    "unused_port",
    "virtual_backend",
]
