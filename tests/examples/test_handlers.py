"""Handlers: functions, methods, views, and the methods of HTTP that they are registered for."""

import pytest

from structweb import web
from tests.examples.client import Answer, example, serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


def unframed(answer: Answer) -> list[tuple[str, str]]:
    """Return the header fields without the one that tells the time."""
    return sorted((name.lower(), value) for name, value in answer.fields if name.lower() != "date")


# -- registration --------------------------------------------------------------------------------------------------


async def test_each_method_has_its_own_call():
    """S-01, S-07: add_get, add_post and add_put; handlers are plain functions and coroutines."""
    async with example("handlers") as client:
        got = await client.ask("GET", "/")
        posted = await client.ask("POST", "/post", body=b"data")
        put = await client.ask("PUT", "/put", body=b"more")
        refused = [await client.ask("GET", "/post"), await client.ask("POST", "/put")]
    assert (got.status, got.body, got.get("Content-Length")) == (200, b"", "0")
    assert (posted.status, posted.text) == (200, "posted data")
    assert (put.status, put.text) == (200, "put more")
    assert [(answer.status, answer.get("Allow")) for answer in refused] == [(405, "POST"), (405, "PUT")]
    assert refused[0].text == "405: Method Not Allowed"


async def test_what_registration_returns_can_be_used():
    """S-07: the route knows its method, its handler and its resource."""
    app = web.Application()

    async def handler(request):
        return web.Response(text=str(route.url_for()))

    route = app.router.add_post("/post", handler, name="post")
    assert (route.method, route.handler, route.name) == ("POST", handler, "post")
    assert route.resource is app.router["post"]
    async with serving(app) as client:
        assert (await client.ask("POST", "/post")).text == "/post"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "X"])
async def test_the_wildcard_takes_every_method(method):
    """S-08: request.method tells which; a method nobody has heard of is as good."""
    async with example("handlers") as client:
        answer = await client.ask(method, "/path")
    assert (answer.status, answer.get("Content-Length")) == (200, str(len(method)))
    assert answer.text == ("" if method == "HEAD" else method)


@pytest.mark.parametrize("method", ["get", "PropFind"])
async def test_a_method_is_always_in_upper_case(method):
    """S-08: request.method can be compared as it is, because anything else is no method of HTTP and refused."""
    async with example("handlers") as client:
        assert (await client.ask(method, "/path")).status == 400


# -- HEAD ----------------------------------------------------------------------------------------------------------


async def test_head_has_the_fields_of_get():
    """S-09: with its Content-Length, and without its body: the next response on the connection is intact."""
    async with example("head") as client:
        got = await client.ask("GET", "/")
        head = await client.ask("HEAD", "/")
        again = await client.ask("GET", "/")
    assert (got.status, got.text, got.get("X-Answer")) == (200, "Hello, world", "42")
    assert (head.status, head.body, head.get("Content-Length")) == (200, b"", "12")
    assert unframed(head) == unframed(got) == unframed(again)
    assert again.body == got.body


async def test_head_can_be_switched_off():
    """S-10: 405, and Allow says what is left."""
    async with example("head") as client:
        got = await client.ask("GET", "/get-only")
        head = await client.ask("HEAD", "/get-only")
        again = await client.ask("GET", "/get-only")
    assert (got.status, got.text) == (200, "Hello, reader")
    assert (head.status, head.body, head.get("Allow")) == (405, b"", "GET")
    assert again.text == got.text


async def test_the_handler_of_a_get_is_not_called_for_a_refused_head():
    """S-10."""
    called = []

    def handler(request):
        called.append(request.method)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler, allow_head=False)
    async with serving(app) as client:
        assert (await client.ask("HEAD", "/")).status == 405
        assert called == []
        assert (await client.ask("GET", "/")).status == 200
    assert called == ["GET"]


async def test_a_handler_may_skip_the_body_of_a_head():
    """S-11: it says how long the body would have been."""
    async with example("head") as client:
        head = await client.ask("HEAD", "/big")
        got = await client.ask("GET", "/big")
    assert (head.status, head.body, head.get("Content-Length")) == (200, b"", "100000")
    assert (got.status, len(got.body)) == (200, 100_000)
    assert unframed(head) == unframed(got)


# -- classes -------------------------------------------------------------------------------------------------------


async def test_methods_of_an_object_are_handlers():
    """S-19: bound methods, some of them coroutines."""
    async with example("handler_classes") as client:
        intro = await client.ask("GET", "/intro")
        greeting = await client.ask("GET", "/greet/Ada")
        anonymous = await client.ask("GET", "/greet")
    assert (intro.status, intro.text) == (200, "Hello, world")
    assert (greeting.status, greeting.text) == (200, "Hello, Ada")
    assert (anonymous.status, anonymous.text) == (200, "Hello, Anonymous")


async def test_a_view_has_a_method_for_each_verb():
    """S-20: self.request is the request."""
    async with example("class_based_views") as client:
        got = await client.ask("GET", "/path/to")
        posted = await client.ask("POST", "/path/to", body=b"data")
    assert (got.status, got.text) == (200, "get /path/to")
    assert (posted.status, posted.text) == (200, "post data")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "PROPFIND"])
async def test_a_view_refuses_what_it_does_not_define(method):
    """S-21: 405, and Allow lists the verbs that it does."""
    async with example("class_based_views") as client:
        refused = await client.ask(method, "/path/to")
        assert (await client.ask("GET", "/path/to")).status == 200
    assert refused.status == 405
    allow = refused.get("Allow")
    assert allow is not None
    assert sorted(allow.split(",")) == ["GET", "POST"]
    assert refused.text == ("" if method == "HEAD" else "405: Method Not Allowed")
