from functools import partial

import pytest

from structweb._web.dispatcher import UrlDispatcher
from structweb._web.errors import HTTPExpectationFailed, HTTPNotFound
from structweb._web.matching import MatchInfoError, UrlMappingMatchInfo
from structweb._web.resources import PlainResource
from structweb._web.routes import ResourceRoute, SystemRoute
from structweb._web.view import View
from structweb._wire.events import HttpVersion10
from tests.web.asked import Asked

pytestmark = pytest.mark.anyio


async def handler(request):
    return "async"


def plain(request):
    return "plain"


def returns_awaitable(request):
    return handler(request)


class Group:
    async def suspending(self, request):
        return "async method"

    def plain(self, request):
        return "plain method"

    async def __call__(self, request):
        return "async call"


def add(handler, method="GET", **options):
    return PlainResource("/path", name="name").add_route(method, handler, **options)


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (handler, "async"),
        (plain, "plain"),
        (Group().suspending, "async method"),
        (Group().plain, "plain method"),
        (Group(), "async call"),
        (partial(handler), "async"),
        (partial(plain), "plain"),
        (returns_awaitable, "async"),
    ],
)
async def test_handlers_of_every_kind_can_be_awaited(handler, answer):
    assert await add(handler).handler(Asked("GET", "/path")) == answer


async def test_a_coroutine_function_is_its_own_handler():
    assert add(handler).handler is handler
    assert add(View).handler is View


def test_a_wrapped_plain_handler_keeps_its_name():
    assert add(plain).handler.__name__ == "plain"


@pytest.mark.parametrize("handler", [None, "name", 1])
def test_a_handler_must_be_callable(handler):
    with pytest.raises(AssertionError, match="handler must be"):
        add(handler)


def test_an_expect_handler_must_be_callable():
    with pytest.raises(AssertionError, match="expect_handler must be callable, got 1"):
        add(handler, expect_handler=1)


@pytest.mark.parametrize("method", ["", "G T", "GET\n", "GÉT", "a/b", "GET,POST", '"'])
def test_a_method_must_be_a_token(method):
    with pytest.raises(ValueError, match="must be a token"):
        add(handler, method)


@pytest.mark.parametrize(("method", "upper"), [("get", "GET"), ("PropFind", "PROPFIND"), ("*", "*"), ("x-y!", "X-Y!")])
def test_a_method_is_upper_case(method, upper):
    assert add(handler, method).method == upper


def test_a_route_speaks_for_its_resource():
    resource = PlainResource("/path", name="name")
    route = resource.add_route("GET", handler)
    assert route.resource is resource
    assert route.name == "name"
    assert str(route.url_for()) == "/path"
    assert route.get_info() == {"path": "/path"}
    assert repr(route) == f"<ResourceRoute [GET] <PlainResource 'name' /path> -> {handler!r}>"


def test_a_route_made_elsewhere_can_be_registered():
    resource = PlainResource("/path")
    route = ResourceRoute("GET", handler, resource)
    resource.register_route(route)
    assert list(resource) == [route]


def test_only_routes_can_be_registered():
    with pytest.raises(AssertionError, match="must be a ResourceRoute"):
        PlainResource("/path").register_route(handler)


async def test_a_system_route_raises_its_error():
    error = HTTPNotFound()
    route = SystemRoute(error)
    assert (route.method, route.status, route.reason, route.name, route.resource) == ("*", 404, "Not Found", None, None)
    assert route.get_info() == {"http_exception": error}
    assert repr(route) == "<SystemRoute 404: Not Found>"
    with pytest.raises(HTTPNotFound):
        await route.handler(Asked("GET", "/"))
    with pytest.raises(RuntimeError, match="needs a route of a resource"):
        route.url_for()


@pytest.mark.parametrize("expecting", [plain, handler])
async def test_an_expect_handler_may_be_plain_or_async(expecting):
    route = add(handler, expect_handler=expecting)
    match_info = UrlMappingMatchInfo({}, route)
    assert await match_info.expect_handler(Asked("POST", "/")) == await route.handle_expect_header(None)


async def test_other_expectations_fail():
    asked = Asked("POST", "/")
    asked.headers["Expect"] = "200-ok"
    with pytest.raises(HTTPExpectationFailed) as failed:
        await add(handler).handle_expect_header(asked)
    assert failed.value.status == 417
    assert failed.value.text == "Unknown Expect: 200-ok"


async def test_http_1_0_expects_nothing():
    asked = Asked("POST", "/", version=HttpVersion10)
    asked.headers["Expect"] = "200-ok"
    assert await add(handler).handle_expect_header(asked) is None


def test_a_match_info_is_a_dict_of_the_values():
    route = add(handler)
    match_info = UrlMappingMatchInfo({"a": "1"}, route)
    assert match_info == {"a": "1"}
    assert match_info.get("b", "none") == "none"
    assert match_info.route is route
    assert match_info.handler is handler
    assert match_info.http_exception is None
    assert match_info.get_info() == {"path": "/path"}
    assert match_info.apps == ()
    assert repr(match_info) == f"<MatchInfo {{'a': '1'}}: {route!r}>"


def test_applications_are_added_around_each_other():
    inner, outer = UrlDispatcher(), UrlDispatcher()  # anything: a match info only keeps them
    match_info = UrlMappingMatchInfo({}, add(handler))
    with pytest.raises(AssertionError, match=r"needs add_app\(\) first"):
        _ = match_info.current_app
    match_info.add_app(inner)
    match_info.add_app(outer)
    assert match_info.apps[0] is outer
    assert match_info.apps[1] is inner
    assert match_info.current_app is inner
    match_info.current_app = outer
    assert match_info.current_app is outer


def test_a_frozen_match_info_takes_no_application():
    match_info = UrlMappingMatchInfo({}, add(handler))
    match_info.freeze()
    with pytest.raises(RuntimeError, match=r"must come before freeze\(\)"):
        match_info.add_app(UrlDispatcher())


def test_requests_that_come_the_same_way_share_a_lineage():
    route, inner, outer, other = add(handler), UrlDispatcher(), UrlDispatcher(), UrlDispatcher()

    def lineage(*apps):
        match_info = UrlMappingMatchInfo({}, route)
        for app in apps:
            match_info.add_app(app)
        return match_info.lineage

    assert lineage() is route.lineage
    assert lineage(inner, outer) is lineage(inner, outer)
    assert lineage(inner, outer) is not lineage(inner, other)
    assert lineage(inner, outer) is not lineage(outer, inner)
    assert lineage(inner).route is route


async def test_the_match_info_of_an_error_raises_it():
    error = HTTPNotFound()
    match_info = MatchInfoError(error)
    assert match_info.http_exception is error
    assert match_info == {}
    assert repr(match_info) == "<MatchInfoError 404: Not Found>"
    with pytest.raises(HTTPNotFound):
        await match_info.handler(Asked("GET", "/"))
