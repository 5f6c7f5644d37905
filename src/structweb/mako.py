"""Pages from Mako templates: the API of aiohttp_mako on asyncio and trio, with what `structweb.jinja2` can do.

Mako escapes nothing by itself: ``setup(..., default_filters=["h"])`` has it escape for HTML.  A template is rendered in
the event loop, where nothing else runs meanwhile: keep long work in the handler.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from structweb import web
from structweb._templating import (
    Context,
    ContextKey,
    ContextProcessor,
    TemplatedHandler,
    TemplateHandler,
    add_processors,
    failure,
    merged,
    page,
    process,
    templated,
)
from structweb._web.routes import Handler

try:
    from mako.exceptions import TemplateLookupException, text_error_template
    from mako.lookup import TemplateLookup
except ImportError as _missing:
    raise ImportError("structweb.mako needs Mako: pip install 'structweb[mako]'") from _missing

__all__ = [
    "APP_CONTEXT_PROCESSORS_KEY",
    "APP_KEY",
    "REQUEST_CONTEXT_KEY",
    "Lookup",
    "MakoRenderingException",
    "context_processors_middleware",
    "get_lookup",
    "render_string",
    "render_template",
    "request_processor",
    "setup",
    "template",
]


class Lookup(Protocol):
    """A `mako.lookup.TemplateLookup`, as far as most need it: Mako says nothing of its types."""

    def get_template(self, uri: str) -> Any:  # Any: a mako.template.Template
        """Return a template.  Raises TemplateLookupException if there is none."""

    def has_template(self, uri: str) -> bool:
        """Whether there is such a template."""

    def put_string(self, uri: str, text: str) -> None:
        """Add a template from its text."""


#: Where an application has its lookup, unless `app_key` says otherwise.
APP_KEY: Final = web.AppKey[Lookup]("structweb.mako.APP_KEY")
#: Where an application has its context processors.
APP_CONTEXT_PROCESSORS_KEY: Final = web.AppKey[Sequence[ContextProcessor]]("structweb.mako.APP_CONTEXT_PROCESSORS_KEY")
#: Where a request has what the context processors returned.
REQUEST_CONTEXT_KEY: Final = ContextKey("structweb.mako.REQUEST_CONTEXT_KEY")


class MakoRenderingException(Exception):
    """A template failed; the message is Mako's report, with the template's lines.  The cause is what it raised."""


def setup(
    app: web.Application,
    *args: Any,  # Any: the lookup's own
    app_key: web.AppKey[Lookup] = APP_KEY,
    context_processors: Sequence[ContextProcessor] = (),
    **kwargs: Any,  # Any: the lookup's own
) -> Lookup:
    """Give an application, and those below it, a Mako lookup; call it before the application starts.

    `args` and `kwargs` go to `mako.lookup.TemplateLookup`.  `context_processors` are called with each request; what they
    return is in the context of its templates, under what the handler says.  Several lookups have an `app_key` each.
    """
    lookup: Lookup = TemplateLookup(*args, **kwargs)
    app[app_key] = lookup
    add_processors(app, context_processors, REQUEST_CONTEXT_KEY, APP_CONTEXT_PROCESSORS_KEY)
    return lookup


def get_lookup(app: web.Application, *, app_key: web.AppKey[Lookup] = APP_KEY) -> Lookup | None:
    """Return the lookup that `setup` has given this application, None if it has none."""
    return app.get(app_key)


def template(
    template_name: str,
    *,
    app_key: web.AppKey[Lookup] = APP_KEY,
    encoding: str = "utf-8",
    status: int = 200,
) -> Callable[[TemplateHandler], TemplatedHandler]:
    """Render what a handler returns: a mapping, or None for an empty one; a response passes as it is.

    It may be a function or a method, `async def` or `def`, also of a `web.View`.
    """

    async def render(request: web.Request, context: Context | None) -> web.Response:
        return render_template(template_name, request, context, app_key=app_key, encoding=encoding, status=status)

    return templated(render)


def render_template(
    template_name: str,
    request: web.Request,
    context: Context | None,
    *,
    app_key: web.AppKey[Lookup] = APP_KEY,
    encoding: str = "utf-8",
    status: int = 200,
) -> web.Response:
    """Return a ``text/html`` response with a rendered template.  Raises as `render_string` does."""
    text = render_string(template_name, request, {} if context is None else context, app_key=app_key)
    return page(text, encoding=encoding, status=status)


def render_string(
    template_name: str,
    request: web.Request,
    context: Context,
    *,
    app_key: web.AppKey[Lookup] = APP_KEY,
) -> str:
    """Return a rendered template, of the lookup of the request's application or of the nearest one around it.

    Raises HTTPInternalServerError, whose text says why, without a lookup or a template, or when the context is no
    mapping; MakoRenderingException when the template fails.
    """
    lookup = request.config_dict.get(app_key)
    if lookup is None:
        raise failure("Template engine is not initialized, call structweb.mako.setup() first")
    try:
        found = lookup.get_template(template_name)
    except TemplateLookupException as exc:
        raise failure(f"Template '{template_name}' not found") from exc
    values = merged(context, request, REQUEST_CONTEXT_KEY)
    try:
        return str(found.render_unicode(**values))
    except Exception as exc:
        report = text_error_template().render_unicode(error=exc, traceback=exc.__traceback__)
        raise MakoRenderingException(f"Template '{template_name}' failed\n{report}") from exc


@web.middleware
async def context_processors_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Call the context processors of the request's application, or of the nearest one around it that has some.

    `setup` adds its own middleware: this one is for applications that keep processors under APP_CONTEXT_PROCESSORS_KEY.
    """
    processors = request.config_dict[APP_CONTEXT_PROCESSORS_KEY]
    await process(processors, request, REQUEST_CONTEXT_KEY)
    return await handler(request)


async def request_processor(request: web.Request) -> dict[str, web.Request]:
    """Give templates the `request`: a context processor."""
    return {"request": request}
