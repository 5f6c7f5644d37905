"""The router of an application: from a request to its handler."""

import keyword
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Never, Unpack, cast

from structweb._web.errors import HTTPMethodNotAllowed, HTTPNotFound
from structweb._web.index import ResourceIndex
from structweb._web.matching import AbstractRouter, MatchInfoError, UrlMappingMatchInfo
from structweb._web.patterns import has_variables
from structweb._web.policy import PolicyOptions
from structweb._web.resources import AbstractResource, DynamicResource, PlainResource, Resource
from structweb._web.routes import METH_ANY, AbstractRoute, AnyHandler, ExpectHandler, ResourceRoute
from structweb._web.static import StaticOptions, StaticResource
from structweb._web.view import AbstractView
from structweb._wire.urlpath import decode_path

if TYPE_CHECKING:
    from structweb._web.request import Request
    from structweb._web.routedef import AbstractRouteDef


class RouteOptions(PolicyOptions, total=False):
    """What may be said of a route besides its method, path and handler."""

    #: The name of the resource.
    name: str | None
    #: What answers an Expect field; by default ``100 Continue`` is sent.
    expect_handler: ExpectHandler | None


class ResourcesView(Collection[AbstractResource]):
    """The resources of a router, in order of registration."""

    def __init__(self, resources: list[AbstractResource]) -> None:
        self._resources = resources

    def __len__(self) -> int:
        return len(self._resources)

    def __iter__(self) -> Iterator[AbstractResource]:
        return iter(self._resources)

    def __contains__(self, resource: object) -> bool:
        return resource in self._resources


class RoutesView(Collection[AbstractRoute]):
    """The routes of a router, resource by resource."""

    def __init__(self, resources: list[AbstractResource]) -> None:
        self._resources = resources

    def __len__(self) -> int:
        return sum(len(resource) for resource in self._resources)

    def __iter__(self) -> Iterator[AbstractRoute]:
        for resource in self._resources:
            yield from resource

    def __contains__(self, route: object) -> bool:
        return any(route is known or route == known for known in self)


class UrlDispatcher(AbstractRouter, Mapping[str, AbstractResource]):
    """The router of an application, and a mapping of names to resources."""

    #: What separates the identifiers a name is made of.
    NAME_SPLIT_RE: ClassVar[re.Pattern[str]] = re.compile(r"[.:-]")

    def __init__(self) -> None:
        super().__init__()
        self._resources: list[AbstractResource] = []
        self._named_resources: dict[str, AbstractResource] = {}
        self._indexed: list[AbstractResource] = []
        self._index: ResourceIndex | None = None
        self._fixed: dict[str, dict[str, ResourceRoute]] = {}

    # -- requests --------------------------------------------------------------------------------------------------

    def match(self, method: str, raw_path: str) -> UrlMappingMatchInfo | None:
        """Return the match info for a path as on the wire (no query), or None: then `resolve` has to say.

        None means that nothing matches, or that some resource on the way must be awaited: a custom one, a domain.
        """
        # The keys are in the safe spelling; a raw path that looks like one is one (see urlpath).
        routes = self._fixed.get(raw_path)
        if routes is not None:
            route = routes.get(method) or routes.get(METH_ANY)
            if route is not None:
                return UrlMappingMatchInfo((), route)
        index = self._index or self._reindex()
        return index.find(method, decode_path(raw_path) if "%" in raw_path else raw_path)

    async def resolve(self, request: "Request") -> UrlMappingMatchInfo:
        """Return the match info for a request; with an `http_exception`, 404 or 405, if no route takes it."""
        index = self._index or self._reindex()
        allowed: set[str] = set()
        for rule in index.rules:
            match_info, methods = await rule.resolve(request)
            if match_info is not None:
                return match_info
            allowed |= methods
        for resource in index.candidates(decode_path(request.rel_url.raw_path)):
            match_info, methods = await resource.resolve(request)
            if match_info is not None:
                return match_info
            allowed |= methods
        if allowed:
            return MatchInfoError(HTTPMethodNotAllowed(request.method, allowed))
        return MatchInfoError(HTTPNotFound())

    # -- names and views -------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        return iter(self._named_resources)

    def __len__(self) -> int:
        return len(self._named_resources)

    def __contains__(self, name: object) -> bool:
        return name in self._named_resources

    def __getitem__(self, name: str) -> AbstractResource:
        return self._named_resources[name]

    if not TYPE_CHECKING:  # pragma: no branch -- a type checker would take any attribute for granted

        def __getattr__(self, name: str) -> Never:
            hint = "; use named_resources() or routes()" if name == "named_routes" else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    def resources(self) -> ResourcesView:
        """Return a view of all resources, in order of registration."""
        return ResourcesView(self._resources)

    def routes(self) -> RoutesView:
        """Return a view of all routes, resource by resource."""
        return RoutesView(self._resources)

    def named_resources(self) -> Mapping[str, AbstractResource]:
        """Return a read-only mapping of names to resources."""
        return MappingProxyType(self._named_resources)

    # -- resources -------------------------------------------------------------------------------------------------

    def register_resource(self, resource: AbstractResource) -> None:
        """Add a resource; custom ones are asked with ``await resource.resolve(request)``.

        Raises AssertionError for anything but an AbstractResource, ValueError for a bad or duplicate name,
        RuntimeError when the router is frozen.
        """
        if not isinstance(resource, AbstractResource):
            raise AssertionError(f"resource must be an AbstractResource, got {resource!r}")
        self._check_open(resource.canonical)
        if resource.name is not None:
            self._check_name(resource.name)
            self._named_resources[resource.name] = resource
        self._resources.append(resource)
        if isinstance(resource, Resource):
            resource.watch(self._forget_index)
        self.index_resource(resource)

    def index_resource(self, resource: AbstractResource) -> None:
        """Take a resource into account for requests; after `unindex_resource`, to have a new path noticed."""
        self._indexed.append(resource)
        self._forget_index()

    def unindex_resource(self, resource: AbstractResource) -> None:
        """Leave a resource out of account for requests, until it is indexed again."""
        self._indexed.remove(resource)
        self._forget_index()

    def add_prefix(self, prefix: str) -> None:
        """Put a prefix before the path of each resource: the application becomes a sub-application."""
        for resource in self._resources:
            resource.add_prefix(prefix)
        self._forget_index()

    def freeze(self) -> None:
        """Take no further resources; an empty path becomes ``/``."""
        super().freeze()
        for resource in self._resources:
            resource.freeze()
        self._forget_index()

    def add_resource(self, path: str, *, name: str | None = None) -> Resource:
        """Return the resource for a path: the last added one if it has the same path and name, else a new one.

        Raises ValueError for a path that does not start with ``/`` (and is not empty) or has bad variable parts.
        """
        if path and not path.startswith("/"):
            raise ValueError(f"path should be started with '/' or be empty, got {path!r}")
        self._check_open(path)
        if self._resources:
            last = self._resources[-1]
            if last.name == name and last.raw_match(path):
                return cast("Resource", last)  # only a Resource can know of a path it was made with
        resource = DynamicResource(path, name=name) if has_variables(path) else PlainResource(path, name=name)
        self.register_resource(resource)
        return resource

    # -- routes ----------------------------------------------------------------------------------------------------

    def add_route(
        self,
        method: str,
        path: str,
        handler: AnyHandler,
        *,
        name: str | None = None,
        expect_handler: ExpectHandler | None = None,
        **options: Unpack[PolicyOptions],
    ) -> AbstractRoute:
        """Add a handler for a method (``*`` for any) and a path; `options` are those of `PolicyOptions`.

        Raises ValueError for a bad method, path or name, AssertionError for a handler that cannot be called,
        RuntimeError if the method is taken or the router frozen.
        """
        resource = self.add_resource(path, name=name)
        return resource.add_route(method, handler, expect_handler=expect_handler, **options)

    def add_get(
        self,
        path: str,
        handler: AnyHandler,
        *,
        name: str | None = None,
        allow_head: bool = True,
        expect_handler: ExpectHandler | None = None,
        **options: Unpack[PolicyOptions],
    ) -> AbstractRoute:
        """Add a handler for GET, and for HEAD unless `allow_head` is false; return the route for GET."""
        resource = self.add_resource(path, name=name)
        if allow_head:
            resource.add_route("HEAD", handler, expect_handler=expect_handler, **options)
        return resource.add_route("GET", handler, expect_handler=expect_handler, **options)

    def add_head(self, path: str, handler: AnyHandler, **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a handler for HEAD."""
        return self.add_route("HEAD", path, handler, **options)

    def add_options(self, path: str, handler: AnyHandler, **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a handler for OPTIONS."""
        return self.add_route("OPTIONS", path, handler, **options)

    def add_post(self, path: str, handler: AnyHandler, **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a handler for POST."""
        return self.add_route("POST", path, handler, **options)

    def add_put(self, path: str, handler: AnyHandler, **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a handler for PUT."""
        return self.add_route("PUT", path, handler, **options)

    def add_patch(self, path: str, handler: AnyHandler, **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a handler for PATCH."""
        return self.add_route("PATCH", path, handler, **options)

    def add_delete(self, path: str, handler: AnyHandler, **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a handler for DELETE."""
        return self.add_route("DELETE", path, handler, **options)

    def add_view(self, path: str, handler: type[AbstractView], **options: Unpack[RouteOptions]) -> AbstractRoute:
        """Add a view class for every method; the view itself refuses the verbs it does not define."""
        return self.add_route(METH_ANY, path, handler, **options)

    def add_static(self, prefix: str, path: str | os.PathLike[str], **options: Unpack[StaticOptions]) -> StaticResource:
        """Serve the files of a folder below a prefix, to GET and HEAD; see `StaticResource`.

        Raises ValueError for what is no folder and for a bad name, AssertionError for a prefix without a slash in
        front, RuntimeError when the router is frozen.
        """
        resource = StaticResource(prefix.removesuffix("/"), path, **options)
        self.register_resource(resource)
        return resource

    def add_routes(self, routes: "Iterable[AbstractRouteDef]") -> list[AbstractRoute]:
        """Register route definitions, from a list or a table, and return the routes they made.

        Raises TypeError for what is none.
        """
        return [route for definition in _definitions(routes) for route in definition.register(self)]

    # --------------------------------------------------------------------------------------------------------------

    def _check_open(self, path: str) -> None:
        if self.frozen:
            raise RuntimeError(f"Cannot register a resource into frozen router, got {path!r}")

    def _check_name(self, name: str) -> None:
        for part in self.NAME_SPLIT_RE.split(name):
            if keyword.iskeyword(part) or not part.isidentifier():
                raise ValueError(
                    f"Incorrect route name {name!r}: expected identifiers joined by '.', ':' or '-', got {part!r}"
                )
        if name in self._named_resources:
            raise ValueError(f"Duplicate {name!r}, already handled by {self._named_resources[name]!r}")

    def _forget_index(self) -> None:
        self._index = None
        self._fixed = {}

    def _reindex(self) -> ResourceIndex:
        index = self._index = ResourceIndex(self._indexed)
        self._fixed = index.fixed
        return index


def _definitions(given: object) -> "list[AbstractRouteDef]":
    wrong = given
    if isinstance(given, Iterable):
        listed = list(given)
        strange = [one for one in listed if not hasattr(one, "register")]
        if not strange:
            return listed
        wrong = strange[0]
    raise TypeError(f"add_routes() takes a RouteTableDef, or a list as [web.get('/', handler)], got {wrong!r}")
