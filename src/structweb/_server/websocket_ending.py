"""A WebSocket's ending, when it is closed: its connection is closed, and a handler that would not notice is ended."""

from typing import TYPE_CHECKING

from structweb._server.reasons import CancelReason

if TYPE_CHECKING:
    from structweb._server.websocket import WebSocketSession


async def part(session: "WebSocketSession") -> None:
    """Close the connection behind the last frame, and tell a handler that is somewhere else."""
    if not session.parted.is_set():
        transport = session.connection.transport
        try:
            await session.outbox.flushed()
            if session.lingers:
                await transport.send_eof()
                while await transport.receive():
                    pass
            await session.connection.close()
        except ConnectionError:
            pass  # then it is closed
        session.parted.set()
    if _should_cancel(session):
        session.connection.cancel(CancelReason.CLIENT_GONE)


def _should_cancel(session: "WebSocketSession") -> bool:
    """Tell whether the handler has to be cancelled, because it waits for something else and would never know.

    One that uses to receive, finds the close frame of a peer that closes in good order when it receives again.
    """
    if session.told or session.handler_done or session.receiving or not session.connection.away:
        return False
    return session.exchange.disconnect == "cancel" and (session.failure is not None or not session.receives)
