import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._web.dispatcher import UrlDispatcher
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


# -- finding routes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "target", "found"),
    [
        (["/slash", "/slash/"], "/slash", "/slash"),
        (["/slash", "/slash/"], "/slash/", "/slash/"),
        (["/slash"], "/slash/", None),
        (["/slash/"], "/slash", None),
        (["/url"], "//url", None),
        (["/a/b"], "/a//b", None),
        (["/a"], "/a?b=c", "/a"),
        (["/"], "/", "/"),
        (["/"], "*", None),
        (["/{tail:.*}"], "*", None),
        (["/{tail:.*}"], "/a/b/c", "/{tail:.*}"),
        (["/слово"], "/%D1%81%D0%BB%D0%BE%D0%B2%D0%BE", "/слово"),
        (["/с п"], "/%d1%81%20%d0%bf", "/с п"),
        (["/%41"], "/A", "/%41"),
        (["/A"], "/%41", "/A"),
        (["/a%2fb"], "/a%2Fb", "/a%2fb"),
        (["/a%2Fb"], "/a/b", None),
        (["/a/b"], "/a%2Fb", None),
        (["/a%2Fb"], "/a%252Fb", None),
        (["/100%"], "/100%", "/100%"),
        (["/100%"], "/100%25", "/100%"),
        (["/a+b"], "/a+b", "/a+b"),
        (["/a+b"], "/a%20b", None),
        (["/a.b"], "/aXb", None),
        (["/путь/{x}"], "/%D0%BF%D1%83%D1%82%D1%8C/1", "/путь/{x}"),
        (["/a b/{x}"], "/a%20b/1", "/a b/{x}"),
        # A fixed path beats a variable one, a longer literal prefix a shorter one, whatever came first.
        (["/a/{x}", "/a/b"], "/a/b", "/a/b"),
        (["/{x}/b", "/a/{x}"], "/a/b", "/a/{x}"),
        (["/{tail:.*}", "/a/{tail:.*}", "/a/b/{c}"], "/a/b/c", "/a/b/{c}"),
        (["/{tail:.*}", "/a/{tail:.*}", "/a/b/{c}"], "/a/b/c/d", "/a/{tail:.*}"),
        (["/a{x}", "/{y}"], "/ab", "/a{x}"),
        # With the same literal prefix, the first one.
        (["/{x}", "/{y}"], "/a", "/{x}"),
        (["/{x:b+}", "/{y}"], "/a", "/{y}"),
        (["/{x}/b", "/{y:.*}", "/{z}/c"], "/a/c", "/{y:.*}"),
        (["/{tail:.*}", "/"], "/", "/{tail:.*}"),
        (["/", "/{tail:.*}"], "/", "/"),
        (["/{x}", "/"], "/", "/"),
        (["/a/{tail:.*}", "/a/"], "/a/", "/a/{tail:.*}"),
        (["/{x:(a|b)c}", "/{y:(?P<z>a)d}", "/{w}"], "/bc", "/{x:(a|b)c}"),
        (["/{x:(a|b)c}", "/{y:(?P<z>a)d}", "/{w}"], "/ad", "/{y:(?P<z>a)d}"),
        (["/{x:(a|b)c}", "/{y:(?P<z>a)d}", "/{w}"], "/ae", "/{w}"),
        (["/{w}", "/{x:(a|b)c}"], "/bc", "/{w}"),
    ],
)
async def test_the_route_of_a_path(paths, target, found):
    status, text, _ = await answer(router_of(*paths), "GET", target)
    assert (status, text) == ((404, None) if found is None else (200, found))


@pytest.mark.parametrize(
    ("path", "target", "values"),
    [
        ("/{x}", "/a%20b", {"x": "a b"}),
        ("/{x}", "/a%2Fb", {"x": "a/b"}),
        ("/{x}", "/a%252Fb", {"x": "a%2Fb"}),
        ("/{x}", "/a+b", {"x": "a+b"}),
        ("/{x}", "/%zz", {"x": "%zz"}),
        ("/{x}", "/%E9", {"x": "%E9"}),
        ("/{x}/{y}", "/1/2", {"x": "1", "y": "2"}),
        ("/{y}/{x}.{z}", "/1/2.3", {"x": "2", "y": "1", "z": "3"}),
        ("/{x:(?P<y>a)?b}", "/b", {"x": "b"}),
        ("/{x:(?P<y>a)?b}", "/ab", {"x": "ab", "y": "a"}),
        ("/plain", "/plain", {}),
    ],
)
async def test_the_values_of_a_path(path, target, values):
    _, _, match_info = await answer(router_of(path), "GET", target)
    assert match_info == values


async def test_a_path_without_a_route_is_404():
    status, _, match_info = await answer(router_of("/a"), "GET", "/b")
    assert status == 404
    assert match_info.http_exception.text == "404: Not Found"
    assert match_info.http_exception.content_type == "text/plain"
    assert match_info.get_info() == {"http_exception": match_info.http_exception}


async def test_a_method_without_a_route_is_405_with_every_method_of_the_path():
    router = UrlDispatcher()
    router.add_post("/a/b", handler)
    router.add_delete("/a/{x}", handler)
    router.add_put("/{x}/b", handler)
    router.add_patch("/a/c", handler)
    status, allow, match_info = await answer(router, "GET", "/a/b")
    assert (status, allow) == (405, "DELETE,POST,PUT")
    assert match_info.http_exception.allowed_methods == {"DELETE", "POST", "PUT"}


async def test_another_resource_may_take_the_method():
    router = UrlDispatcher()
    router.add_route("GET", "/a/b", says("fixed"))
    router.add_route("POST", "/a/{x}", says("variable"))
    router.add_route("PUT", "/{x}/b", says("shorter"))
    assert (await answer(router, "GET", "/a/b"))[1] == "fixed"
    assert (await answer(router, "POST", "/a/b"))[1] == "variable"
    assert (await answer(router, "PUT", "/a/b"))[1] == "shorter"


async def test_options_is_a_method_like_others():
    router = router_of("/x")
    assert (await answer(router, "OPTIONS", "/x"))[0] == 405
    assert (await answer(router, "OPTIONS", "*"))[0] == 404


async def test_routes_can_be_added_between_requests():
    router = router_of("/{x}", "/a")
    assert (await answer(router, "POST", "/a"))[0] == 405
    assert (await answer(router, "POST", "/b"))[0] == 405
    for resource in router.resources():
        resource.add_route("POST", says(f"post {resource.canonical}"))
    assert (await answer(router, "POST", "/a"))[1] == "post /a"
    assert (await answer(router, "POST", "/b"))[1] == "post /{x}"
    router.add_get("/c", says("new"))
    assert (await answer(router, "GET", "/c"))[1] == "new"


async def test_a_path_of_very_many_segments_is_refused_quickly():
    router = router_of("/{x}/y", "/a/b")
    assert (await answer(router, "GET", "/" * 8000))[0] == 404
    assert (await answer(router, "GET", "/a" * 4000))[0] == 404


# -- both ways agree -------------------------------------------------------------------------------------------------


SEGMENT = st.sampled_from(["", "a", "b", "a%2Fb", "ü", "%C3%BC", "{x}", r"{x:\d+}", "{x:.*}", "{x:(a|b)}", "a{x}"])
TARGET = st.lists(st.sampled_from(["", "a", "b", "1", "a%2fb", "%C3%bc", "%zz", "ab"]), min_size=1, max_size=4)
METHOD = st.sampled_from(["GET", "POST", "*"])


def one_x(segments):
    path = "".join("/" + segment for segment in segments)
    return path if path.count("{x") < 2 else path[::-1].replace("x{", "y{", 1)[::-1]


ROUTES = st.lists(
    st.tuples(METHOD, st.lists(SEGMENT, min_size=1, max_size=3).map(one_x).filter(lambda path: path.count("{x") < 2)),
    min_size=1,
    max_size=12,
)


def resolved(router, asked):
    """Run resolve() to its end; it waits for nothing here."""
    coroutine = router.resolve(asked)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("resolve() waited")


@given(ROUTES, TARGET, st.sampled_from(["GET", "POST", "PUT"]))
def test_match_and_resolve_find_the_same(routes, target, method):
    router = UrlDispatcher()
    for number, (verb, path) in enumerate(routes):
        try:
            router.add_route(verb, path, says(number))
        except RuntimeError:  # never executed
            continue
    raw_path = "".join("/" + segment for segment in target)
    full, fast = resolved(router, Asked(method, raw_path)), router.match(method, raw_path)
    if full.http_exception is not None:
        assert fast is None
    else:
        assert fast is not None
        assert (fast.route, dict(fast)) == (full.route, dict(full))
