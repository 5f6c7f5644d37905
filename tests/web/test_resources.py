import pytest
from yarl import URL

from structweb._web.resources import AbstractResource, DynamicResource, PlainResource, Resource
from tests.web.asked import Asked

pytestmark = pytest.mark.anyio


async def handler(request):
    return "answer"


async def other(request):
    return "other"


def test_a_plain_resource_tells_about_itself():
    resource = PlainResource("/path", name="name")
    assert resource.name == "name"
    assert resource.canonical == "/path"
    assert resource.get_info() == {"path": "/path"}
    assert resource.url_for() == URL("/path")
    assert repr(resource) == "<PlainResource 'name' /path>"
    assert repr(PlainResource("/path")) == "<PlainResource /path>"


def test_a_dynamic_resource_tells_about_itself():
    resource = DynamicResource(r"/u/{id:\d+}", name="name")
    assert resource.name == "name"
    assert resource.canonical == "/u/{id}"
    assert resource.get_info()["formatter"] == "/u/{id}"
    assert resource.get_info()["pattern"].pattern == r"/u/(?P<id>\d+)"
    assert resource.url_for(id="1") == URL("/u/1")
    assert repr(resource) == "<DynamicResource 'name' /u/{id}>"


def test_a_dynamic_resource_tells_what_a_variable_part_is():
    assert DynamicResource.DYN.fullmatch("{id}")["var"] == "id"
    assert DynamicResource.DYN.fullmatch(r"{id:\d+}") is None
    assert DynamicResource.DYN_WITH_RE.fullmatch(r"{id:\d{2,3}}").groupdict() == {"var": "id", "re": r"\d{2,3}"}
    assert DynamicResource("/{id}").get_info()["pattern"].pattern == f"/(?P<id>{DynamicResource.GOOD})"


@pytest.mark.parametrize("resource", [PlainResource("/p"), DynamicResource("/{p}")])
def test_a_resource_is_a_collection_of_its_routes(resource):
    get, post = resource.add_route("GET", handler), resource.add_route("POST", handler)
    assert len(resource) == 2
    assert list(resource) == [get, post]
    assert isinstance(resource, Resource)
    assert isinstance(resource, AbstractResource)


def test_literals_are_quoted_in_urls():
    assert str(PlainResource("/с п/%20?#").url_for()) == "/%D1%81%20%D0%BF/%20%3F%23"
    assert str(DynamicResource("/с п/{x}").url_for(x="a b")) == "/%D1%81%20%D0%BF/a%20b"


def test_a_url_can_be_built_on():
    assert str(DynamicResource("/{user}/info").url_for(user="john_doe").with_query("a=b")) == "/john_doe/info?a=b"


def test_url_for_needs_every_part_as_text():
    resource = DynamicResource("/{a}/{b}")
    with pytest.raises(KeyError, match="needs 'b'"):
        resource.url_for(a="1")
    with pytest.raises(TypeError, match="needs a str for 'b', got 2"):
        resource.url_for(a="1", b=2)


def test_a_plain_path_has_no_parts_to_fill():
    with pytest.raises(TypeError):
        PlainResource("/a").url_for(a="1")


def test_a_path_starts_with_a_slash():
    with pytest.raises(ValueError, match="must start with '/' or be empty, got 'a'"):
        PlainResource("a")


@pytest.mark.parametrize("second", ["GET", "get"])
def test_a_method_cannot_be_added_twice(second):
    resource = PlainResource("/path")
    resource.add_route("GET", handler)
    with pytest.raises(RuntimeError, match="Added route will never be executed, method GET is already registered"):
        resource.add_route(second, handler)


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "*"])
def test_nothing_can_be_added_after_any(method):
    resource = PlainResource("/path")
    resource.add_route("*", handler)
    with pytest.raises(RuntimeError, match=r"never be executed, method \* is already registered"):
        resource.add_route(method, handler)


@pytest.mark.parametrize(("kind", "path"), [(PlainResource, "/p/1"), (DynamicResource, "/p/{x}")])
async def test_a_resource_resolves_its_own_path(kind, path):
    resource = kind(path)
    post = resource.add_route("POST", handler)
    rest = resource.add_route("*", other)
    assert (await resource.resolve(Asked("POST", "/p/1?q")))[0].route is post
    assert (await resource.resolve(Asked("GET", "/p/%31")))[0].route is rest
    assert await resource.resolve(Asked("GET", "/p/1/")) == (None, set())


async def test_a_resource_tells_what_it_would_allow():
    resource = PlainResource("/p")
    resource.add_route("GET", handler)
    resource.add_route("PUT", handler)
    match_info, allowed = await resource.resolve(Asked("POST", "/p"))
    assert match_info is None
    assert allowed == {"GET", "PUT"}


def test_a_prefix_goes_before_the_path():
    plain, dynamic = PlainResource("/p"), DynamicResource("/p/{x}")
    for resource in (plain, dynamic):
        resource.add_prefix("/a b")
        resource.add_prefix("/c")
    assert str(plain.url_for()) == "/c/a%20b/p"
    assert plain.get_info() == {"path": "/c/a b/p"}
    assert str(dynamic.url_for(x="1")) == "/c/a%20b/p/1"
    assert dynamic.canonical == "/c/a%20b/p/{x}"


@pytest.mark.parametrize("prefix", ["", "/", "a", "/a/"])
@pytest.mark.parametrize("resource", [PlainResource("/p"), DynamicResource("/p/{x}")])
def test_a_prefix_starts_with_a_slash_and_ends_with_none(prefix, resource):
    with pytest.raises(AssertionError, match="prefix must start with '/'"):
        resource.add_prefix(prefix)


def test_an_empty_path_becomes_the_root_unless_prefixed():
    top, sub = PlainResource(""), PlainResource("")
    sub.add_prefix("/sub")
    top.freeze()
    sub.freeze()
    assert (top.canonical, sub.canonical) == ("/", "/sub")


@pytest.mark.parametrize("path", ["/a", "/{a}", r"/{a:\d+}"])
def test_a_resource_knows_the_path_it_was_made_with(path):
    resource = DynamicResource(path) if "{" in path else PlainResource(path)
    assert resource.raw_match(path)
    assert not resource.raw_match("/b")
    assert not resource.raw_match("/{b}")
