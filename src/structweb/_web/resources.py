"""Resources: one path each, with the routes for its methods."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, Unpack

from yarl import URL

from structweb._web.matching import UrlMappingMatchInfo
from structweb._web.patterns import DEFAULT_PATTERN, PLAIN_VARIABLE, REGEX_VARIABLE, PathTemplate, parse_template
from structweb._web.policy import PolicyOptions
from structweb._web.routes import (
    METH_ANY,
    AbstractRoute,
    AnyHandler,
    ExpectHandler,
    Info,
    ResourceRoute,
    checked_method,
)
from structweb._wire.urlpath import decode_path, requote_path

if TYPE_CHECKING:
    from structweb._web.request import Request

#: The match info, or None and the methods the path would take.
Resolution: TypeAlias = tuple[UrlMappingMatchInfo | None, set[str]]


class AbstractResource(Sized, Iterable[AbstractRoute]):
    """Something of a router that may take a request; iterating gives its routes.

    Derive from it to match by other things than the path, and hand it to `UrlDispatcher.register_resource`.
    A resource is asked for requests whose path starts with the literal segments of its `canonical` path.
    """

    def __init__(self, *, name: str | None = None) -> None:
        self._name = name

    @property
    def name(self) -> str | None:
        """The name to find the resource by in its router."""
        return self._name

    @property
    @abstractmethod
    def canonical(self) -> str:
        """The path, variables in braces: ``/users/{name}``."""

    @abstractmethod
    def url_for(self, **kwargs: str) -> URL:
        """Build the URL of the resource from the variable parts."""

    @abstractmethod
    async def resolve(self, request: "Request") -> Resolution:
        """Return the match info for a request, or None and the methods that would be allowed."""

    @abstractmethod
    def add_prefix(self, prefix: str) -> None:
        """Put a prefix before the path: the resource is now within a sub-application."""

    @abstractmethod
    def get_info(self) -> Info:
        """Return what is known of the path, for introspection."""

    def freeze(self) -> None:
        """Get ready for requests; called once, when the router is frozen."""

    @abstractmethod
    def raw_match(self, path: str) -> bool:
        """Whether the resource was made with just this path, so that a route for the path may join it."""


class Resource(AbstractResource):
    """A resource with a route for each of its methods."""

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._routes: dict[str, ResourceRoute] = {}
        self._watchers: list[Callable[[], None]] = []

    def add_route(
        self,
        method: str,
        handler: AnyHandler,
        *,
        expect_handler: ExpectHandler | None = None,
        **options: Unpack[PolicyOptions],
    ) -> ResourceRoute:
        """Add a handler for a method (``*``: for every method without a route of its own) and return the route.

        `options` are limits and middlewares for this route alone: see `PolicyOptions`.  Raises RuntimeError if an
        earlier route takes the method already.
        """
        taken = self.route_for(checked_method(method))
        if taken is not None:
            raise RuntimeError(
                f"Added route will never be executed, method {taken.method} is already registered"
                f" (adding {method} to {self!r})"
            )
        route = ResourceRoute(method, handler, self, expect_handler=expect_handler, **options)
        self.register_route(route)
        return route

    def register_route(self, route: ResourceRoute) -> None:
        """Add a route made elsewhere; it replaces the one of the same method.  AssertionError for what is no ResourceRoute."""
        if not isinstance(route, ResourceRoute):
            raise AssertionError(f"route must be a ResourceRoute, got {route!r}")
        self._routes[route.method] = route
        self._announce()

    async def resolve(self, request: "Request") -> Resolution:
        """Return the match info for a request, or None and the methods that would be allowed."""
        values = self._match(decode_path(request.rel_url.raw_path))
        if values is None:
            return None, set()
        route = self.route_for(request.method)
        if route is None:
            return None, set(self._routes)
        return UrlMappingMatchInfo(values, route), set(self._routes)

    def route_for(self, method: str) -> ResourceRoute | None:
        """Return the route that takes a method: its own, or the one for every method."""
        return self._routes.get(method) or self._routes.get(METH_ANY)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have a router told whenever the path or the routes change."""
        self._watchers.append(changed)

    @abstractmethod
    def _match(self, path: str) -> dict[str, str] | None:
        """Return the values of the variable parts if the path, in its safe spelling, is this resource's."""

    def _announce(self) -> None:
        for changed in self._watchers:
            changed()

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[ResourceRoute]:
        return iter(self._routes.values())

    def __repr__(self) -> str:
        name = "" if self.name is None else f"{self.name!r} "
        return f"<{type(self).__name__} {name}{self.canonical}>"


class PlainResource(Resource):
    """A resource with a fixed path, or ``""``: the root of the application, whatever its prefix.

    Raises ValueError for a path that does not start with a slash.
    """

    def __init__(self, path: str, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if path and not path.startswith("/"):
            raise ValueError(f"path must start with '/' or be empty, got {path!r}")
        self._path = path
        self._safe_path = decode_path(path)

    @property
    def canonical(self) -> str:
        """The path, as given."""
        return self._path

    @property
    def safe_path(self) -> str:
        """The path in the spelling that requests are matched in."""
        return self._safe_path

    def freeze(self) -> None:
        """Become the root path if the path is still empty."""
        if not self._path:
            self._path = self._safe_path = "/"
            self._announce()

    def add_prefix(self, prefix: str) -> None:
        """Put a prefix before the path."""
        self._path = checked_prefix(prefix) + self._path
        self._safe_path = decode_path(self._path)
        self._announce()

    def raw_match(self, path: str) -> bool:
        """Whether this is the path."""
        return self._path == path

    def get_info(self) -> Info:
        """Return the ``path``."""
        return {"path": self._path}

    def url_for(self) -> URL:  # type: ignore[override] # there are no parts to give
        """Build the URL: the path, quoted."""
        return URL.build(path=requote_path(self._path), encoded=True)

    def _match(self, path: str) -> dict[str, str] | None:
        return {} if path == self._safe_path else None


class DynamicResource(Resource):
    r"""A resource with variable parts in its path: ``/users/{name}``, ``/{year:\d{4}}``."""

    #: What a variable part is, without and with an expression of its own, and what it matches without.
    DYN: ClassVar[re.Pattern[str]] = PLAIN_VARIABLE
    DYN_WITH_RE: ClassVar[re.Pattern[str]] = REGEX_VARIABLE
    GOOD: ClassVar[str] = DEFAULT_PATTERN

    def __init__(self, path: str, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._orig_path: Final = path
        self._template = parse_template(path)

    @property
    def canonical(self) -> str:
        """The path, percent-encoded, with the names of the variables in braces."""
        return self._template.formatter

    @property
    def template(self) -> PathTemplate:
        """The path, compiled."""
        return self._template

    def add_prefix(self, prefix: str) -> None:
        """Put a prefix before the path."""
        self._template = self._template.with_prefix(checked_prefix(prefix))
        self._announce()

    def raw_match(self, path: str) -> bool:
        """Whether the resource was made with this path."""
        return self._orig_path == path

    def get_info(self) -> Info:
        """Return ``formatter``, the path with names in braces, and ``pattern``, the regular expression."""
        return {"formatter": self._template.formatter, "pattern": self._template.pattern}

    def url_for(self, **parts: str) -> URL:
        """Build the URL from the variable parts, quoted; slashes in them stay.

        Raises KeyError for a missing part, TypeError for one that is no str.
        """
        return URL.build(path=self._template.fill(parts), encoded=True)

    def _match(self, path: str) -> dict[str, str] | None:
        return self._template.match(path)


def checked_prefix(prefix: str) -> str:
    """Return the prefix; AssertionError unless it is ``/`` and something that does not end with ``/``."""
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise AssertionError(f"prefix must start with '/' and end with something else, got {prefix!r}")
    return prefix
