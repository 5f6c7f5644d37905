"""`request.transport`: the connection, as far as asyncio code may touch it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange


class PeerTransport:
    """The part of an asyncio transport that handlers use.  It cannot write: responses do."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type, as in asyncio
        """Return what the connection knows under one of asyncio's names, else `default`."""
        return self._exchange.transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Tell whether the client is known to have left."""
        return self._exchange.peer_gone

    def close(self) -> None:
        """Close the connection now; the client gets what the operating system has taken so far."""
        self._exchange.abort()

    def abort(self) -> None:
        """Close the connection now."""
        self.close()
