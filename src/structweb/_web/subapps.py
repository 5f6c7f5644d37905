"""Resources that hand a whole branch of paths, or a whole domain, to a sub-application."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from yarl import URL

from structweb._web.domains import AbstractRuleMatching
from structweb._web.errors import HTTPMethodNotAllowed
from structweb._web.matching import UrlMappingMatchInfo
from structweb._web.resources import AbstractResource, Resolution, checked_prefix
from structweb._web.routes import AbstractRoute, Info
from structweb._wire.urlpath import requote_path

if TYPE_CHECKING:
    from structweb._web.app import Application
    from structweb._web.request import Request


class PrefixResource(AbstractResource):
    """A resource for every path below a prefix."""

    def __init__(self, prefix: str, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._prefix = requote_path(checked_prefix(prefix) if prefix not in {"", "/"} else prefix)

    @property
    def canonical(self) -> str:
        """The prefix, percent-encoded."""
        return self._prefix

    def add_prefix(self, prefix: str) -> None:
        """Put another prefix before this one."""
        self._prefix = requote_path(checked_prefix(prefix)) + self._prefix

    def raw_match(self, path: str) -> bool:
        """Return False: no route can join a branch."""
        return False


class PrefixedSubAppResource(PrefixResource):
    """Everything below a prefix, for a sub-application: what it does not know is its own 404 or 405."""

    def __init__(self, prefix: str, app: "Application") -> None:
        super().__init__(prefix)
        self._app = app
        app.router.add_prefix(prefix)

    def __repr__(self) -> str:
        return f"<PrefixedSubAppResource {self._prefix} -> {self._app!r}>"

    def add_prefix(self, prefix: str) -> None:
        """Put another prefix before this one, and before every path of the sub-application."""
        super().add_prefix(prefix)
        self._app.router.add_prefix(prefix)

    def url_for(self, *args: str, **kwargs: str) -> URL:
        """Raise RuntimeError: a branch has no URL, its resources have."""
        raise RuntimeError(f"url_for() needs a resource of the sub-application, got its root {self!r}")

    def get_info(self) -> Info:
        """Return the ``app`` and the ``prefix``."""
        return {"app": self._app, "prefix": self._prefix}

    def match(self, method: str, path: str) -> UrlMappingMatchInfo | None:
        """Return the match info if the sub-application finds it without waiting; see `UrlDispatcher.match`."""
        match_info = self._app.router.match(method, path)
        if match_info is not None:
            match_info.add_app(self._app)
        return match_info

    async def resolve(self, request: "Request") -> Resolution:
        """Return what the sub-application says of the request: always a match info, if need be one of an error."""
        match_info = await self._app.router.resolve(request)
        match_info.add_app(self._app)
        error = match_info.http_exception
        return match_info, set(error.allowed_methods) if isinstance(error, HTTPMethodNotAllowed) else set()

    def __len__(self) -> int:
        return len(self._app.router.routes())

    def __iter__(self) -> Iterator[AbstractRoute]:
        return iter(self._app.router.routes())


class MatchedSubAppResource(PrefixedSubAppResource):
    """Every request that a rule accepts, for a sub-application; asked before any path."""

    def __init__(self, rule: AbstractRuleMatching, app: "Application") -> None:
        PrefixResource.__init__(self, "")
        self._app = app
        self._rule = rule

    def __repr__(self) -> str:
        return f"<MatchedSubAppResource -> {self._app!r}>"

    @property
    def canonical(self) -> str:
        """The rule as text."""
        return self._rule.canonical

    def get_info(self) -> Info:
        """Return the ``app`` and the ``rule``."""
        return {"app": self._app, "rule": self._rule}

    async def resolve(self, request: "Request") -> Resolution:
        """Return what the sub-application says of the request if the rule accepts it, else None."""
        if not await self._rule.match(request):
            return None, set()
        return await super().resolve(request)
