"""A connection's closing: what is left of the request is dropped, so that the peer can still read its response."""

from typing import TYPE_CHECKING

from structweb._server.body import PIECES_IN_A_ROW
from structweb._wire.events import Refusal
from structweb._wire.limits import Phase

if TYPE_CHECKING:
    from structweb._server.connection import Connection


async def drop_body(connection: "Connection") -> bool:
    """Read and drop the rest of the request, at most `Timeouts.linger`; tell whether its end was reached."""
    connection.phase, connection.deadline = Phase.LINGER, None
    exchange, wire = connection.exchange, connection.wire
    if exchange is None or not exchange.keep_alive or not connection.config.timeouts.linger:
        return False
    try:
        while True:
            data = wire.next_data()
            if data is None:
                received = await connection.transport.receive()
                if not received:
                    return False
                wire.feed(received)
            elif not data:
                return True
            connection.pieces += 1
            if connection.pieces >= PIECES_IN_A_ROW:
                await connection.give_way()
    except Refusal:
        return False


async def part(connection: "Connection") -> None:
    """Close so that the peer can still read the response: closing over unread bytes would reset it away."""
    if connection.websocket is not None:
        await connection.websocket.finish()
    connection.work = Phase.LINGER
    connection.work_on()
    wire, transport = connection.wire, connection.transport
    # A shutdown does not wait for a peer that pipelines: its response is complete.
    more = not wire.body_done or (wire.buffered and not connection.server.closing)
    if connection.exchange is not None and more and connection.config.timeouts.linger:
        await send_eof(connection)
        while await transport.receive():
            pass
    await close(connection)


async def send_eof(connection: "Connection") -> None:
    """End our side, where the stream can, behind what other tasks are sending."""
    lock = connection.send_lock
    if lock is not None and lock.locked():  # a transport has room for one that waits for its peer to take bytes
        async with lock:
            await connection.transport.send_eof()
    else:
        await connection.transport.send_eof()


async def close(connection: "Connection") -> None:
    """Send what is unsent, also by other tasks, at most `Timeouts.send` without progress, and close.  Cancelled, it aborts."""
    lock = connection.send_lock
    if lock is None or not lock.locked():
        await _close(connection)
        return
    try:
        async with lock:
            await _close(connection)
    except BaseException:
        connection.abort()
        raise


async def _close(connection: "Connection") -> None:
    connection.sending = True
    connection.phase, connection.deadline = Phase.SEND, None
    try:
        await connection.transport.aclose()
    finally:
        connection.sending = False
        connection.work_on()
