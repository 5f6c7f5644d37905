"""structweb.mako: pages over the wire, on both backends, with what structweb.jinja2 can do."""

import logging
import pickle

import pytest

lookup = pytest.importorskip("mako.lookup")

import structweb.mako as pages  # noqa: E402 - behind the look for the extra
from structweb import web  # noqa: E402
from tests.web.served import serving  # noqa: E402

pytestmark = pytest.mark.anyio

HELLO = "<p>Hello ${name}</p>"


def application(handler=None, source=HELLO, **options):
    """Return an application whose one page is made by `handler`."""
    app = web.Application()
    made = pages.setup(app, **options)
    made.put_string("hello", source)
    if handler is not None:
        app.router.add_route("*", "/", handler)
    return app


async def asked(app, path="/"):
    async with serving(app) as served:
        return await served.ask(path)


@pages.template("hello")
async def asynchronous(request):
    return {"name": request.method}


@pages.template("hello")
def plain(request):
    return {"name": request.method}


class Page(web.View):
    @pages.template("hello")
    async def get(self):
        return {"name": self.request.method}


@pytest.mark.parametrize("handler", [asynchronous, plain, Page])
async def test_a_template_renders_what_a_handler_returns(handler):
    """S-44, T-12."""
    answer = await asked(application(handler))
    assert (answer.status, answer.text) == (200, "<p>Hello GET</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_status_encoding_and_responses():
    @pages.template("hello", status=201, encoding="latin-1")
    def handler(request):
        return web.Response(text="as it is") if "pass" in request.query else {"name": "Müller"}

    async with serving(application(handler)) as served:
        answer = await served.ask()
        assert (answer.status, answer.body) == (201, "<p>Hello Müller</p>".encode("latin-1"))
        answer = await served.ask("/?pass")
        assert (answer.status, answer.text) == (200, "as it is")


def test_setup_makes_a_lookup(tmp_path):
    """T-10, T-11."""
    (tmp_path / "page.mako").write_text("from a file")
    app = web.Application()
    assert pages.get_lookup(app) is None
    made = pages.setup(app, directories=[str(tmp_path)], input_encoding="utf-8")
    assert pages.get_lookup(app) is app[pages.APP_KEY] is made
    assert made.get_template("page.mako").render_unicode() == "from a file"
    other = web.AppKey("other", lookup.TemplateLookup)
    assert pages.setup(app, app_key=other) is pages.get_lookup(app, app_key=other) is not made


async def test_nothing_is_escaped_unless_asked_for():
    """T-14."""

    @pages.template("hello")
    def handler(request):
        return {"name": "<b>"}

    assert (await asked(application(handler))).text == "<p>Hello <b></p>"
    assert (await asked(application(handler, default_filters=["h"]))).text == "<p>Hello &lt;b&gt;</p>"


async def test_render_functions():
    async def handler(request):
        context = {"name": "Ann"}
        response = pages.render_template("hello", request, context, status=203)
        assert (response.status, response.text) == (203, pages.render_string("hello", request, context))
        return response

    assert (await asked(application(handler))).text == "<p>Hello Ann</p>"


@pytest.mark.parametrize(
    ("name", "context", "said"),
    [
        ("gone", {}, "Template 'gone' not found"),
        ("a\r\nb\0c\x7fd", {}, "Template 'a??b?c?d' not found"),
        ("hello", [1], "context should be mapping, not <class 'list'>"),
    ],
)
async def test_mistakes_say_what_they_are(name, context, said):
    @pages.template(name)
    def handler(request):
        return context

    answer = await asked(application(handler))
    assert (answer.status, answer.reason, answer.text) == (500, said, said)


async def test_without_setup():
    app = web.Application()
    app.router.add_get("/", plain)
    answer = await asked(app)
    assert (answer.status, answer.reason) == (
        500,
        "Template engine is not initialized, call structweb.mako.setup() first",
    )


async def test_an_error_of_a_template_carries_the_report(caplog):
    """T-13."""
    with caplog.at_level(logging.ERROR):
        answer = await asked(application(plain, "one\n${1 / 0}"))
    assert answer.status == 500
    assert "Template 'hello' failed" in caplog.text
    assert "${1 / 0}" in caplog.text
    record = next(record for record in caplog.records if record.exc_info)
    error = record.exc_info[1]
    assert isinstance(error, pages.MakoRenderingException)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - as process pools do


async def test_context_processors_and_applications_below():
    """T-12, T-13: the engine of the nearest application around, the request by a processor."""

    async def user(request):
        return {"name": "nobody", "user": "Bob"}

    @pages.template("hello")
    def handler(request):
        return {"name": "Ann"}

    app = application(
        None, "${name} ${user} ${request.path}", context_processors=[user, lambda _: {}, pages.request_processor]
    )
    below = web.Application()
    below.router.add_get("/", handler)
    app.add_subapp("/below", below)
    assert (await asked(app, "/below/")).text == "Ann Bob /below/"


async def test_the_middleware_alone():
    app = application(plain, "${request.path} ${name}")
    app.middlewares.append(pages.context_processors_middleware)
    app[pages.APP_CONTEXT_PROCESSORS_KEY] = [pages.request_processor]
    assert (await asked(app)).text == "/ GET"
