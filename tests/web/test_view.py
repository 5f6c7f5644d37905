import pytest

from structweb._web.errors import HTTPMethodNotAllowed
from structweb._web.view import View
from tests.web.asked import Asked

pytestmark = pytest.mark.anyio


class Article(View):
    async def get(self):
        return "got", self.request

    def post(self):
        return "posted", self.request

    async def propfind(self):
        return "never", None


@pytest.mark.parametrize(("method", "answer"), [("GET", "got"), ("POST", "posted")])
async def test_a_verb_goes_to_the_method_of_its_name(method, answer):
    asked = Asked(method, "/")
    assert await Article(asked) == (answer, asked)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PROPFIND", "TRACE", "get", "REQUEST", "__INIT__"])
async def test_other_verbs_are_refused_with_the_defined_ones(method):
    with pytest.raises(HTTPMethodNotAllowed) as refused:
        await Article(Asked(method, "/"))
    assert refused.value.status == 405
    assert refused.value.headers["Allow"] == "GET,POST"


@pytest.mark.parametrize("verb", ["CONNECT", "HEAD", "GET", "DELETE", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"])
async def test_every_verb_may_be_defined(verb):
    async def method(self):
        return verb

    one = type("One", (View,), {verb.lower(): method})
    assert await one(Asked(verb, "/")) == verb
