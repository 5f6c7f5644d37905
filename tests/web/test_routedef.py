from dataclasses import FrozenInstanceError

import pytest

from structweb import web
from structweb._web.dispatcher import UrlDispatcher
from structweb._web.routedef import (
    AbstractRouteDef,
    RouteDef,
    RouteTableDef,
    delete,
    get,
    head,
    options,
    patch,
    post,
    put,
    route,
    view,
)
from structweb._web.view import View
from tests.web.asked import answer

pytestmark = pytest.mark.anyio


async def handler(request):
    return "answer"


def methods(router):
    return [route.method for route in router.routes()]


@pytest.mark.parametrize(
    ("define", "registered"),
    [
        (get, ["HEAD", "GET"]),
        (head, ["HEAD"]),
        (options, ["OPTIONS"]),
        (post, ["POST"]),
        (put, ["PUT"]),
        (patch, ["PATCH"]),
        (delete, ["DELETE"]),
        (view, ["*"]),
    ],
)
def test_a_definition_registers_its_methods(define, registered):
    router = UrlDispatcher()
    (made,) = router.add_routes([define("/path", View if define is view else handler, name="name")])
    assert methods(router) == registered
    assert made.method == registered[-1]
    assert router["name"] is made.resource


@pytest.mark.parametrize("define", ["get", "head", "options", "post", "put", "patch", "delete", "view"])
def test_a_table_defines_what_the_functions_define(define):
    table, by_table, by_function = RouteTableDef(), UrlDispatcher(), UrlDispatcher()
    assert getattr(table, define)("/path", name="name")(handler) is handler
    by_table.add_routes(table)
    by_function.add_routes([globals()[define]("/path", handler, name="name")])
    assert methods(by_table) == methods(by_function)
    assert list(by_table) == list(by_function) == ["name"]


@pytest.mark.parametrize("method", ["PROPFIND", "*", "TRACE", "CONNECT"])
def test_any_method_can_be_defined(method):
    router, table = UrlDispatcher(), RouteTableDef()
    table.route(method, "/table")(handler)
    router.add_routes([route(method, "/path", handler), *table])
    assert methods(router) == [method, method]


def test_head_can_be_left_out():
    router = UrlDispatcher()
    router.add_routes([get("/path", handler, allow_head=False)])
    assert methods(router) == ["GET"]


def test_a_definition_is_a_frozen_record():
    definition = get("/path", handler, name="name")
    assert definition.method == "GET"
    assert definition.path == "/path"
    assert definition.handler is handler
    assert definition.kwargs == {"name": "name", "allow_head": True}
    assert definition == RouteDef("GET", "/path", handler, {"name": "name", "allow_head": True})
    assert repr(definition) == "<RouteDef GET /path -> 'handler', allow_head=True, name='name'>"
    with pytest.raises(FrozenInstanceError):
        definition.path = "/other"


def test_a_table_is_a_sequence():
    table = RouteTableDef()
    table.get("/a")(handler)
    table.post("/b")(handler)
    first, second = table
    assert len(table) == 2
    assert table[0] is first
    assert table[-1:] == [second]
    assert first in table
    assert get("/c", handler) not in table
    assert list(reversed(table)) == [second, first]
    assert table.index(second) == 1
    assert repr(table) == "<RouteTableDef count=2>"


async def test_styles_mix():
    router, table = UrlDispatcher(), RouteTableDef()

    @table.get("/decorated")
    async def decorated(request):
        return "decorated"

    @table.view("/viewed")
    class Viewed(View):
        async def get(self):
            return "viewed"

    router.add_get("/added", handler)
    router.add_routes([get("/listed", handler)])
    router.add_routes(table)
    assert (await answer(router, "GET", "/added"))[1] == "answer"
    assert (await answer(router, "GET", "/listed"))[1] == "answer"
    assert (await answer(router, "GET", "/decorated"))[1] == "decorated"
    assert (await answer(router, "GET", "/viewed"))[1] == "viewed"


def test_definitions_of_ones_own_are_registered():
    class Crud(AbstractRouteDef):
        def register(self, router):
            return [router.add_get("/thing", handler), router.add_delete("/thing", handler)]

    router = UrlDispatcher()
    assert [made.method for made in router.add_routes([Crud(), post("/other", handler)])] == ["GET", "DELETE", "POST"]


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="unknown"):
        UrlDispatcher().add_routes([post("/path", handler, unknown=1)])


@pytest.mark.parametrize("wrong", [print, [print], web.get("/", print), [web.get("/", print), 5]])
def test_what_is_no_route_is_named(wrong):
    with pytest.raises(TypeError, match=r"add_routes\(\) takes a RouteTableDef, or a list as .*, got"):
        web.Application().add_routes(wrong)


def test_routes_may_come_from_a_generator():
    app = web.Application()
    assert len(app.add_routes(web.post(path, print) for path in ("/a", "/b"))) == 2
