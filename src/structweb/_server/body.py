"""The body of a request, pulled from its connection."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from structweb._wire.events import Refusal
from structweb._wire.limits import Limits, Phase

if TYPE_CHECKING:
    from structweb._server.connection import Connection
    from structweb._server.incoming import Incoming

#: The handler has ended: what is read now is read by the connection.
OVER: Final = frozenset({Phase.LINGER, Phase.CLOSED})
#: Pieces taken in a row, without a wait, before other tasks get their turn: what has arrived may be many of them.
PIECES_IN_A_ROW: Final = 64


class Body:
    """The bytes behind a request head, in order, without their framing."""

    __slots__ = ("_connection", "_incoming")

    def __init__(self, connection: "Connection", incoming: "Incoming") -> None:
        self._connection = connection
        self._incoming = incoming

    @property
    def done(self) -> bool:
        """Whether the whole body has been read from the wire (True when there is none)."""
        return self._connection.wire.body_done

    @property
    def chunk_ends(self) -> Sequence[int]:
        """Where chunks of the chunked encoding end in what `receive` returned last."""
        return self._connection.wire.chunk_ends

    @property
    def limits(self) -> Limits:
        """The connection's limits."""
        return self._connection.config.limits

    @property
    def trailers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The trailer fields of a chunked body, in wire order, once it is `done`."""
        return self._connection.wire.trailers

    async def receive(self) -> bytes:
        """Return the next bytes of the body, or b"" once it ended.

        Waits for the peer, at most `Timeouts.body` from chunk to chunk.  Only what was asked for is read:
        TCP holds the peer back meanwhile.  Raises `Refusal` for malformed framing (400) and for a peer that
        stalls (408), ConnectionResetError when the peer left in mid-body.  After a `Refusal` the connection closes
        behind the response.  Raises RuntimeError once the exchange is over: what comes then is not its body.
        """
        self._check()
        connection = self._connection
        wire = connection.wire
        try:
            if connection.pieces >= PIECES_IN_A_ROW:
                await connection.give_way()  # with nothing in hand that a cancellation could lose
                self._check()  # what waits now may be the next request's
            connection.pieces += 1
            while (data := wire.next_data()) is None:
                # Waiting costs more than reading, if there is something to read.
                if connection.body_scope is None and (more := connection.transport.receive_nowait()):
                    wire.feed(more)
                else:
                    await connection.read_body()
        except Refusal:
            self._incoming.keep_alive = False
            raise
        return data

    def _check(self) -> None:
        connection = self._connection
        if connection.exchange is not self._incoming or connection.phase in OVER:
            raise RuntimeError(f"cannot receive: {self._incoming.head!r} is over")
