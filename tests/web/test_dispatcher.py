import pytest
from yarl import URL

from structweb._web.dispatcher import UrlDispatcher
from structweb._web.matching import UrlMappingMatchInfo
from structweb._web.resources import AbstractResource, DynamicResource, PlainResource
from structweb._web.routes import ResourceRoute
from structweb._web.view import View
from tests.web.asked import Asked, answer

pytestmark = pytest.mark.anyio


def says(text):
    async def handler(request):
        return text

    return handler


handler = says("answer")


def router_of(*paths, method="GET"):
    """Return a router with one route a path; each answers with its path."""
    router = UrlDispatcher()
    for path in paths:
        router.add_route(method, path, says(path))
    return router


# -- adding routes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adder", ["head", "options", "post", "put", "patch", "delete"])
def test_an_adder_registers_its_method(adder):
    router = UrlDispatcher()
    route = getattr(router, f"add_{adder}")("/path", handler, name="name")
    assert isinstance(route, ResourceRoute)
    assert route.method == adder.upper()
    assert route.handler is handler
    assert list(router.routes()) == [route]
    assert router["name"] is route.resource


async def test_get_serves_head_too():
    router = UrlDispatcher()
    assert router.add_get("/path", handler).method == "GET"
    assert (await answer(router, "HEAD", "/path"))[:2] == (200, "answer")


async def test_head_can_be_left_out():
    router = UrlDispatcher()
    router.add_get("/path", handler, allow_head=False)
    assert (await answer(router, "HEAD", "/path"))[:2] == (405, "GET")


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "M-SEARCH", "BREW"])
async def test_any_method_can_be_taken(method):
    router = UrlDispatcher()
    router.add_route("*", "/path", handler)
    assert (await answer(router, method, "/path"))[:2] == (200, "answer")


async def test_methods_are_registered_in_any_case():
    router = UrlDispatcher()
    router.add_route("propfind", "/path", handler)
    assert (await answer(router, "PROPFIND", "/path"))[0] == 200


async def test_a_view_answers_for_its_verbs():
    class Article(View):
        async def post(self):
            return "posted"

    router = UrlDispatcher()
    assert router.add_view("/article", Article).method == "*"
    assert (await answer(router, "POST", "/article"))[1] == "posted"


@pytest.mark.parametrize("path", ["path", "{x}", " /", "\\"])
def test_a_path_starts_with_a_slash(path):
    with pytest.raises(ValueError, match="started with '/' or be empty, got"):
        UrlDispatcher().add_get(path, handler)


def test_bad_routes_are_refused():
    router = UrlDispatcher()
    with pytest.raises(ValueError, match="Invalid path"):
        router.add_get("/{a", handler)
    with pytest.raises(ValueError, match="Bad pattern"):
        router.add_get("/{a:[}", handler)
    with pytest.raises(ValueError, match="must be a token"):
        router.add_route("G T", "/", handler)
    with pytest.raises(AssertionError):
        router.add_get("/", None)


def test_the_last_resource_is_reused():
    router = UrlDispatcher()
    first = router.add_get("/a", handler).resource
    assert router.add_post("/a", handler).resource is first
    assert router.add_post("/a", handler, name="named").resource is not first
    router.add_get("/b", handler)
    assert router.add_put("/a", handler).resource is not first
    assert len(router.resources()) == 4


def test_a_template_is_reused_by_its_text():
    router = UrlDispatcher()
    first = router.add_get("/{a}", handler).resource
    assert router.add_post("/{a}", handler).resource is first
    assert router.add_post("/{b}", handler).resource is not first


@pytest.mark.parametrize(("first", "again"), [("GET", "GET"), ("*", "GET"), ("*", "*"), ("get", "GET")])
def test_a_route_that_can_never_run_is_refused(first, again):
    router = UrlDispatcher()
    router.add_route(first, "/path", handler)
    with pytest.raises(RuntimeError, match="Added route will never be executed, method"):
        router.add_route(again, "/path", handler)


async def test_resources_of_one_path_are_tried_in_order():
    router = UrlDispatcher()
    router.add_route("GET", "/a", says("first"))
    router.add_route("GET", "/b", handler)
    router.add_route("GET", "/a", says("never"))
    router.add_route("POST", "/a", says("second"))
    router.add_route("GET", "/c", handler)
    router.add_route("*", "/a", says("third"))
    assert (await answer(router, "GET", "/a"))[1] == "first"
    assert (await answer(router, "POST", "/a"))[1] == "second"
    assert (await answer(router, "PUT", "/a"))[1] == "third"


# -- names and views -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "a.b", "a:b-c", "путь", "_"])
def test_names_are_identifiers_joined(name):
    router = UrlDispatcher()
    router.add_get("/", handler, name=name)
    assert list(router) == [name]


@pytest.mark.parametrize("name", ["", "a b", "class", "a.class", "1", "a..b", "a/b", "-"])
def test_bad_names_are_refused(name):
    router = UrlDispatcher()
    with pytest.raises(ValueError, match=f"Incorrect route name {name!r}"):
        router.add_get("/", handler, name=name)
    assert not list(router.resources())


def test_a_name_is_given_once():
    router = UrlDispatcher()
    router.add_get("/a", handler, name="name")
    with pytest.raises(ValueError, match=r"Duplicate 'name', already handled by <PlainResource 'name' /a>"):
        router.add_get("/b", handler, name="name")


def test_a_router_maps_names_to_resources():
    router = UrlDispatcher()
    router.add_get("/nameless", handler)
    root = router.add_get("/root", handler, name="root").resource
    assert router["root"] is root
    assert "root" in router
    assert "nameless" not in router
    assert len(router) == 1
    assert list(router) == ["root"]
    assert dict(router) == {"root": root}
    assert router.get("none") is None
    with pytest.raises(KeyError):
        router["none"]
    assert router["root"].url_for().with_query({"a": "b", "c": "d"}) == URL("/root?a=b&c=d")


def test_resources_and_routes_have_views():
    router = UrlDispatcher()
    resources, routes, named = router.resources(), router.routes(), router.named_resources()
    get = router.add_get("/a", handler, name="a")
    post = router.add_post("/{b}", handler)
    assert list(resources) == [get.resource, post.resource]
    assert len(resources) == 2
    assert post.resource in resources
    assert PlainResource("/a") not in resources
    assert [route.method for route in routes] == ["HEAD", "GET", "POST"]
    assert len(routes) == 3
    assert get in routes
    assert handler not in routes
    assert list(named.items()) == [("a", get.resource)]
    with pytest.raises(TypeError):
        named["b"] = post.resource


def test_named_routes_is_gone_with_a_hint():
    with pytest.raises(AttributeError, match=r"use named_resources\(\) or routes\(\)"):
        UrlDispatcher().named_routes()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'$"):
        UrlDispatcher().nonsense  # noqa: B018
    assert not hasattr(UrlDispatcher(), "named_routes")


# -- freezing --------------------------------------------------------------------------------------------------------


def test_a_frozen_router_takes_nothing_more():
    router = UrlDispatcher()
    router.add_get("/a", handler)
    assert not router.frozen
    router.freeze()
    assert router.frozen
    for path in ("/a", "/b"):
        with pytest.raises(RuntimeError, match="Cannot register a resource into frozen router"):
            router.add_post(path, handler)
    with pytest.raises(RuntimeError, match="frozen router"):
        router.register_resource(PlainResource("/c"))


async def test_an_empty_path_is_the_root_once_frozen():
    router = router_of("")
    assert (await answer(router, "GET", "/"))[0] == 404
    router.freeze()
    assert (await answer(router, "GET", "/"))[1] == ""


# -- resources of one's own ------------------------------------------------------------------------------------------


class Lottery(AbstractResource):
    """Takes every request below a path whose method is drawn."""

    def __init__(self, path, drawn):
        super().__init__(name="lottery")
        self._path = path
        self.route = ResourceRoute(drawn, says("won"), self)

    @property
    def canonical(self):
        return self._path

    def url_for(self, **kwargs):
        return URL(self._path)

    async def resolve(self, request):
        if request.method == self.route.method:
            return UrlMappingMatchInfo({"target": request.target}, self.route), set()
        return None, {self.route.method}

    def add_prefix(self, prefix):
        self._path = prefix + self._path

    def get_info(self):
        return {"path": self._path}

    def raw_match(self, path):
        return False

    def __len__(self):
        return 1

    def __iter__(self):
        return iter([self.route])


async def test_a_resource_of_ones_own_takes_part():
    router = UrlDispatcher()
    router.add_get("/draw", says("mine"))
    router.register_resource(Lottery("/draw", "POST"))
    router.add_route("*", "/draw", says("never for POST"))
    router.add_route("*", "/{x}", says("never below /draw"))
    assert (await answer(router, "GET", "/draw"))[1] == "mine"
    assert (await answer(router, "POST", "/draw"))[1] == "won"
    assert (await answer(router, "PUT", "/draw"))[1] == "never for POST"
    assert (await answer(router, "POST", "/draw/deep"))[2] == {"target": "/draw/deep"}
    assert (await answer(router, "GET", "/draw/deep"))[:2] == (405, "POST")
    assert router["lottery"].url_for() == URL("/draw")
    assert len(router.routes()) == 5


@pytest.mark.parametrize("canonical", ["/", "", "anything", "/{all}"])
async def test_a_resource_of_ones_own_may_be_for_every_path(canonical):
    router = UrlDispatcher()
    router.register_resource(Lottery(canonical, "GET"))
    router.add_get("/fixed", says("fixed"))
    assert (await answer(router, "GET", "/any/path"))[1] == "won"
    assert (await answer(router, "GET", "/fixed"))[1] == "fixed"


async def test_a_subclass_may_match_as_it_likes():
    class Caseless(PlainResource):
        def _match(self, path):
            return super()._match(path.lower())

    class Exclamation(DynamicResource):
        async def resolve(self, request):
            return await super().resolve(Asked(request.method, request.target + "!"))

    router = UrlDispatcher()
    caseless, exclamation = Caseless("/a/b"), Exclamation("/a/b/{x}")
    for resource in (caseless, exclamation):
        resource.add_route("GET", handler)
        router.register_resource(resource)
    assert (await answer(router, "GET", "/a/b"))[0] == 200
    assert (await answer(router, "GET", "/a/b/c"))[2] == {"x": "c!"}


def test_only_resources_are_registered():
    with pytest.raises(AssertionError, match="must be an AbstractResource, got '/path'"):
        UrlDispatcher().register_resource("/path")


async def test_a_resource_can_be_left_out_of_account():
    router = router_of("/a/{x}", "/{y}/b")
    first = next(iter(router.resources()))
    router.unindex_resource(first)
    assert (await answer(router, "GET", "/a/b"))[1] == "/{y}/b"
    assert first in router.resources()
    first.add_prefix("/c")
    router.index_resource(first)
    assert (await answer(router, "GET", "/c/a/b"))[1] == "/a/{x}"
