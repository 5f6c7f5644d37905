import pytest

from structweb._web.app import Application
from structweb._web.domains import AbstractRuleMatching
from structweb._web.errors import HTTPMethodNotAllowed
from structweb._web.subapps import MatchedSubAppResource, PrefixedSubAppResource, PrefixResource
from tests.web.asked import answer

pytestmark = pytest.mark.anyio


def says(text):
    async def handler(request):
        return text

    return handler


def app_of(*paths):
    """Return an application with one route a path; each answers with its path."""
    app = Application()
    for path in paths:
        app.router.add_get(path, says(path), allow_head=False)
    return app


@pytest.mark.parametrize("prefix", ["/sub", "/sub/"])
@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/sub", ""),
        ("/sub/", "/"),
        ("/sub/a", "/a"),
        ("/sub/b/1", "/b/{x}"),
        ("/sub/c", None),
        ("/a", None),
        ("/subway", None),
        ("/sub%2Fa", None),
        ("/s%75b/a", "/a"),
    ],
)
async def test_a_sub_application_serves_what_is_below_its_prefix(prefix, target, found):
    app, sub = Application(), app_of("", "/", "/a", "/b/{x}")
    app.add_subapp(prefix, sub)
    status, text, _ = await answer(app.router, "GET", target)
    assert (status, text) == ((404, None) if found is None else (200, found))


async def test_an_empty_path_has_no_trailing_slash():
    app = Application()
    app.add_subapp("/sub", app_of(""))
    assert (await answer(app.router, "GET", "/sub"))[0] == 200
    assert (await answer(app.router, "GET", "/sub/"))[0] == 404


async def test_sub_applications_nest():
    top, middle, inner = app_of("/a"), app_of("/b"), app_of("/c/{x}")
    middle.add_subapp("/inner", inner)
    top.add_subapp("/middle", middle)
    _, text, match_info = await answer(top.router, "GET", "/middle/inner/c/1")
    assert text == "/c/{x}"
    assert match_info == {"x": "1"}
    assert match_info.apps == (middle, inner)
    assert match_info.current_app is inner
    assert (await answer(top.router, "GET", "/middle/b"))[2].apps == (middle,)


def test_urls_include_every_prefix():
    top, middle, inner = Application(), Application(), Application()
    inner.router.add_get("/{x}", says("x"), name="x")
    middle.add_subapp("/с п", inner)
    top.add_subapp("/middle", middle)
    assert str(inner.router["x"].url_for(x="1")) == "/middle/%D1%81%20%D0%BF/1"
    assert inner.router["x"].canonical == "/middle/%D1%81%20%D0%BF/{x}"


async def test_prefixes_of_any_script_match():
    app = Application()
    app.add_subapp("/с п", app_of("/a", "/b/{x}"))
    assert (await answer(app.router, "GET", "/%D1%81%20%D0%BF/a"))[1] == "/a"
    assert (await answer(app.router, "GET", "/%d1%81%20%D0%BF/b/1"))[1] == "/b/{x}"


async def test_what_a_sub_application_lacks_stays_within():
    app, sub = Application(), app_of("/a")
    app.add_subapp("/sub", sub)
    app.router.add_get("/{tail:.*}", says("parent"))
    app.router.add_post("/sub/a", says("parent"))
    status, _, match_info = await answer(app.router, "GET", "/sub/none")
    assert (status, match_info.apps) == (404, (sub,))
    status, allow, match_info = await answer(app.router, "PUT", "/sub/a")
    assert (status, allow, match_info.apps) == (405, "GET", (sub,))
    assert (await answer(app.router, "POST", "/sub/a"))[1] == "parent"
    assert (await answer(app.router, "GET", "/other"))[1] == "parent"


async def test_a_sub_application_takes_its_turn():
    app = Application()
    app.router.add_get("/sub/{x}", says("before"))
    app.add_subapp("/sub", app_of("/{x}", "/a", "/b/c"))
    app.router.add_get("/sub/b/{x}", says("longer"))
    assert (await answer(app.router, "GET", "/sub/a"))[1] == "before"
    assert (await answer(app.router, "GET", "/sub/b/c"))[1] == "longer"


def test_a_prefixed_sub_application_tells_about_itself():
    app, sub = Application(), app_of("/a", "/b")
    resource = app.add_subapp("/s b", sub)
    assert isinstance(resource, PrefixedSubAppResource)
    assert isinstance(resource, PrefixResource)
    assert resource.name is None
    assert resource.canonical == "/s%20b"
    assert resource.get_info() == {"app": sub, "prefix": "/s%20b"}
    assert len(resource) == 2
    assert list(resource) == list(sub.router.routes())
    assert resource in app.router.resources()
    assert not resource.raw_match("/s b")
    assert repr(resource) == f"<PrefixedSubAppResource /s%20b -> {sub!r}>"
    with pytest.raises(RuntimeError, match="got its root"):
        resource.url_for()


@pytest.mark.parametrize("prefix", ["sub", "/sub/"])
def test_a_prefix_starts_with_a_slash_and_ends_with_none(prefix):
    with pytest.raises(AssertionError, match="prefix must start with '/'"):
        PrefixedSubAppResource(prefix, Application())


async def test_domains_come_first():
    app, fixed, masked = app_of("/a", "/b"), app_of("/a"), app_of("/{x}")
    app.add_domain("fixed.com", fixed)
    app.add_domain("*.masked.com", masked)
    assert (await answer(app.router, "GET", "/a", Host="fixed.com:8080"))[2].apps == (fixed,)
    assert (await answer(app.router, "GET", "/a", Host="WWW.masked.com"))[1:] == ("/{x}", {"x": "a"})
    assert (await answer(app.router, "GET", "/a", Host="other.com"))[2].apps == ()
    assert (await answer(app.router, "GET", "/a"))[2].apps == ()
    status, _, match_info = await answer(app.router, "GET", "/b", Host="fixed.com")
    assert (status, match_info.apps) == (404, (fixed,))
    status, allow, _ = await answer(app.router, "PUT", "/a", Host="fixed.com")
    assert (status, allow) == (405, "GET")


async def test_a_domain_may_be_within_a_sub_application():
    app, sub, domain = Application(), app_of("/a"), app_of("/a")
    sub.add_domain("ex.com", domain)
    app.add_subapp("/sub", sub)
    assert (await answer(app.router, "GET", "/sub/a", Host="ex.com"))[2].apps == (sub, domain)
    assert (await answer(app.router, "GET", "/sub/a", Host="other.com"))[2].apps == (sub,)


def test_a_domain_tells_about_itself():
    app, sub = Application(), app_of("/a")
    resource = app.add_domain("Ex.com:81", sub)
    assert isinstance(resource, MatchedSubAppResource)
    assert resource.canonical == "ex.com:81"
    assert resource.get_info()["app"] is sub
    assert resource.get_info()["rule"].get_info() == {"domain": "ex.com:81"}
    assert len(resource) == 1
    assert repr(resource) == f"<MatchedSubAppResource -> {sub!r}>"


async def test_rules_of_ones_own_pick_a_sub_application():
    class Signed(AbstractRuleMatching):
        canonical = "signed"

        async def match(self, request):
            return "X-Signature" in request.headers

        def get_info(self):
            return {"rule": "signed"}

    app, sub = app_of("/a"), app_of("/a")
    app.router.register_resource(MatchedSubAppResource(Signed(), sub))
    assert (await answer(app.router, "GET", "/a", **{"X-Signature": "1"}))[2].apps == (sub,)
    assert (await answer(app.router, "GET", "/a"))[2].apps == ()


async def test_the_methods_of_a_sub_application_are_known_to_its_parent():
    app, sub = Application(), app_of("/a")
    resource = app.add_subapp("/sub", sub)
    _, _, match_info = await answer(app.router, "PUT", "/sub/a")
    assert isinstance(match_info.http_exception, HTTPMethodNotAllowed)
    assert match_info.route not in resource
