"""What template engines share: who renders, with which context, and what becomes of mistakes."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import wraps
from inspect import isawaitable
from typing import Any, Protocol, TypeAlias

from structweb import web
from structweb._web.routes import Handler

Context: TypeAlias = Mapping[str, Any]  # Any: values are what templates make of them
ContextKey: TypeAlias = web.RequestKey[dict[str, Any]]  # Any: as above
ContextProcessor: TypeAlias = Callable[[web.Request], Awaitable[Context] | Context]
#: What takes a request, last or as a view's `request`, and returns a context, None for an empty one, or a response.
TemplateHandler: TypeAlias = Callable[
    ..., Awaitable[Context | web.StreamResponse | None] | Context | web.StreamResponse | None
]
TemplatedHandler: TypeAlias = Callable[..., Awaitable[web.StreamResponse]]


class Renderer(Protocol):
    """Renders the template that a decorator names."""

    def __call__(self, request: web.Request, context: Context | None, /) -> Awaitable[web.Response]: ...


def templated(render: Renderer) -> Callable[[TemplateHandler], TemplatedHandler]:
    """Return a decorator that renders what a handler returns; a response passes."""

    def decorate(handler: TemplateHandler) -> TemplatedHandler:
        @wraps(handler)
        async def handle(*args: Any) -> web.StreamResponse:  # Any: a view, or a request behind a self or not
            answer = handler(*args)
            if isawaitable(answer):
                answer = await answer
            if isinstance(answer, web.StreamResponse):
                return answer
            request = args[0].request if isinstance(args[0], web.View) else args[-1]
            return await render(request, answer)

        return handle

    return decorate


def page(text: str, *, encoding: str, status: int) -> web.Response:
    """Return the response that a template has become."""
    return web.Response(text=text, content_type="text/html", charset=encoding, status=status)


def failure(text: str) -> web.HTTPInternalServerError:
    """Return the error that tells what is wrong with a template, in its body and in its reason.

    What cannot be printed, in a name that comes from a client, say, is a question mark there: no reason may have it.
    """
    said = "".join(char if char.isprintable() else "?" for char in text)
    return web.HTTPInternalServerError(reason=said, text=said)


def merged(context: object, request: web.Request, key: ContextKey) -> Context:
    """Return a handler's context over that of the context processors.  Raises HTTPInternalServerError for no mapping."""
    if not isinstance(context, Mapping):
        raise failure(f"context should be mapping, not {type(context)}")
    below = request.get(key)
    return {**below, **context} if below else context


async def process(processors: Iterable[ContextProcessor], request: web.Request, key: ContextKey) -> None:
    """Add what processors return to the request's context."""
    context = request.setdefault(key, {})
    for processor in processors:
        made = processor(request)
        context.update(await made if isawaitable(made) else made)


def add_processors(
    app: web.Application,
    processors: Sequence[ContextProcessor],
    key: ContextKey,
    app_key: web.AppKey[Sequence[ContextProcessor]],
) -> None:
    """Run `processors` for each request of an application, before its handlers."""
    if not processors:
        return
    app[app_key] = [*app.get(app_key, ()), *processors]

    @web.middleware
    async def context_processors_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        await process(processors, request, key)
        return await handler(request)

    app.middlewares.append(context_processors_middleware)
