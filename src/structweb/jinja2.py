"""Pages from Jinja2 templates: the API of aiohttp_jinja2 on asyncio and trio.

`setup` gives an application its environment, `@template` renders what a handler returns.  A template is rendered in
the event loop, where nothing else runs meanwhile: keep long work in the handler.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from yarl import URL

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
    import jinja2
except ImportError as _missing:
    raise ImportError("structweb.jinja2 needs Jinja2: pip install 'structweb[jinja2]'") from _missing

__all__ = [
    "APP_CONTEXT_PROCESSORS_KEY",
    "APP_KEY",
    "GLOBAL_HELPERS",
    "REQUEST_CONTEXT_KEY",
    "context_processors_middleware",
    "get_env",
    "render_string",
    "render_string_async",
    "render_template",
    "render_template_async",
    "request_processor",
    "setup",
    "static_root_key",
    "static_url",
    "template",
    "url_for",
]

#: Where an application has its environment, unless `app_key` says otherwise.
APP_KEY: Final = web.AppKey[jinja2.Environment]("structweb.jinja2.APP_KEY")
#: Where an application has its context processors.
APP_CONTEXT_PROCESSORS_KEY: Final = web.AppKey[Sequence[ContextProcessor]](
    "structweb.jinja2.APP_CONTEXT_PROCESSORS_KEY"
)
#: Where a request has what the context processors returned.
REQUEST_CONTEXT_KEY: Final = ContextKey("structweb.jinja2.REQUEST_CONTEXT_KEY")
#: What `static` puts before a path.
static_root_key: Final = web.AppKey[str]("structweb.jinja2.static_root_key")


def setup(
    app: web.Application,
    *args: Any,  # Any: the environment's own
    app_key: web.AppKey[jinja2.Environment] = APP_KEY,
    context_processors: Sequence[ContextProcessor] = (),
    filters: Mapping[str, Callable[..., Any]] | Iterable[tuple[str, Callable[..., Any]]] | None = None,  # Any: theirs
    default_helpers: bool = True,
    **kwargs: Any,  # Any: the environment's own
) -> jinja2.Environment:
    """Give an application, and those below it, a Jinja2 environment; call it before the application starts.

    `args` and `kwargs` go to `jinja2.Environment`; unlike there, `autoescape` is on unless it says otherwise, and with
    ``enable_async=True`` templates may await.  `context_processors` are called with each request; what they return is in
    the context of its templates, under what the handler says.  `default_helpers`: whether templates know `url` and
    `static`.  Several environments have an `app_key` each.
    """
    kwargs.setdefault("autoescape", True)
    env = jinja2.Environment(*args, **kwargs)  # noqa: S701 - see the line above
    if default_helpers:
        env.globals.update(GLOBAL_HELPERS)
    if filters is not None:
        env.filters.update(filters)
    env.globals["app"] = app
    app[app_key] = env
    add_processors(app, context_processors, REQUEST_CONTEXT_KEY, APP_CONTEXT_PROCESSORS_KEY)
    return env


def get_env(app: web.Application, *, app_key: web.AppKey[jinja2.Environment] = APP_KEY) -> jinja2.Environment:
    """Return the environment that `setup` has given this application.  Raises RuntimeError if it has none."""
    env = app.get(app_key)
    if env is None:
        raise RuntimeError("structweb.jinja2.setup(...) must be called first")
    return env


def template(
    template_name: str,
    *,
    app_key: web.AppKey[jinja2.Environment] = APP_KEY,
    encoding: str = "utf-8",
    status: int = 200,
) -> Callable[[TemplateHandler], TemplatedHandler]:
    """Render what a handler returns: a mapping, or None for an empty one; a response passes as it is.

    It may be a function or a method, `async def` or `def`, also of a `web.View`.
    """

    async def render(request: web.Request, context: Context | None) -> web.Response:
        return await render_template_async(
            template_name, request, context, app_key=app_key, encoding=encoding, status=status
        )

    return templated(render)


def render_template(
    template_name: str,
    request: web.Request,
    context: Context | None,
    *,
    app_key: web.AppKey[jinja2.Environment] = APP_KEY,
    encoding: str = "utf-8",
    status: int = 200,
) -> web.Response:
    """Return a ``text/html`` response with a rendered template.  Raises as `render_string` does."""
    text = render_string(template_name, request, {} if context is None else context, app_key=app_key)
    return page(text, encoding=encoding, status=status)


async def render_template_async(
    template_name: str,
    request: web.Request,
    context: Context | None,
    *,
    app_key: web.AppKey[jinja2.Environment] = APP_KEY,
    encoding: str = "utf-8",
    status: int = 200,
) -> web.Response:
    """Return what `render_template` returns, from an environment of either kind."""
    text = await render_string_async(template_name, request, {} if context is None else context, app_key=app_key)
    return page(text, encoding=encoding, status=status)


def render_string(
    template_name: str,
    request: web.Request,
    context: Context,
    *,
    app_key: web.AppKey[jinja2.Environment] = APP_KEY,
) -> str:
    """Return a rendered template, of the environment of the request's application or of the nearest one around it.

    Raises HTTPInternalServerError, whose text says why, without an environment or a template, or when the context is no
    mapping; RuntimeError if the environment is async; what the template raises, with a note that names it.
    """
    found, context = _find(template_name, request, context, app_key)
    if found.environment.is_async:
        raise RuntimeError(f"the environment of {template_name!r} is async: await render_template_async() or its like")
    try:
        return found.render(context)
    except Exception as exc:
        _note(exc, template_name)
        raise


async def render_string_async(
    template_name: str,
    request: web.Request,
    context: Context,
    *,
    app_key: web.AppKey[jinja2.Environment] = APP_KEY,
) -> str:
    """Return what `render_string` returns, from an environment of either kind."""
    found, context = _find(template_name, request, context, app_key)
    try:
        return await found.render_async(context) if found.environment.is_async else found.render(context)
    except Exception as exc:
        _note(exc, template_name)
        raise


def _find(
    name: str, request: web.Request, context: Context, app_key: web.AppKey[jinja2.Environment]
) -> tuple[jinja2.Template, Context]:
    env = request.config_dict.get(app_key)
    if env is None:
        raise failure("Template engine is not initialized, call structweb.jinja2.setup() first")
    try:
        found = env.get_template(name)
    except jinja2.TemplateNotFound as exc:
        raise failure(f"Template '{name}' not found") from exc
    except Exception as exc:  # it cannot be read; of a string, jinja2 says <unknown>
        _note(exc, name)
        raise
    return found, merged(context, request, REQUEST_CONTEXT_KEY)


def _note(exc: Exception, name: str) -> None:
    exc.add_note(f"Template: {name}")


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


@jinja2.pass_context
def url_for(
    context: jinja2.runtime.Context,
    route_name: str,
    /,
    query_: Mapping[str, str] | None = None,
    **parts: str | int,
) -> URL:
    """Return the URL of a named route, in templates ``url('item', id=7, query_={'page': '2'})``.

    Raises TypeError for parts that are neither str nor int (a bool is none), KeyError for a name that no route has.
    """
    for key, value in parts.items():
        if not isinstance(value, str) and type(value) is not int:
            raise TypeError(f"argument value should be str or int, got {key} -> [{type(value)}] {value!r}")
    url = _app(context).router[route_name].url_for(**{key: str(value) for key, value in parts.items()})
    return url.with_query(query_) if query_ else url


@jinja2.pass_context
def static_url(context: jinja2.runtime.Context, static_file_path: str) -> str:
    """Return ``app[static_root_key]`` and a path behind it, in templates ``static('site.css')``.

    Raises RuntimeError for an application that has no root of static files.
    """
    app = _app(context)
    root = app.get(static_root_key)
    if root is None:
        root = app.get("static_root_url")
        if root is None:
            raise RuntimeError("the application has no root of static files: set app[static_root_key] to its URL")
        warnings.warn("'static_root_url' is deprecated, use static_root_key", DeprecationWarning, stacklevel=2)
    return f"{root.rstrip('/')}/{static_file_path.lstrip('/')}"


def _app(context: jinja2.runtime.Context) -> web.Application:
    app: web.Application = context["app"]
    return app


#: What templates know unless ``default_helpers=False``.
GLOBAL_HELPERS: Final[dict[str, Callable[..., Any]]] = {"url": url_for, "static": static_url}  # Any: theirs
