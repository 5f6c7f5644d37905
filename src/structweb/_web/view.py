"""Class-based views: one class a path, one method a verb."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from inspect import isawaitable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse

#: The verbs a `View` may define, as methods in lower case.
VERBS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


class AbstractView(ABC):
    """A handler made anew for each request: awaiting it gives the response."""

    def __init__(self, request: "Request") -> None:
        self._request = request

    @property
    def request(self) -> "Request":
        """The request this view was made for."""
        return self._request

    @abstractmethod
    def __await__(self) -> Generator[object, None, "StreamResponse"]:
        """Handle the request."""


class View(AbstractView):
    """Hands the request to the method named like its verb: ``get()``, ``post()`` and so on, ``async`` or plain.

    A verb without a method is answered 405 with the defined ones in ``Allow``.  HEAD is a verb of its own: ``get()``
    does not serve it.
    """

    def __await__(self) -> Generator[object, None, "StreamResponse"]:
        """Handle the request."""
        return self._dispatch().__await__()

    async def _dispatch(self) -> "StreamResponse":
        verb = self.request.method
        method: Callable[[], Awaitable[StreamResponse] | StreamResponse] | None = None
        if verb in VERBS:
            method = getattr(self, verb.lower(), None)
        if method is None:
            from structweb._web.errors import HTTPMethodNotAllowed  # views are importable where no event loop is

            raise HTTPMethodNotAllowed(verb, [verb for verb in VERBS if hasattr(self, verb.lower())])
        result = method()
        return await result if isawaitable(result) else result
