"""Resources: fixed and variable paths, names, and what a router tells about itself."""

from urllib.parse import quote

import pytest
from yarl import URL

from examples import named_urls, resource_views, resources, variable_resources
from structweb import web
from tests.examples.client import example

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

GET, POST = "GET", "POST"


# -- resources and routes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/short", "/long"])
async def test_the_short_calls_do_what_the_long_ones_do(path):
    """S-12: add_get is add_route is add_resource and then resource.add_route."""
    async with example("resources") as client:
        for method in (GET, POST):
            answer = await client.ask(method, path)
            assert (answer.status, answer.text) == (200, f"{method} {path}")
        refused = await client.ask("PUT", path)
    assert refused.status == 405
    allow = refused.get("Allow")
    assert allow is not None
    assert set(allow.split(",")) == ({"GET", "HEAD", "POST"} if path == "/short" else {"GET", "POST"})


async def test_each_resource_has_its_routes():
    """S-12: a router is a list of resources, and two routes with one path share one."""
    app = resources.init_func([])
    short, long = app.router.resources()
    assert (short.canonical, long.canonical) == ("/short", "/long")
    assert [route.method for route in short] == ["HEAD", "GET", "POST"]
    assert [route.method for route in long] == ["GET", "POST"]
    route = resources.add_route(app, "PUT", "/other", resources.handler, name="other")
    assert isinstance(route, web.AbstractRoute)
    assert route.resource is app.router["other"]


# -- variable parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "1", "etc", "with.dots-and~more", "a=b;c,d"])
async def test_a_variable_part_is_one_segment(name):
    """S-13, S-14: /a/{name}/c, and match_info has the value."""
    async with example("variable_resources") as client:
        answer = await client.ask(GET, f"/a/{name}/c?name=other")
    assert (answer.status, answer.text) == (200, f"Hello, {name}")


@pytest.mark.parametrize("path", ["/a//c", "/a/b/d/c", "/a/b/", "/a/b/c/", "/a/{b}/c", "/a/%7Bb%7D/c"])
async def test_nothing_is_no_segment_and_two_are_not_one(path):
    """S-13: [^{}/]+ is what a variable part matches."""
    async with example("variable_resources") as client:
        answer = await client.ask(GET, path)
    assert (answer.status, answer.text) == (404, "404: Not Found")


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("x%2Fy", "x/y"),
        ("hello%20world", "hello world"),
        ("100%25", "100%"),
        ("100%252F", "100%2F"),
        ("%D0%BC%D0%B8%D1%80", "мир"),
        ("a+b", "a+b"),
    ],
)
async def test_values_are_decoded(sent, value):
    """S-14: an encoded slash does not end the segment, and is a slash in the value."""
    async with example("variable_resources") as client:
        answer = await client.ask(GET, f"/a/{sent}/c")
    assert (answer.status, answer.text) == (200, f"Hello, {value}")


async def test_match_info_has_get():
    """S-14: a part that the path does not have has a default."""
    async with example("variable_resources") as client:
        assert (await client.ask(GET, "/language/pt")).text == "pt as in anywhere"
        assert (await client.ask(GET, "/language/pt-BR")).text == "pt as in BR"


async def test_an_expression_decides_what_matches():
    r"""S-15: /{name:\d+} takes numbers, and the rest goes to the next resource."""
    async with example("variable_resources") as client:
        number = await client.ask(GET, "/42")
        name = await client.ask(GET, "/42nd")
    assert (number.status, number.text) == (200, "Number 42")
    assert (name.status, name.text) == (200, "Hello, 42nd")


@pytest.mark.parametrize(("language", "status"), [("d", 404), ("de", 200), ("deu", 200), ("deut", 404), ("DE", 404)])
async def test_an_expression_may_have_braces(language, status):
    """S-15: {language:[a-z]{2,3}}; what matches nothing is not found."""
    async with example("variable_resources") as client:
        assert (await client.ask(GET, f"/language/{language}")).status == status


@pytest.mark.parametrize("path", ["/{name:[}", "/{name:(}", "/{name:*}", "/{name", "/{}", "/{1st}"])
def test_a_bad_expression_is_refused_at_once(path):
    """S-15: at registration, and with the path in the message."""
    router = web.Application().router
    with pytest.raises(ValueError, match="path") as caught:
        router.add_resource(path)
    assert path in str(caught.value)
    assert list(router.resources()) == []


async def test_expressions_see_the_decoded_path():
    r"""S-16: %20 is a space and escapes are letters: \w+ \w+ matches them, whatever the client chose to encode."""
    async with example("variable_resources") as client:
        for words in ("hello world", "добрый день"):
            answer = await client.ask(GET, "/words/" + quote(words))
            assert (answer.status, answer.text) == (200, f"Hello, {words}")
        escaped = await client.ask(GET, "/%77ords/%68ello%20world")
        assert (escaped.status, escaped.text) == (200, "Hello, hello world")
        assert (await client.ask(GET, "/words/hello%2520world")).status == 404


async def test_fixed_parts_are_decoded_too():
    """S-16: a path in any script, written as it is read."""
    async with example("variable_resources") as client:
        answer = await client.ask(GET, quote("/путь/домой"))
    assert (answer.status, answer.text) == (200, "Hello, домой")


async def test_resources_are_asked_in_order():
    """S-15: a number would be a name as well, but numbers come first."""
    router = variable_resources.init_func([]).router
    canonicals = [resource.canonical for resource in router.resources()][:2]
    assert canonicals == ["/{name}", "/{name}"]
    async with example("variable_resources") as client:
        assert (await client.ask(GET, "/7")).text == "Number 7"


# -- names ---------------------------------------------------------------------------------------------------------


async def test_a_name_gives_the_url():
    """S-17: app.router['root'].url_for().with_query({"a": "b", "c": "d"})."""
    async with example("named_urls") as client:
        answer = await client.ask(GET, "/root")
    assert (answer.status, answer.text) == (200, "/root?a=b&c=d")
    router = named_urls.init_func([]).router
    assert router["root"].url_for().with_query({"a": "b", "c": "d"}) == URL("/root?a=b&c=d")


@pytest.mark.parametrize(
    ("sent", "url"),
    [("john_doe", "/john_doe/info?a=b"), ("%D0%BC%D0%B8%D1%80", "/%D0%BC%D0%B8%D1%80/info?a=b")],
)
async def test_a_name_and_the_variable_parts_give_the_url(sent, url):
    """S-18: app.router['user-info'].url_for(user=...).with_query("a=b"), quoted."""
    async with example("named_urls") as client:
        answer = await client.ask(GET, f"/{sent}/info")
        assert (answer.status, answer.text) == (200, url)
        assert (await client.ask(GET, answer.text)).text == url


def test_parts_must_be_given_and_be_strings():
    """S-18: KeyError for a missing one, TypeError for another type."""
    resource = named_urls.init_func([]).router["user-info"]
    assert resource.url_for(user="john_doe").with_query("a=b") == URL("/john_doe/info?a=b")
    with pytest.raises(KeyError, match="user"):
        resource.url_for()
    with pytest.raises(TypeError, match="user"):
        resource.url_for(user=1)


# -- views of the router -------------------------------------------------------------------------------------------


async def test_a_router_tells_what_it_knows():
    """S-22, S-23, S-24: resources, named resources and routes."""
    async with example("resource_views") as client:
        answer = await client.ask(GET, "/")
    assert (answer.status, answer.get("Content-Type")) == (200, "application/json; charset=utf-8")
    assert answer.text == (
        '{"resources": ["/", "/post", "/{user}/info"], '
        '"named": {"root": "/", "user-info": "/{user}/info"}, '
        '"routes": ["HEAD /", "GET /", "POST /post", "GET /{user}/info"]}'
    )


def test_resources_can_be_printed(capsys: pytest.CaptureFixture[str]):
    """S-22, S-23: a line for each resource, then one for each that has a name."""
    resource_views.init_func([])
    assert capsys.readouterr().out.splitlines() == [
        "<PlainResource 'root' />",
        "<PlainResource /post>",
        "<DynamicResource 'user-info' /{user}/info>",
        "root <PlainResource 'root' />",
        "user-info <DynamicResource 'user-info' /{user}/info>",
    ]


def test_the_views_are_collections():
    """S-22, S-23, S-24: sized, containers, and live; the names cannot be changed from outside."""
    router = resource_views.init_func([]).router
    found, named, routes = router.resources(), router.named_resources(), router.routes()
    assert (len(found), len(named), len(routes)) == (3, 2, 4)
    assert router["root"] in found
    assert web.Application().router.add_resource("/") not in found
    assert dict(named.items()) == {"root": router["root"], "user-info": router["user-info"]}
    assert next(iter(routes)) in routes
    with pytest.raises(TypeError):
        named["other"] = router["root"]
    router.add_get("/more", resource_views.handler, name="more")
    assert (len(found), len(named), len(routes)) == (4, 3, 6)


def test_named_routes_is_gone_and_says_so():
    """S-24: a hint instead of a bare AttributeError."""
    router = resource_views.init_func([]).router
    with pytest.raises(AttributeError, match=r"named_routes.*use named_resources\(\) or routes\(\)"):
        router.named_routes()
    assert not hasattr(router, "named_routes")
