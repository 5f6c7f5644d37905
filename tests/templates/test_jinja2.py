"""structweb.jinja2: pages over the wire, on both backends."""

import logging
import warnings

import pytest

jinja2 = pytest.importorskip("jinja2")

import structweb.jinja2 as pages  # noqa: E402 - behind the look for the extra
from structweb import web  # noqa: E402
from tests.web.served import serving  # noqa: E402

pytestmark = pytest.mark.anyio

HELLO = "<p>Hello {{ name }}</p>"


def application(handler=None, templates=None, **options):
    """Return an application whose one page is made by `handler`."""
    app = web.Application()
    env = pages.setup(app, loader=jinja2.DictLoader(templates or {"hello": HELLO}), **options)
    if handler is not None:
        app.router.add_route("*", "/", handler, name="index")
    return app, env


async def asked(app, path="/"):
    async with serving(app) as served:
        return await served.ask(path)


@pages.template("hello")
async def asynchronous(request):
    return {"name": request.method}


@pages.template("hello")
def plain(request):
    return {"name": request.method}


class Methods:
    @pages.template("hello")
    async def asynchronous(self, request):
        return {"name": request.method}

    @pages.template("hello")
    def plain(self, request):
        return {"name": request.method}


class Page(web.View):
    @pages.template("hello")
    async def get(self):
        return {"name": self.request.method}


class PlainPage(web.View):
    @pages.template("hello")
    def get(self):
        return {"name": self.request.method}


HANDLERS = {
    "async function": asynchronous,
    "function": plain,
    "async method": Methods().asynchronous,
    "method": Methods().plain,
    "async view": Page,
    "view": PlainPage,
}


@pytest.mark.parametrize("enable_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
async def test_a_template_renders_what_a_handler_returns(handler, enable_async):
    """S-42, S-43, T-03, T-04, X-38."""
    app, env = application(handler, enable_async=enable_async)
    assert env.is_async is enable_async
    answer = await asked(app)
    assert (answer.status, answer.text) == (200, "<p>Hello GET</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_status_and_encoding():
    @pages.template("hello", status=201, encoding="latin-1")
    def handler(request):
        return {"name": "Müller"}

    answer = await asked(application(handler)[0])
    assert (answer.status, answer.body) == (201, "<p>Hello Müller</p>".encode("latin-1"))
    assert answer.headers["content-type"] == "text/html; charset=latin-1"


async def test_nothing_is_an_empty_context_and_a_response_passes():
    @pages.template("hello")
    def nothing(request):
        return None

    @pages.template("hello")
    async def response(request):
        return web.Response(status=202, text="as it is")

    assert (await asked(application(nothing)[0])).text == "<p>Hello </p>"
    answer = await asked(application(response)[0])
    assert (answer.status, answer.text) == (202, "as it is")


def test_setup_makes_an_environment():
    """T-01, T-02, T-09."""
    app, env = application(filters={"loud": str.upper}, trim_blocks=True)
    assert pages.get_env(app) is app[pages.APP_KEY] is env
    assert (env.autoescape, env.trim_blocks, env.globals["app"]) == (True, True, app)
    assert env.from_string("{{ 'a<b' | loud }}").render() == "A&lt;B"
    other = web.AppKey("other", jinja2.Environment)
    env = pages.setup(app, app_key=other, autoescape=False, filters=[("quiet", str.lower)], default_helpers=False)
    assert pages.get_env(app, app_key=other) is env is not pages.get_env(app)
    assert env.from_string("{{ 'A<B' | quiet }}").render() == "a<b"
    assert not {"url", "static"} & set(env.globals)
    with pytest.raises(RuntimeError, match=r"setup\(\.\.\.\) must be called first"):
        pages.get_env(web.Application())


async def test_render_functions():
    """T-05."""

    async def handler(request):
        context = {"name": "Ann"}
        response = pages.render_template("hello", request, context, status=203)
        assert response.status == 203
        assert response.text == pages.render_string("hello", request, context)
        assert response.text == await pages.render_string_async("hello", request, context)
        return await pages.render_template_async("hello", request, context)

    assert (await asked(application(handler)[0])).text == "<p>Hello Ann</p>"


async def test_an_async_environment_is_awaited_or_refused():
    async def value():
        return "awaited"

    async def handler(request):
        with pytest.raises(RuntimeError, match="the environment of 'hello' is async: await render_template_async"):
            pages.render_template("hello", request, {})
        return await pages.render_template_async("hello", request, {"name": value})

    app, _ = application(
        handler, {"hello": "{{ name() }} {% for n in range(2) %}{{ n }}{% endfor %}"}, enable_async=True
    )
    assert (await asked(app)).text == "awaited 01"


@pytest.mark.parametrize(
    ("name", "context", "said"),
    [
        ("gone", {}, "Template 'gone' not found"),
        ("a\r\nb\0c\x7fd\ud800", {}, "Template 'a??b?c?d?' not found"),
        ("hello", [1], "context should be mapping, not <class 'list'>"),
    ],
)
async def test_mistakes_say_what_they_are(name, context, said):
    """T-05: 500, with the text as body and as reason."""

    @pages.template(name)
    def handler(request):
        return context

    answer = await asked(application(handler)[0])
    assert (answer.status, answer.reason, answer.text) == (500, said, said)


async def test_without_setup():
    app = web.Application()
    app.router.add_get("/", plain)
    answer = await asked(app)
    assert (answer.status, answer.reason) == (
        500,
        "Template engine is not initialized, call structweb.jinja2.setup() first",
    )


@pytest.mark.parametrize("enable_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% extends 'none' %}", "TemplateNotFound: none"),
        ("{% if %}", "TemplateSyntaxError: Expected an expression"),
    ],
)
async def test_an_error_of_a_template_names_it(caplog, enable_async, source, error):
    app, _ = application(plain, {"hello": source}, enable_async=enable_async)
    with caplog.at_level(logging.ERROR):
        answer = await asked(app)
    assert answer.status == 500
    assert error in caplog.text
    assert "Template: hello" in caplog.text


async def test_context_processors():
    """T-06: below what the handler says, plain functions as well, the request among them."""

    async def user(request):
        return {"name": "nobody", "user": "Bob"}

    def path(request):
        return {"path": request.path}

    @pages.template("hello")
    async def handler(request):
        return {"name": "Ann"}

    app, _ = application(
        handler,
        {"hello": "{{ name }} {{ user }} {{ path }} {{ request.method }}"},
        context_processors=[user, path, pages.request_processor],
    )
    assert (await asked(app)).text == "Ann Bob / GET"
    assert app[pages.APP_CONTEXT_PROCESSORS_KEY] == [user, path, pages.request_processor]


async def test_applications_below():
    """T-03: the engine of the nearest application around; each application's processors run once."""
    calls = []

    def processor(name):
        def process(request):
            calls.append(name)
            return {name: name, "name": name}

        return process

    app, _ = application(None, {"hello": "{{ outer }} {{ inner }} {{ name }}"}, context_processors=[processor("outer")])
    below = web.Application()
    below.router.add_get("/", pages.template("hello")(lambda _: {}))
    app.add_subapp("/below", below)
    own, _ = application(
        None, {"hello": "own {{ outer }} {{ inner }} {{ name }}"}, context_processors=[processor("inner")]
    )
    own.router.add_get("/", pages.template("hello")(lambda _: {}))
    app.add_subapp("/own", own)
    async with serving(app) as served:
        assert (await served.ask("/below/")).text == "outer  outer"
        assert (await served.ask("/own/")).text == "own outer inner inner"
    assert calls == ["outer", "outer", "inner"]


async def test_the_middleware_alone():
    app, _ = application(plain)
    app.middlewares.append(pages.context_processors_middleware)
    app[pages.APP_CONTEXT_PROCESSORS_KEY] = [pages.request_processor]
    assert (await asked(app)).text == "<p>Hello GET</p>"


async def render(source, setup=lambda app: None):
    @pages.template("page")
    def handler(request):
        return {}

    app, _ = application(handler, {"page": source})
    app.router.add_get("/items/{id}", handler, name="item")
    setup(app)
    async with serving(app) as served:
        return await served.ask()


async def test_urls_of_routes():
    """T-07."""
    assert (await render("{{ url('item', id=7) }}")).text == "/items/7"
    assert (await render("{{ url('item', id='ä b') }}")).text == "/items/%C3%A4%20b"
    assert (await render("{{ url('index', {'a': '1', 'b': 'x y'}) }}")).text == "/?a=1&amp;b=x+y"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "{{ url('item', id=true) }}",
            "TypeError: argument value should be str or int, got id -> [<class 'bool'>] True",
        ),
        (
            "{{ url('item', id=1.5) }}",
            "TypeError: argument value should be str or int, got id -> [<class 'float'>] 1.5",
        ),
        ("{{ url('nothing') }}", "KeyError: 'nothing'"),
        ("{{ static('a.css') }}", "RuntimeError: the application has no root of static files"),
    ],
)
async def test_mistakes_in_helpers(source, said, caplog):
    assert (await render(source)).status == 500
    assert said in caplog.text


async def test_urls_of_static_files():
    """T-08."""

    def root(app):
        app[pages.static_root_key] = "https://cdn.example/s/"

    def old_root(app):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", web.NotAppKeyWarning)
            app["static_root_url"] = "/s"

    assert (await render("{{ static('/a.css') }}", root)).text == "https://cdn.example/s/a.css"
    with pytest.warns(DeprecationWarning, match="'static_root_url' is deprecated, use static_root_key"):
        assert (await render("{{ static('a.css') }}", old_root)).text == "/s/a.css"
