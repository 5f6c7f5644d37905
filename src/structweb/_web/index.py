"""The index of a router: which resources may take a path, found without trying them one by one.

Fixed paths are keys of one dictionary.  The others are in buckets, one for each literal prefix of whole segments; a
request visits the buckets of its own prefixes, the longest first.  In a bucket the order of registration rules.  The
paths with variables of one bucket, for one method, are joined into one regular expression (see alternation).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias, final

from structweb._web.alternation import Alternation
from structweb._web.matching import UrlMappingMatchInfo
from structweb._web.patterns import PathTemplate, literal_segments
from structweb._web.resources import AbstractResource, DynamicResource, PlainResource
from structweb._web.routes import METH_ANY, ResourceRoute
from structweb._web.static import StaticResource
from structweb._web.subapps import MatchedSubAppResource, PrefixedSubAppResource
from structweb._wire.urlpath import decode_path, decode_value

#: A route and the names of its variables.
Named: TypeAlias = tuple[ResourceRoute, tuple[str, ...]]


class Found(NamedTuple):
    """What a match of a joined expression leads to: a route, and the groups of the values by name."""

    route: ResourceRoute
    values: tuple[tuple[str, int], ...]


@final
class Joined(NamedTuple):
    """A step of a plan: paths with variables, tried at once."""

    fullmatch: Callable[[str], re.Match[str] | None]
    #: By `Match.lastindex`.
    outcomes: dict[int | None, Found]


@final
class Handed(NamedTuple):
    """A step of a plan: a resource that decides for itself; without `match` it has to be awaited."""

    match: Callable[[str, str], UrlMappingMatchInfo | None] | None


class Bucket:
    """The resources with one literal prefix, in order of registration."""

    def __init__(self) -> None:
        self.resources: list[AbstractResource] = []
        #: The fixed paths that need no step: the dictionary answers for them.
        self.settled: set[PlainResource] = set()
        #: The steps by method, made when the first request with the method comes.
        self.plans: dict[str, list[Joined | Handed]] = {}

    def plan(self, method: str) -> list[Joined | Handed]:
        """Return the steps for a method."""
        # Methods come from clients: only those that have routes may make the dictionary grow.
        if not any(method == route.method for resource in self.resources for route in resource):
            method = METH_ANY
        if method not in self.plans:
            self.plans[method] = self._steps(method)
        return self.plans[method]

    def _steps(self, method: str) -> list[Joined | Handed]:
        steps: list[Joined | Handed] = []
        together = Alternation[Named]()
        for resource in self.resources:
            # Subclasses may have their own idea of a match: these have to be exactly what they seem.
            if type(resource) is PlainResource:
                route = None if resource in self.settled else resource.route_for(method)
                if route is not None:
                    together.add(literal_segments(resource.safe_path), (route, ()))
                continue
            if type(resource) is DynamicResource:
                route = resource.route_for(method)
                template = resource.template
                if route is None:
                    continue
                if template.segments is not None:
                    together.add(template.segments, (route, template.names))
                    continue
                step: Joined | Handed = _alone(template, route)
            elif type(resource) is PrefixedSubAppResource or type(resource) is StaticResource:
                step = Handed(resource.match)
            else:
                step = Handed(None)
            if together:
                steps.append(_joined(together))
                together = Alternation[Named]()
            steps.append(step)
        if together:
            steps.append(_joined(together))
        return steps


class ResourceIndex:
    """The resources of a router as they are now; a router makes a new one after each change."""

    def __init__(self, resources: Iterable[AbstractResource]) -> None:
        #: Resources to ask before any other: their rules are not about the path.
        self.rules: list[MatchedSubAppResource] = []
        #: The routes of fixed paths by method, under the safe spelling.  Empty if there are rules.
        self.fixed: dict[str, dict[str, ResourceRoute]] = {}
        self._buckets: dict[str, Bucket] = {}
        for resource in resources:
            if isinstance(resource, MatchedSubAppResource):
                self.rules.append(resource)
            else:
                self._buckets.setdefault(_key(resource), Bucket()).resources.append(resource)
        self._longest = max(map(len, self._buckets), default=0)
        if not self.rules:
            for bucket in self._buckets.values():
                self._settle(bucket)

    def find(self, method: str, path: str) -> UrlMappingMatchInfo | None:  # noqa: C901 -- hot: no call it can do without
        """Return the match info for a path in its safe spelling, None if that takes an await or nothing matches."""
        if self.rules:
            return None
        routes = self.fixed.get(path)
        if routes is not None:
            route = routes.get(method) or routes.get(METH_ANY)
            if route is not None:
                return UrlMappingMatchInfo((), route)
        buckets = self._buckets
        # The same walk as in candidates(), written out: this is the path of every request with a variable in its URL.
        prefix = path if len(path) <= self._longest else self._cut(path)
        while True:
            bucket = buckets.get(prefix)
            if bucket is not None:
                plan = bucket.plans.get(method)
                for step in bucket.plan(method) if plan is None else plan:
                    if type(step) is Handed:
                        return None if step.match is None else step.match(method, path)
                    found = step.fullmatch(path)
                    if found is not None:
                        route, values = step.outcomes[found.lastindex]
                        match_info = UrlMappingMatchInfo((), route)
                        for name, group in values:
                            value = found[group]
                            if value is not None:
                                match_info[name] = decode_value(value) if "%" in value else value
                        return match_info
            if prefix == "/":
                return None
            prefix = prefix.rpartition("/")[0] or "/"

    def candidates(self, path: str) -> Iterator[AbstractResource]:
        """Yield the resources that may take a path in its safe spelling, in the order to ask them."""
        prefix = path if len(path) <= self._longest else self._cut(path)
        while True:
            if prefix in self._buckets:
                yield from self._buckets[prefix].resources
            if prefix == "/":
                return
            prefix = prefix.rpartition("/")[0] or "/"

    def _cut(self, path: str) -> str:
        """Return the longest prefix that may have a bucket: this bounds the walk for paths of very many segments."""
        return path[: self._longest + 1].rpartition("/")[0] or "/"

    def _settle(self, bucket: Bucket) -> None:
        """Put the fixed paths of a bucket into the dictionary, but for those that an earlier resource may take."""
        earlier: list[AbstractResource] = []
        for resource in bucket.resources:
            if type(resource) is not PlainResource:
                earlier.append(resource)
            elif not any(_may_take(other, resource.safe_path) for other in earlier):
                routes = self.fixed.setdefault(resource.safe_path, {})
                bucket.settled.add(resource)
                if METH_ANY not in routes:
                    for route in resource:
                        routes.setdefault(route.method, route)


def _key(resource: AbstractResource) -> str:
    """Return the bucket of a resource: its path up to the last slash before a variable, in the safe spelling."""
    path = resource.canonical
    if "{" in path:
        path = path.partition("{")[0].rpartition("/")[0]
    path = decode_path(path).rstrip("/")
    return path if path.startswith("/") else "/"


def _may_take(resource: AbstractResource, path: str) -> bool:
    return type(resource) is not DynamicResource or resource.template.match(path) is not None


def _joined(alternation: Alternation[Named]) -> Joined:
    pattern, outcomes = alternation.compile()
    return Joined(
        pattern.fullmatch,
        {
            end: Found(route, tuple(zip(names, groups, strict=True)))
            for end, ((route, names), groups) in outcomes.items()
        },
    )


def _alone(template: PathTemplate, route: ResourceRoute) -> Joined:
    """Return the step for an expression with groups of its own; named ones among them are values, too."""
    pattern = template.pattern
    found = Found(route, tuple(pattern.groupindex.items()))
    return Joined(re.compile(f"(?:{pattern.pattern})()").fullmatch, {pattern.groups + 1: found})
