"""The one timer of a server: once a second it visits the connections whose phase may have lasted too long."""

from collections.abc import Set as AbstractSet
from typing import Final

import anyio

from structweb._server.connection import Connection
from structweb._server.log import server_logger
from structweb._server.patience import INTERVAL
from structweb._server.shields import Shields
from structweb._wire.limits import Phase

# Where a peer is waited for, its progress is looked at each time.
_MEASURED: Final = (Phase.BODY, Phase.SEND, Phase.LINGER)


async def reap(connections: AbstractSet[Connection], shields: Shields) -> None:
    """Sweep `connections` and `shields` once a second, for ever.  Run it as a task of the server; cancel it to end."""
    while True:
        await anyio.sleep(INTERVAL)
        now = anyio.current_time()
        sweep(connections, now)
        shields.sweep(now)


def sweep(connections: AbstractSet[Connection], now: float) -> None:
    """Visit the connections whose deadline passed or is not worked out yet, and those that wait for a peer to move bytes.

    The rest is skipped here, without a call: among 10,000 idle connections that is nearly all of them.
    """
    due = [
        connection
        for connection in connections
        if (deadline := connection.deadline) is None or deadline <= now or connection.phase in _MEASURED
    ]
    for connection in due:
        try:
            connection.sweep(now)
        except Exception:  # noqa: BLE001 - the others must not lose their deadlines to one connection's fault
            server_logger.exception("Could not sweep a connection (%s)", connection.describe())
