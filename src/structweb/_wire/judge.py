"""h11 as the second judge: it sees what the strict layer let through, and must read it the same way."""

from typing import TypeVar

import h11

from structweb._wire.events import Refusal

T = TypeVar("T")


class Judge:
    """An h11 connection that lives for one request and is fed no byte behind it.

    So h11's pauses (pipelining, Upgrade, CONNECT) never matter, and what follows a request is never stuck inside.
    """

    __slots__ = ("_connection",)

    def __init__(self, max_incomplete: int) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=max_incomplete)

    def hear(self, data: bytes, expected: type[T]) -> T:
        """Return the event that `data` makes; refuse the request if it is not one of `expected`.

        Pass `h11.NEED_DATA` for bytes that make no event of their own.  Raises Refusal with h11's words if h11 refuses.
        """
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as exc:
            # Where h11 hints at 501 (transfer codings), the answer here is 400: the client may not use any.
            hint = exc.error_status_hint
            raise Refusal(hint if hint < 500 else 400, str(exc)) from exc
        if not isinstance(event, expected):
            raise Refusal(400, f"ambiguous request: expected {expected.__name__}, got {type(event).__name__}")
        return event
