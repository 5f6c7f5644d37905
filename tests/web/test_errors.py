"""HTTP exceptions (W-079..W-084)."""

import copy
import pickle

import pytest
from yarl import URL

from structweb._web import errors, http_exception
from structweb._web.errors import (
    HTTPBadRequest,
    HTTPClientError,
    HTTPError,
    HTTPException,
    HTTPFound,
    HTTPMethodNotAllowed,
    HTTPMove,
    HTTPNoContent,
    HTTPNotFound,
    HTTPNotModified,
    HTTPRedirection,
    HTTPRequestEntityTooLarge,
    HTTPServerError,
    HTTPSuccessful,
    HTTPUnavailableForLegalReasons,
)
from structweb._web.response import Response
from tests.web.talk import ask

pytestmark = pytest.mark.anyio

CONCRETE = {
    cls.status_code: cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and getattr(cls, "status_code", -1) > 0
}


def made(cls):
    """Return an exception of a class, with made-up arguments."""
    if issubclass(cls, HTTPMove):
        return cls("/elsewhere")
    if issubclass(cls, HTTPMethodNotAllowed):
        return cls("GET", ["POST"])
    if issubclass(cls, HTTPRequestEntityTooLarge):
        return cls(10)
    if issubclass(cls, HTTPUnavailableForLegalReasons):
        return cls("http://court")
    return cls()


def test_statuses():
    """W-080."""
    successful = set(range(200, 207))
    redirections = {300, 301, 302, 303, 304, 305, 307, 308}
    client = set(range(400, 418)) | {421, 422, 424, 426, 428, 429, 431, 451}
    server = set(range(500, 508)) | {510, 511}
    assert CONCRETE.keys() == successful | redirections | client | server
    assert len(CONCRETE) == 51
    families = (
        (HTTPSuccessful, successful),
        (HTTPRedirection, redirections),
        (HTTPClientError, client),
        (HTTPServerError, server),
    )
    for family, statuses in families:
        assert {status for status, cls in CONCRETE.items() if issubclass(cls, family)} == statuses
    assert {status for status, cls in CONCRETE.items() if issubclass(cls, HTTPMove)} == redirections - {304}
    assert {status for status, cls in CONCRETE.items() if issubclass(cls, HTTPError)} == client | server
    assert {status for status, cls in CONCRETE.items() if cls.empty_body} == {204, 205, 304}


@pytest.mark.parametrize("cls", CONCRETE.values())
def test_each_is_an_exception_and_a_response(cls):
    error = made(cls)
    assert isinstance(error, Exception)
    assert isinstance(error, Response)
    assert isinstance(error, HTTPException)
    assert error
    assert error.status == error.status_code == cls.status_code
    assert str(error) == error.reason
    assert repr(error) == f"<{cls.__name__} {error.reason} not prepared>"
    if cls.empty_body:
        assert error.body is None
        assert error.content_type == "application/octet-stream"
    elif cls is not HTTPRequestEntityTooLarge:
        assert error.text == f"{error.status}: {error.reason}"
        assert (error.content_type, error.charset) == ("text/plain", "utf-8")


@pytest.mark.parametrize("cls", CONCRETE.values())
def test_each_can_be_pickled_and_copied(cls):
    error = made(cls)
    error.headers["A"] = "b"
    error.set_cookie("c", "d", partitioned=True)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - made here
        assert type(again) is cls
        assert (again.status, again.reason, again.body) == (error.status, error.reason, error.body)
        assert list(again.headers.items()) == list(error.headers.items())
        assert again.cookies.output() == error.cookies.output()
        assert str(again) == str(error)
        assert not again.prepared


async def test_raised_it_is_the_response():
    async def handler(request):
        raise HTTPBadRequest(reason="Because", text="no", headers={"A": "b"}, content_type="text/html")

    reply = await ask(handler)
    assert (reply.status, reply.reason, reply.body) == (400, "Because", b"no")
    assert (reply.get("A"), reply.get("Content-Type")) == ("b", "text/html; charset=utf-8")


async def test_empty_ones_have_no_body():
    async def handler(request):
        raise HTTPNoContent

    reply = await ask(handler)
    assert (reply.status, reply.body, reply.get("Content-Type"), reply.get("Content-Length")) == (204, b"", None, None)
    assert HTTPNotModified(text="x").text == "x"


async def test_cookies_can_be_set():
    async def handler(request):
        error = HTTPFound("/")
        error.set_cookie("a", "b")
        raise error

    assert (await ask(handler)).get("Set-Cookie") == "a=b; Path=/"


def test_default_text():
    assert HTTPNotFound().text == "404: Not Found"
    assert HTTPNotFound(reason="Gone fishing").text == "404: Gone fishing"
    assert HTTPNotFound(text="").text == ""
    typed = HTTPNotFound(headers={"Content-Type": "text/html"})
    assert typed.headers["Content-Type"] == "text/html; charset=utf-8"
    assert HTTPNotFound(content_type="text/html").content_type == "text/html"


def test_body_is_deprecated():
    with pytest.warns(DeprecationWarning, match="give text"):
        error = HTTPNotFound(body=b"x")
    assert error.body == b"x"


@pytest.mark.parametrize("reason", ["a\r\nb", "a\nb", "a\0b"])
def test_reason_has_no_control_characters(reason):
    with pytest.raises(ValueError, match="reason must not contain"):
        HTTPNotFound(reason=reason)


def test_own_classes():
    class Teapot(HTTPClientError):
        status_code = 418

    assert (Teapot().status, Teapot().text) == (418, "418: I'm a Teapot")

    class Unnamed(HTTPServerError):
        status_code = 599

    assert Unnamed().text == "599: "
    with pytest.raises(ValueError, match="from 100 to 999"):
        http_exception.HTTPException()


def test_moves():
    """W-081."""
    error = HTTPFound(URL("http://ex.com/a?b=c d"))
    assert error.location == URL("http://ex.com/a?b=c d")
    assert error.headers["Location"] == "http://ex.com/a?b=c+d"
    assert HTTPFound("/\u00e9").headers["Location"] == "/%C3%A9"
    assert HTTPFound("/a\r\nX: y").headers["Location"] == "/aX:%20y"
    for empty in ("", None, URL()):
        with pytest.raises(ValueError, match="HTTPFound needs a location"):
            HTTPFound(empty)


def test_method_not_allowed():
    """W-082."""
    error = HTTPMethodNotAllowed("get", iter(["POST", "DELETE", "POST"]))
    assert error.method == "GET"
    assert error.allowed_methods == {"POST", "DELETE"}
    assert error.headers["Allow"] == "DELETE,POST"


def test_too_large():
    """W-083."""
    error = HTTPRequestEntityTooLarge(10, 12)
    assert error.text == "Maximum request body size 10 exceeded."
    assert (error.max_size, error.actual_size) == (10, 12)
    assert isinstance(error, ValueError)
    assert HTTPRequestEntityTooLarge(10, text="other", reason="Big").text == "other"


def test_legal_reasons():
    """W-084."""
    error = HTTPUnavailableForLegalReasons("http://court/1")
    assert error.link == URL("http://court/1")
    assert error.headers["Link"] == '<http://court/1>; rel="blocked-by"'
    silent = HTTPUnavailableForLegalReasons(None)
    assert silent.link is None
    assert "Link" not in silent.headers
