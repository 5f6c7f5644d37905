"""What a connected peer gets: a transport, a connection, and at the end nothing that is left behind."""

import logging
from collections.abc import Awaitable, Callable

import anyio

from structweb._server.connection import Connection, Owner
from structweb._server.crew import Crew
from structweb._server.transport.base import Transport
from structweb._wire.limits import Phase

logger = logging.getLogger("structweb.server")

Opener = Callable[[Crew], Awaitable[Transport]]


async def serve_connection(opener: Opener, server: Owner, first: bytes = b"") -> None:
    """Open a transport and serve its peer to the end; everything that it starts ends with it.

    `first` is what was read from the peer already: then there is a request, although the transport is not open yet.

    A peer that cannot be served (a failed TLS handshake, a reset) is a debug record.  What else a handler lets
    out is raised: the firewall around the connection logs it.
    """
    with anyio.CancelScope() as scope:
        crew = Crew(server.tasks, scope.cancel)
        connection = Connection(server, scope, crew)
        if first:
            connection.wire.feed(first)
            connection.phase = Phase.HANDLER  # a shutdown lets it go on
        server.connections.add(connection)
        try:
            try:
                connection.transport = await opener(crew)
            except (OSError, TimeoutError) as exc:
                logger.debug("Connection could not be opened: %r", exc)
                return
            await connection.run()
        except ConnectionError as exc:
            if connection.phase is Phase.HANDLER and not connection.gone:
                raise  # the handler's own trouble with a peer of its own
            logger.debug("Connection lost, %r (%s)", exc, connection.describe())
        except Exception as exc:
            exc.add_note(f"Connection: {connection.describe()}")  # the firewall no longer sees the connection
            raise
        finally:
            server.connections.discard(connection)
            if connection.websocket is not None:
                connection.websocket.sever()
            connection.abort()
            connection.phase = Phase.CLOSED
            if crew.needed:
                await crew.dismiss()
