"""Middlewares: what runs around every handler, and the one that comes along.

A middleware is called with the request and the handler that it runs around, and returns a response: usually what
``await handler(request)`` gives.  The first of an application's list is the outermost; a parent application's are
around those of its sub-applications, and those of a route are inside of all of them.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, update_wrapper
from inspect import Parameter, isawaitable, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from structweb._web.errors import HTTPMove, HTTPPermanentRedirect
from structweb._web.routes import Handler

if TYPE_CHECKING:
    from structweb._web.app import Application
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse

F = TypeVar("F", bound=Callable[..., object])

Middleware: TypeAlias = Callable[["Request", Handler], Awaitable["StreamResponse"]]

_SLASHES: Final = re.compile(r"//+")
# A browser takes a backslash for a slash, and two of them at the start for another host.
_LEADING_SLASHES: Final = re.compile(r"[/\\]{2,}")


def middleware(f: F) -> F:
    """Mark a middleware as one, for readers: every callable in `Application.middlewares` is."""
    f.__middleware_version__ = 1  # type: ignore[attr-defined]  # what aiohttp's own decorator sets
    return f


def compose(handler: Handler, apps: "tuple[Application, ...]") -> Handler:
    """Return `handler` with the middlewares of `apps` around it, the outermost application's outermost.

    What a middleware is given as its handler has the name, docstring and attributes of the innermost one.
    """
    if not any(app.middlewares for app in apps):
        return handler
    for app in reversed(apps):
        handler = surround(handler, app.middlewares)
        if len(apps) > 1 and (app.middlewares or app is apps[-1]):
            handler = _in_app(app, handler)
    return handler


def surround(handler: Handler, middlewares: Sequence[Middleware]) -> Handler:
    """Return `handler` with `middlewares` around it, the first one outermost."""
    for around in reversed(middlewares):
        handler = _wrapped(around, handler)
    return handler


def _wrapped(around: Middleware, handler: Handler) -> Handler:
    # Partials of coroutine functions, because they cost no frame: a call makes the middleware's own coroutine.
    call_around: Callable[..., Any] = around  # Any: a plain function may return a response, or an awaitable of one
    inner = partial(call_around, handler=handler) if _takes_handler(around) else _positional(call_around, handler)
    if iscoroutinefunction(around) or iscoroutinefunction(getattr(around, "__call__", None)):  # noqa: B004 - the method
        return update_wrapper(inner, handler)

    async def call(request: "Request") -> "StreamResponse":
        answer = inner(request)
        response: StreamResponse = await answer if isawaitable(answer) else answer
        return response

    return update_wrapper(call, handler)


def _takes_handler(around: Middleware) -> bool:
    """Tell whether the second argument is called `handler`, as it should be, and can be passed by that name."""
    try:
        parameters = signature(around).parameters.values()
    except (TypeError, ValueError):  # built-in callables have no signature
        return True
    return any(
        parameter.kind is Parameter.VAR_KEYWORD
        or (parameter.name == "handler" and parameter.kind is not Parameter.POSITIONAL_ONLY)
        for parameter in parameters
    )


def _positional(around: Callable[..., Any], handler: Handler) -> Callable[["Request"], Any]:  # Any: see _wrapped
    return lambda request: around(request, handler)


def _in_app(app: "Application", handler: Handler) -> Handler:
    """Return `handler` so that `request.app` is `app` while it runs, and what it was afterwards."""

    async def call(request: "Request") -> "StreamResponse":
        match_info = request.match_info
        outer = match_info.current_app
        match_info.current_app = app
        try:
            return await handler(request)
        finally:
            uploads = request._uploads
            if uploads is None or not uploads.kept:  # else the handler still runs, without its connection
                match_info.current_app = outer

    return update_wrapper(call, handler)


def normalize_path_middleware(
    *,
    append_slash: bool = True,
    remove_slash: bool = False,
    merge_slashes: bool = True,
    redirect_class: type[HTTPMove] = HTTPPermanentRedirect,
) -> Middleware:
    """Make a middleware that redirects a path without a route to one that differs in its slashes and has a route.

    It tries, in this order and as far as switched on: repeated slashes merged into one, a slash appended, the last
    slash removed, the first together with one of the others.  The query is kept.  Appending and removing exclude
    each other (AssertionError).
    """
    if append_slash and remove_slash:
        raise AssertionError("append_slash and remove_slash exclude each other, got both")

    def candidates(path: str) -> list[str]:
        merged = _SLASHES.sub("/", path)
        ended = path.endswith("/")
        found = [merged] if merge_slashes else []
        if append_slash and not ended:
            found += [path + "/", merged + "/"] if merge_slashes else [path + "/"]
        if remove_slash and ended:
            found += [path[:-1], merged[:-1]] if merge_slashes else [path[:-1]]
        return found

    @middleware
    async def normalize_path(request: "Request", handler: Handler) -> "StreamResponse":
        if request.match_info.http_exception is not None and request.pre_handler_error is None:
            path, mark, query = request.raw_path.partition("?")
            for candidate in candidates(path):
                safe = _LEADING_SLASHES.sub("/", candidate, count=1) if _LEADING_SLASHES.match(candidate) else candidate
                if await _resolves(request, safe):
                    raise redirect_class(safe + mark + query)
        return await handler(request)

    return normalize_path


async def _resolves(request: "Request", path: str) -> bool:
    if not path:
        return False
    match_info = await request.app.router.resolve(request.clone(rel_url=path))
    return match_info.http_exception is None
