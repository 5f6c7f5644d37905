"""How much and how long: sizes a peer may send, and the phases of a connection with their patience."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

#: For the first head of a connection that will have no second one.
_FIRST_HEAD: Final = 75.0


class Phase(Enum):
    """Where a connection stands; each phase has its patience in `Timeouts`."""

    #: Between requests, or before the first one: no byte of a head has arrived.
    IDLE = "idle"
    #: Part of a request head has arrived.
    HEAD = "head"
    #: The handler waits for body bytes.
    BODY = "body"
    #: The handler runs.  Has no patience of its own: a handler may take its time.
    HANDLER = "handler"
    #: The handler waits for the peer to take response bytes.
    SEND = "send"
    #: The response is out; what is left of the request is read and dropped.
    LINGER = "linger"
    #: Another protocol owns the connection.
    UPGRADED = "upgraded"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes (fields: a count) past which a peer is refused.  Defaults as aiohttp's."""

    #: The request line, without its CRLF: longer ones get 414.
    request_line: int = 8190
    #: One field line (name, colon, value): longer ones get 431.
    field: int = 8190
    #: Field lines of a head, and of a trailer section: more get 431.
    fields: int = 128
    #: Bytes held unread for one connection (pipelined requests, body bytes the handler has not taken).
    #: Past it the socket is not read: TCP holds the peer back.
    read_ahead: int = 65536
    #: Response bytes that may wait for a slow peer before `write` blocks.
    write_buffer: int = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds a connection may stay silent, by phase.  None waits forever.

    A sweep once a second works deadlines out and looks for those that passed, so a connection may live up to two
    seconds longer.
    """

    #: IDLE and HEAD: from the end of an exchange (or from the connection) to the next complete head.
    #: 75 as aiohttp's run_app: outlives a proxy that reuses connections for 60.  0 closes after each response; the
    #: one head of a connection has 75 seconds then, too.
    keepalive: float | None = 75.0
    #: BODY: between two reads of body bytes.
    body: float | None = 60.0
    #: SEND: without the peer taking a single byte.
    send: float | None = 60.0
    #: BODY and SEND: the bytes that pay for a second of waiting; who owes more than the phase's patience is let go.  Else
    #: one byte in each period of patience would hold a connection for ever.  240 as in Kestrel; None asks for nothing.
    min_rate: float | None = 240.0
    #: LINGER: for reading and dropping an unread body after the response.
    linger: float = 10.0
    #: For the TLS handshake, and for the header of a PROXY protocol before it.
    tls_handshake: float = 30.0

    def patience(self, phase: Phase) -> float | None:
        """Return the seconds that `phase` may last without progress, or None for no limit."""
        match phase:
            case Phase.IDLE | Phase.HEAD:
                return _FIRST_HEAD if self.keepalive == 0 else self.keepalive
            case Phase.BODY:
                return self.body
            case Phase.SEND:
                return self.send
            case Phase.LINGER:
                return self.linger
            case Phase.HANDLER | Phase.UPGRADED | Phase.CLOSED:
                return None
