"""`request.transport`: the connection, as far as asyncio code may touch it."""

from typing import TYPE_CHECKING, Any, Final, Never

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange

# What programs that come from aiohttp ask it for in vain, and what they find instead.
_HINTS: Final = {
    "write": "write through a response; a handler of Expect awaits request.send_continue()",
    "writelines": "write through a response",
    "pause_reading": "what is not read from request.content makes the client wait",
    "resume_reading": "what is read from request.content lets the client send on",
    "get_protocol": "there is none; request.get_extra_info() knows the connection",
}


class PeerTransport:
    """The part of an asyncio transport that handlers use.  It cannot write: responses do."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    if not TYPE_CHECKING:  # type checkers shall not take every name for an attribute

        def __getattr__(self, name: str) -> Never:
            hint = f": {_HINTS[name]}" if name in _HINTS else ""
            raise AttributeError(f"request.transport has no attribute {name!r}{hint}", name=name, obj=self)

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
