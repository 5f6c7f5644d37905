"""Route definitions: routes as values, to be added to a router later."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from structweb._web.routes import METH_ANY, AbstractRoute, AnyHandler
from structweb._web.view import AbstractView

if TYPE_CHECKING:
    from structweb._web.dispatcher import UrlDispatcher

H = TypeVar("H", bound=AnyHandler)

# The methods for which a router has an adder of their own.
_WITH_ADDER: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class AbstractRouteDef(ABC):
    """Something that can add routes to a router."""

    __slots__ = ()

    @abstractmethod
    def register(self, router: "UrlDispatcher") -> list[AbstractRoute]:
        """Add the routes and return them."""


@dataclass(frozen=True, slots=True, repr=False)
class RouteDef(AbstractRouteDef):
    """One route to be: `kwargs` go to the router's method, ``add_get`` for GET and so on."""

    method: str
    path: str
    handler: AnyHandler
    kwargs: dict[str, Any]  # Any: whatever the router's method takes

    def __repr__(self) -> str:
        name = getattr(self.handler, "__name__", None) or repr(self.handler)
        info = "".join(f", {key}={value!r}" for key, value in sorted(self.kwargs.items()))
        return f"<RouteDef {self.method} {self.path} -> {name!r}{info}>"

    def register(self, router: "UrlDispatcher") -> list[AbstractRoute]:
        """Add the route and return it."""
        if self.method not in _WITH_ADDER:
            return [router.add_route(self.method, self.path, self.handler, **self.kwargs)]
        add: Callable[..., AbstractRoute] = getattr(router, f"add_{self.method.lower()}")
        return [add(self.path, self.handler, **self.kwargs)]


@dataclass(frozen=True, slots=True, repr=False)
class StaticDef(AbstractRouteDef):
    """A folder to be served below a prefix: `kwargs` go to the router's `add_static`."""

    prefix: str
    path: str | os.PathLike[str]
    kwargs: dict[str, Any]  # Any: whatever the router's method takes

    def __repr__(self) -> str:
        info = "".join(f", {key}={value!r}" for key, value in sorted(self.kwargs.items()))
        return f"<StaticDef {self.prefix} -> {self.path}{info}>"

    def register(self, router: "UrlDispatcher") -> list[AbstractRoute]:
        """Add the folder and return its routes."""
        return list(router.add_static(self.prefix, self.path, **self.kwargs))


def static(prefix: str, path: str | os.PathLike[str], **kwargs: Any) -> StaticDef:  # Any: see StaticDef
    """Define a folder to be served below a prefix."""
    return StaticDef(prefix, path, kwargs)


def route(method: str, path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for a method."""
    return RouteDef(method, path, handler, kwargs)


def head(path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for HEAD."""
    return route("HEAD", path, handler, **kwargs)


def options(path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for OPTIONS."""
    return route("OPTIONS", path, handler, **kwargs)


def get(
    path: str,
    handler: AnyHandler,
    *,
    name: str | None = None,
    allow_head: bool = True,
    **kwargs: Any,  # Any: see RouteDef
) -> RouteDef:
    """Define a route for GET, and for HEAD unless `allow_head` is false."""
    return route("GET", path, handler, name=name, allow_head=allow_head, **kwargs)


def post(path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for POST."""
    return route("POST", path, handler, **kwargs)


def put(path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for PUT."""
    return route("PUT", path, handler, **kwargs)


def patch(path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for PATCH."""
    return route("PATCH", path, handler, **kwargs)


def delete(path: str, handler: AnyHandler, **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route for DELETE."""
    return route("DELETE", path, handler, **kwargs)


def view(path: str, handler: type[AbstractView], **kwargs: Any) -> RouteDef:  # Any: see RouteDef
    """Define a route that gives every method to a view class."""
    return route(METH_ANY, path, handler, **kwargs)


class RouteTableDef(Sequence[AbstractRouteDef]):
    """A list of route definitions, filled by decorators: ``@routes.get("/path")``.

    The decorators return the handler unchanged.
    """

    def __init__(self) -> None:
        self._items: list[AbstractRouteDef] = []

    def __repr__(self) -> str:
        return f"<RouteTableDef count={len(self._items)}>"

    @overload
    def __getitem__(self, index: int) -> AbstractRouteDef: ...

    @overload
    def __getitem__(self, index: slice) -> list[AbstractRouteDef]: ...

    def __getitem__(self, index: int | slice) -> AbstractRouteDef | list[AbstractRouteDef]:
        return self._items[index]

    def __iter__(self) -> Iterator[AbstractRouteDef]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def route(self, method: str, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for a method."""

        def define(handler: H) -> H:
            self._items.append(RouteDef(method, path, handler, kwargs))
            return handler

        return define

    def head(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for HEAD."""
        return self.route("HEAD", path, **kwargs)

    def get(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for GET, and for HEAD unless ``allow_head=False``."""
        return self.route("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for POST."""
        return self.route("POST", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for PUT."""
        return self.route("PUT", path, **kwargs)

    def patch(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for PATCH."""
        return self.route("PATCH", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for DELETE."""
        return self.route("DELETE", path, **kwargs)

    def options(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route for OPTIONS."""
        return self.route("OPTIONS", path, **kwargs)

    def view(self, path: str, **kwargs: Any) -> Callable[[H], H]:  # Any: see RouteDef
        """Define a route that gives every method to a view class."""
        return self.route(METH_ANY, path, **kwargs)

    def static(self, prefix: str, path: str | os.PathLike[str], **kwargs: Any) -> None:  # Any: see StaticDef
        """Define a folder to be served below a prefix."""
        self._items.append(StaticDef(prefix, path, kwargs))
