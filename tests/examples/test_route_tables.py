"""Routes by table, by decorator, and by call."""

import pytest

from examples import route_decorators
from structweb import web
from tests.examples.client import example, serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


@pytest.mark.parametrize("name", ["route_table", "route_decorators"])
async def test_tables_and_decorators_register_the_same(name):
    """S-25, S-26: app.router.add_routes of a list, or of a RouteTableDef."""
    async with example(name) as client:
        got = await client.ask("GET", "/get")
        head = await client.ask("HEAD", "/get")
        posted = await client.ask("POST", "/post")
        refused = await client.ask("POST", "/get")
    assert (got.status, got.text, got.get("Content-Type")) == (200, "got", "text/plain; charset=utf-8")
    assert (head.status, head.body, head.get("Content-Length")) == (200, b"", "3")
    assert (posted.status, posted.text) == (200, "posted")
    assert (refused.status, refused.get("Allow")) == (405, "GET,HEAD")


async def test_an_application_takes_a_table_itself():
    """S-25: app.add_routes."""
    app = web.Application()
    routes = app.add_routes([web.get("/get", route_decorators.handle_get, allow_head=False)])
    assert [route.method for route in routes] == ["GET"]
    async with serving(app) as client:
        assert (await client.ask("GET", "/get")).text == "got"


def test_a_route_table_is_a_list():
    """S-26: of route definitions, in order; the handler is left as it was."""
    routes = route_decorators.routes
    assert len(routes) == 2
    first, second = (route for route in routes if isinstance(route, web.RouteDef))
    assert (first.method, first.path, first.handler) == ("GET", "/get", route_decorators.handle_get)
    assert (second.method, second.path, second.handler) == ("POST", "/post", route_decorators.handle_post)
    assert list(reversed(routes)) == [routes[1], routes[0]]
    assert routes[0] in routes


async def test_all_three_ways_in_one_application():
    """S-26."""
    async with example("mixed_routes") as client:
        answers = [await client.ask("GET", f"/{way}") for way in ("call", "table", "decorator")]
    assert [(answer.status, answer.text) for answer in answers] == [
        (200, "by a call"),
        (200, "by a table"),
        (200, "by a decorator"),
    ]
