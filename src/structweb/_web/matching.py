"""Match infos: what a router says about a request."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from structweb._web.errors import HTTPException
from structweb._web.routes import AbstractRoute, Handler, Info, Lineage, SystemRoute

if TYPE_CHECKING:
    from structweb._web.app import Application
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse


class AbstractMatchInfo(ABC):
    """What a router found for a request: the handler, and the applications on the way to it."""

    __slots__ = ()

    @property
    @abstractmethod
    def handler(self) -> Handler:
        """The handler of the request."""

    @property
    @abstractmethod
    def expect_handler(self) -> "Callable[[Request], Awaitable[StreamResponse | None]]":
        """What answers an Expect field."""

    @property
    @abstractmethod
    def http_exception(self) -> HTTPException | None:
        """The error of a request that matched nothing; None if something matched."""

    @abstractmethod
    def get_info(self) -> Info:
        """Return what is known of the path, for introspection."""

    @property
    @abstractmethod
    def apps(self) -> "tuple[Application, ...]":
        """The nested applications, the outermost first."""

    @abstractmethod
    def add_app(self, app: "Application") -> None:
        """Put one more application around the others."""

    @abstractmethod
    def freeze(self) -> None:
        """Forbid `add_app` from now on."""


class AbstractRouter(ABC):
    """Finds the handler of a request."""

    def __init__(self) -> None:
        self._frozen = False

    def post_init(self, app: "Application") -> None:  # noqa: B027 -- overriding it is optional
        """Meet the application; called once, from its constructor.  Does nothing unless overridden."""

    @property
    def frozen(self) -> bool:
        """Whether the router takes no further resources."""
        return self._frozen

    def freeze(self) -> None:
        """Take no further resources."""
        self._frozen = True

    @abstractmethod
    async def resolve(self, request: "Request") -> AbstractMatchInfo:
        """Return the match info of the request; one with an `http_exception` when nothing matches."""


class UrlMappingMatchInfo(dict[str, str], AbstractMatchInfo):
    """The decoded variable parts of the path by name, and the route that takes the request."""

    __slots__ = ("_current_app", "_frozen", "_lineage")

    def __init__(self, match_dict: Mapping[str, str] | Iterable[tuple[str, str]], route: AbstractRoute) -> None:
        if match_dict:  # most paths have no variable part, and calling dict.__init__ is half of the cost
            super().__init__(match_dict)
        self._lineage = route.lineage
        self._current_app: Application | None = None
        self._frozen = False

    def __repr__(self) -> str:
        return f"<MatchInfo {super().__repr__()}: {self.route}>"

    @property
    def handler(self) -> Handler:
        """The handler of the route."""
        return self._lineage.route.handler

    @property
    def route(self) -> AbstractRoute:
        """The route that takes the request."""
        return self._lineage.route

    @property
    def lineage(self) -> Lineage:
        """The route together with `apps`: the same object for every request that comes the same way."""
        return self._lineage

    @property
    def expect_handler(self) -> "Callable[[Request], Awaitable[StreamResponse | None]]":
        """What answers an Expect field."""
        return self._lineage.route.handle_expect_header

    @property
    def http_exception(self) -> HTTPException | None:
        """None: a route was found."""
        return None

    def get_info(self) -> Info:
        """Return what the route tells about itself."""
        return self._lineage.route.get_info()

    @property
    def apps(self) -> "tuple[Application, ...]":
        """The nested applications, the outermost first."""
        return self._lineage.apps

    def add_app(self, app: "Application") -> None:
        """Put one more application around the others; the first one becomes `current_app`.

        Raises RuntimeError after `freeze`.
        """
        if self._frozen:
            raise RuntimeError(f"add_app() must come before freeze(), got {app!r} for {self!r}")
        if self._current_app is None:
            self._current_app = app
        self._lineage = self._lineage.within(app)

    @property
    def current_app(self) -> "Application":
        """The application whose middleware or handler runs now.  AssertionError before `add_app`."""
        app = self._current_app
        if app is None:
            raise AssertionError(f"current_app needs add_app() first, got none for {self!r}")
        return app

    @current_app.setter
    def current_app(self, app: "Application") -> None:
        self._current_app = app

    def freeze(self) -> None:
        """Forbid `add_app` from now on."""
        self._frozen = True


class MatchInfoError(UrlMappingMatchInfo):
    """The match info of a request that no route takes."""

    __slots__ = ("_exception",)

    def __init__(self, http_exception: HTTPException) -> None:
        self._exception = http_exception
        super().__init__({}, SystemRoute(http_exception))

    def __repr__(self) -> str:
        return f"<MatchInfoError {self._exception.status}: {self._exception.reason}>"

    @property
    def http_exception(self) -> HTTPException:
        """The error to answer with."""
        return self._exception
