"""The handler of a route together with everything around it, put together once, at the first request that takes it.

From the outside in: limits; the middlewares of each application, the outermost application's first; the handler's own
time limit; the middlewares of the route; the handler.  A route that nobody limits has nothing around it that would cost.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from structweb._web.cors import innermost, is_preflight
from structweb._web.deadlines import timed
from structweb._web.entourage import with_its_tasks
from structweb._web.errors import HTTPNotFound
from structweb._web.middleware import compose, surround
from structweb._web.policy import Bounds, bounds_of
from structweb._web.routes import Handler, Lineage

if TYPE_CHECKING:
    from structweb._web.app import Application
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse


def compose_lineage(lineage: Lineage) -> Handler:
    """Return the handler of a route with everything around it, and keep it for the next request of the same kind."""
    route = lineage.route
    bounds = _bounds(lineage)
    handler = route.handler
    if route.middlewares or any(app.middlewares for app in lineage.apps):
        handler = with_its_tasks(handler)
    handler = surround(handler, route.middlewares)
    if bounds.handler_timeout is not None or bounds.deadline_header is not None:
        handler = timed(handler, bounds.handler_timeout, bounds.deadline_header)
    handler = _bounded(compose(handler, lineage.apps), bounds, lineage.apps)
    lineage.composed = handler
    return handler


def compose_unmatched(apps: "tuple[Application, ...]") -> Handler:
    """Return what answers a request that no route of the innermost of `apps` takes: their middlewares see the error."""
    return _bounded(compose(_raise_unmatched, apps), bounds_of(app.policy for app in apps), apps)


def bound_route(lineage: Lineage, request: "Request") -> None:
    """Have the limits of a route hold from now on, for what runs before its handler."""
    _apply(_bounds(lineage), request)


def _bounds(lineage: Lineage) -> Bounds:
    return bounds_of([*(app.policy for app in lineage.apps), lineage.route.policy])


async def _raise_unmatched(request: "Request") -> "StreamResponse":
    # A preflight is about another method's route, whose middlewares it does not go through.
    if is_preflight(request) and (cors := await innermost(request)) is not None:
        return cors.answer(request)
    raise request.match_info.http_exception or HTTPNotFound


def _bounded(handler: Handler, bounds: Bounds, apps: "tuple[Application, ...]") -> Handler:
    """Return `handler` so that `bounds` hold; itself if they are those that every request begins with."""
    begins_with = bounds_of(app.policy for app in apps[:1])
    if bounds[:3] == (None, *begins_with[1:3]):
        return handler

    def call(request: "Request") -> "Awaitable[StreamResponse]":
        _apply(bounds, request)
        return handler(request)

    return call


def _apply(bounds: Bounds, request: "Request") -> None:
    request._client_max_size = bounds.client_max_size
    request._client_max_fields = bounds.client_max_fields
    if bounds.disconnect is not None:
        request._exchange.disconnect = bounds.disconnect  # in time: it counts from the handler's first suspension
