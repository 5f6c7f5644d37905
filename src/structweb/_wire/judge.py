"""h11 as the second judge: it sees what the strict layer let through, and must read it the same way."""

from typing import TypeVar

import h11

from structweb._wire.events import Refusal
from structweb._wire.limits import Limits

T = TypeVar("T")


class Judge:
    """An h11 connection that lives for one request and is fed no byte behind it.

    So h11's pauses (pipelining, Upgrade, CONNECT) never matter, and what follows a request is never stuck inside.
    """

    __slots__ = ("_connection", "_head", "_limits")

    def __init__(self, limits: Limits, head: bytes = b"") -> None:
        """Judge the request whose `head` the lane took: h11 hears that first, when it is asked at all."""
        self._limits = limits
        self._head = head
        self._connection: h11.Connection | None = None

    def hear(self, data: bytes, expected: type[T]) -> T:
        """Return the event that `data` makes; refuse the request if it is not one of `expected`.

        Pass `h11.NEED_DATA` for bytes that make no event of their own.  Raises Refusal with h11's words if h11 refuses.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
            if self._head:
                self.hear(self._head, h11.Request)
        try:
            connection.receive_data(data)
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            # Where h11 hints at 501 (transfer codings), the answer here is 400: the client may not use any.
            hint = exc.error_status_hint
            raise Refusal(hint if hint < 500 else 400, str(exc)) from exc
        if not isinstance(event, expected):
            raise Refusal(400, f"ambiguous request: expected {expected.__name__}, got {type(event).__name__}")
        return event

    def _connect(self) -> h11.Connection:
        limits = self._limits
        # Everything is complete when h11 hears of it: its own cap is a second fence around the limits.
        most = limits.request_line + (limits.fields + 1) * (limits.field + 2)
        return h11.Connection(h11.SERVER, max_incomplete_event_size=most)
