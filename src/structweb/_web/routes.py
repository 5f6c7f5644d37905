"""Routes: a method and a handler, usually of a resource."""

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Unpack, cast

from yarl import URL

from structweb._web.errors import HTTPException, HTTPExpectationFailed
from structweb._web.policy import LimitOptions, Policied, Policy, PolicyOptions, checked_middlewares
from structweb._web.view import AbstractView
from structweb._wire.events import HttpVersion11

if TYPE_CHECKING:
    from structweb._web.app import Application
    from structweb._web.middleware import Middleware
    from structweb._web.request import Request
    from structweb._web.resources import AbstractResource
    from structweb._web.streaming import StreamResponse

#: What runs for a request.
Handler: TypeAlias = Callable[["Request"], Awaitable["StreamResponse"]]
#: What may be registered: a coroutine function, a plain function, or a view class.
AnyHandler: TypeAlias = Handler | Callable[["Request"], "StreamResponse"] | type[AbstractView]
#: What runs for a request with an Expect field, before the middlewares.  A response ends the exchange.
ExpectHandler: TypeAlias = Callable[["Request"], "Awaitable[StreamResponse | None] | StreamResponse | None"]
#: What `get_info` tells; the keys depend on the kind of resource.
Info: TypeAlias = Mapping[str, Any]  # Any: a path, a pattern, an application, an exception, ... by the key

#: The method of a route that takes every method no other route of its resource takes.
METH_ANY: Final = "*"
#: A method is a token (RFC 9110, section 5.6.2).
HTTP_METHOD_RE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Lineage:
    """A route and the applications it is reached through, the outermost first.

    There is one object for each such pair, so what depends on it (the handler with every middleware around it) is
    kept here, in `composed`, and found again without a search.
    """

    __slots__ = ("_outer", "apps", "composed", "route")

    def __init__(self, route: "AbstractRoute", apps: "tuple[Application, ...]" = ()) -> None:
        self.route: AbstractRoute = route
        self.apps: tuple[Application, ...] = apps
        #: For whoever wraps the handler; nothing here reads it.
        self.composed: Handler | None = None
        self._outer: dict[int, Lineage] = {}

    def __str__(self) -> str:
        resource = self.route.resource
        return f"{self.route.method} {'' if resource is None else resource.canonical}"

    def within(self, app: "Application") -> "Lineage":
        """Return the lineage with one more application around it."""
        # By identity: an application is a mapping and need not be hashable.  The lineage found keeps its id in use.
        outer = self._outer.get(id(app))
        if outer is None:
            outer = self._outer[id(app)] = Lineage(self.route, (app, *self.apps))
        return outer


class AbstractRoute(Policied, ABC):
    """A method (a token or ``*``) and the handler for it.

    Raises ValueError for a method that is no token and AssertionError for a handler that cannot be called; `limits`
    and `middlewares` hold for this route alone: see `PolicyOptions`.
    """

    def __init__(
        self,
        method: str,
        handler: AnyHandler,
        *,
        expect_handler: ExpectHandler | None = None,
        resource: "AbstractResource | None" = None,
        middlewares: "Sequence[Middleware]" = (),
        **limits: Unpack[LimitOptions],
    ) -> None:
        self._method = checked_method(method)
        self._middlewares = checked_middlewares(middlewares)
        self._policy = Policy(**limits)
        self._handler = _awaitable(handler)
        if expect_handler is None:
            expect_handler = _default_expect_handler
        elif not callable(expect_handler):
            raise AssertionError(f"expect_handler must be callable, got {expect_handler!r}")
        self._expect_handler = expect_handler
        self._resource = resource
        self._lineage: Lineage | None = None

    @property
    def method(self) -> str:
        """The method in upper case, ``*`` for any."""
        return self._method

    @property
    def handler(self) -> Handler:
        """What to call with the request and to await: the handler itself, or a wrapper round a plain function."""
        return self._handler

    @property
    def middlewares(self) -> "tuple[Middleware, ...]":
        """The middlewares for this route alone, the outermost first; those of its applications are around them."""
        return self._middlewares

    @property
    @abstractmethod
    def name(self) -> str | None:
        """The name of the resource, if there is one."""

    @property
    def resource(self) -> "AbstractResource | None":
        """The resource the route belongs to."""
        return self._resource

    @property
    def lineage(self) -> Lineage:
        """The route as seen by its own resource, with no application around it yet."""
        lineage = self._lineage
        if lineage is None:
            lineage = self._lineage = Lineage(self)
        return lineage

    @abstractmethod
    def get_info(self) -> Info:
        """Return what is known of the path, for introspection."""

    @abstractmethod
    def url_for(self, *args: str, **kwargs: str) -> URL:
        """Build the URL of the resource."""

    async def handle_expect_header(self, request: "Request") -> "StreamResponse | None":
        """Answer the Expect field of a request; a response ends the exchange, None lets the handler run."""
        answer = self._expect_handler(request)
        return await answer if isawaitable(answer) else answer


class ResourceRoute(AbstractRoute):
    """A route of a resource."""

    def __init__(
        self,
        method: str,
        handler: AnyHandler,
        resource: "AbstractResource",
        *,
        expect_handler: ExpectHandler | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        super().__init__(method, handler, expect_handler=expect_handler, resource=resource, **options)
        self._owner = resource

    def __repr__(self) -> str:
        return f"<ResourceRoute [{self.method}] {self._owner} -> {self.handler!r}>"

    @property
    def name(self) -> str | None:
        """The name of the resource."""
        return self._owner.name

    def url_for(self, *args: str, **kwargs: str) -> URL:
        """Build the URL of the resource."""
        return self._owner.url_for(*args, **kwargs)

    def get_info(self) -> Info:
        """Return what the resource tells about itself."""
        return self._owner.get_info()


class SystemRoute(AbstractRoute):
    """The route of a request that no resource takes: its handler raises the HTTP exception."""

    def __init__(self, http_exception: HTTPException) -> None:
        super().__init__(METH_ANY, _raiser(http_exception))
        self._http_exception = http_exception

    def __repr__(self) -> str:
        return f"<SystemRoute {self.status}: {self.reason}>"

    @property
    def name(self) -> None:
        """None: only resources have names."""
        return None

    @property
    def lineage(self) -> Lineage:
        """A new lineage each time: a route lives for one request, and no cycle should keep it longer."""
        return Lineage(self)

    @property
    def status(self) -> int:
        """The status of the exception."""
        return self._http_exception.status

    @property
    def reason(self) -> str:
        """The reason phrase of the exception."""
        return self._http_exception.reason

    def url_for(self, *args: str, **kwargs: str) -> URL:
        """Raise RuntimeError: there is no resource to build a URL of."""
        raise RuntimeError(f"url_for() needs a route of a resource, got {self!r}")

    def get_info(self) -> Info:
        """Return the exception as ``http_exception``."""
        return {"http_exception": self._http_exception}


def checked_method(method: str) -> str:
    """Return the method in upper case; ValueError if it is no token."""
    if not HTTP_METHOD_RE.fullmatch(method):
        raise ValueError(f"HTTP method must be a token (letters, digits, !#$%&'*+-.^_`|~), got {method!r}")
    return method.upper()


def _raiser(http_exception: HTTPException) -> Handler:
    async def handle(request: "Request") -> "StreamResponse":
        raise http_exception

    return handle


def _awaitable(handler: AnyHandler) -> Handler:
    """Return the handler if calling it gives an awaitable, else an async wrapper that calls it in place."""
    if not callable(handler):
        raise AssertionError(f"handler must be a function, a callable or a View class, got {handler!r}")
    if iscoroutinefunction(handler) or (isinstance(handler, type) and issubclass(handler, AbstractView)):
        return handler
    call = cast(  # what is left: plain functions, and callables whose signature does not tell of their awaitable
        "Callable[[Request], Awaitable[StreamResponse] | StreamResponse]", handler
    )

    @wraps(call)
    async def handle(request: "Request") -> "StreamResponse":
        result = call(request)
        return await result if isawaitable(result) else result

    return handle


async def _default_expect_handler(request: "Request") -> None:
    """Send ``100 Continue``; raise HTTPExpectationFailed for any other expectation (HTTP/1.0 has none)."""
    if request.version != HttpVersion11:
        return
    expect = request.headers.get("Expect", "")
    if expect.lower() != "100-continue":
        raise HTTPExpectationFailed(text=f"Unknown Expect: {expect}")
    await request.send_continue()
