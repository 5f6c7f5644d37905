"""Middlewares: order, kinds, what they are given (W-017..W-022)."""

import functools

import pytest

from structweb._web.app import Application
from structweb._web.errors import HTTPForbidden, HTTPMovedPermanently, HTTPNotFound
from structweb._web.middleware import middleware, normalize_path_middleware
from structweb._web.response import Response
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio


async def hello(request):
    """Say hello."""
    return Response(text="hello")


hello.colour = "blue"


def noting(name, calls):
    """Make a middleware that notes when it is entered and left."""

    @middleware
    async def note(request, handler):
        calls.append(f"+{name}")
        try:
            return await handler(request)
        finally:
            calls.append(f"-{name}")

    return note


def test_the_decorator_marks_and_returns():
    async def plain(request, handler): ...

    assert middleware(plain) is plain
    assert plain.__middleware_version__ == 1


async def test_the_first_is_the_outermost():
    calls = []
    app = Application(middlewares=[noting("a", calls), noting("b", calls)])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        assert (await served.ask("/")).text == "hello"
    assert calls == ["+a", "+b", "-b", "-a"]


async def test_a_parents_are_around_those_of_a_sub_application():
    calls = []
    app = Application(middlewares=[noting("parent", calls)])
    sub = Application(middlewares=[noting("sub", calls)])
    sub.router.add_get("/", hello)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        assert (await served.ask("/sub/")).text == "hello"
        assert calls == ["+parent", "+sub", "-sub", "-parent"]
        calls.clear()
        assert (await served.ask("/sub/absent")).status == 404
        assert calls == ["+parent", "+sub", "-sub", "-parent"]
        calls.clear()
        assert (await served.ask("/absent")).status == 404
        assert calls == ["+parent", "-parent"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/absent", 404), ("POST", "/", 405)])
async def test_errors_of_routing_come_as_exceptions(method, path, status):
    seen = []

    async def catch(request, handler):
        try:
            return await handler(request)
        except Exception as exc:
            seen.append(exc.status)
            raise

    app = Application(middlewares=[catch])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        answers = [(await served.ask(path, method=method)).status for _ in range(2)]
    assert answers == [status, status]
    assert seen == [status, status]


async def test_a_middleware_may_answer_an_error():
    async def pages(request, handler):
        try:
            return await handler(request)
        except HTTPNotFound:
            return Response(status=404, text=f"no {request.path}")

    app = Application(middlewares=[pages])
    async with serving(app) as served:
        assert (await served.ask("/absent")).text == "no /absent"


async def test_a_middleware_may_answer_alone():
    async def forbid(request, handler):
        raise HTTPForbidden

    app = Application(middlewares=[forbid])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        assert (await served.ask("/")).status == 403


# -- kinds ---------------------------------------------------------------------------------------------------------


class Unsigned:
    """A callable object whose signature cannot be found out, as of some built-in ones."""

    __signature__ = "none"

    async def __call__(self, request, handler):
        return await handler(request)


class Instance:
    """A callable object."""

    async def __call__(self, request, handler):
        return await handler(request)

    async def method(self, request, handler):
        """Be a bound method."""
        return await handler(request)


async def with_option(option, request, handler):
    assert option == "option"
    return await handler(request)


def plain(request, handler):
    return handler(request)


def plain_answer(request, handler):
    return Response(text="hello")


async def other_name(request, inner):
    return await inner(request)


async def keyword_only(request, *, handler):
    return await handler(request)


async def any_keywords(request, **kwargs):
    return await kwargs["handler"](request)


KINDS = [
    noting("factory", []),
    Unsigned(),
    Instance(),
    Instance().method,
    functools.partial(with_option, "option"),
    plain,
    plain_answer,
    other_name,
    keyword_only,
    any_keywords,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: getattr(kind, "__name__", type(kind).__name__))
@pytest.mark.parametrize("place", ["outside", "inside"])
async def test_every_kind_of_callable(kind, place):
    calls = []
    around = noting("other", calls)
    app = Application(middlewares=[kind, around] if place == "outside" else [around, kind])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        assert (await served.ask("/")).text == "hello"


async def test_a_plain_handler_can_be_awaited():
    app = Application(middlewares=[noting("a", [])])

    def handler(request):
        return Response(text="plain")

    app.router.add_get("/", handler)
    async with serving(app) as served:
        assert (await served.ask("/")).text == "plain"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: getattr(kind, "__name__", type(kind).__name__))
async def test_the_handler_keeps_its_name_and_attributes(kind):
    seen = []

    async def look(request, handler):
        seen.append((handler.__name__, handler.__doc__, handler.colour))
        return await handler(request)

    app = Application(middlewares=[look, kind, look])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        await served.ask("/")
    assert set(seen) == {("hello", "Say hello.", "blue")}


# -- request.app ---------------------------------------------------------------------------------------------------


async def test_request_app_is_the_middlewares_own():
    seen = []

    async def note(request, handler):
        seen.append(request.app)
        try:
            return await handler(request)
        finally:
            seen.append(request.app)

    async def handler(request):
        seen.append(request.app)
        if "fail" in request.path:
            raise HTTPForbidden
        return Response()

    app, between, sub = Application(middlewares=[note, note]), Application(), Application(middlewares=[note])
    sub.router.add_get("/", handler)
    sub.router.add_get("/fail", handler)
    between.add_subapp("/sub", sub)
    app.add_subapp("/between", between)
    async with serving(app) as served:
        for path in ("", "fail"):
            await served.ask(f"/between/sub/{path}")
            assert seen == [app, app, sub, sub, sub, app, app]
            seen.clear()


async def test_request_app_of_a_handler_below_a_parents_middleware():
    seen = []
    app, sub = Application(middlewares=[noting("a", [])]), Application()

    async def handler(request):
        seen.append(request.app)
        return Response()

    sub.router.add_get("/", handler)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        await served.ask("/sub/")
    assert seen == [sub]


# -- malformed requests --------------------------------------------------------------------------------------------


async def test_malformed_requests_pass_through_middlewares():
    seen = []

    async def look(request, handler):
        seen.append((request.method, request.path, str(request.pre_handler_error)))
        try:
            return await handler(request)
        except Exception as exc:
            seen.append(exc.status)
            raise

    app = Application(middlewares=[look])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        raw = await connection.rest()
    assert raw.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    ((method, path, error), status) = seen
    assert (method, path, status) == ("UNKNOWN", "/", 400)
    assert error
    assert raw.endswith(error.encode())


async def test_a_middleware_may_answer_a_malformed_request():
    async def polite(request, handler):
        if request.pre_handler_error is not None:
            return Response(status=400, text="please rephrase")
        return await handler(request)

    app = Application(middlewares=[polite, normalize_path_middleware()])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(b"nonsense\r\n\r\n")
        assert (await connection.rest()).endswith(b"please rephrase")
        assert (await served.ask("/")).text == "hello"


# -- normalize_path_middleware -------------------------------------------------------------------------------------

BOTH = {"append_slash": False, "remove_slash": True}


def site(**options):
    app = Application(middlewares=[normalize_path_middleware(**options)])
    for path in ("/plain", "/slash/", "/a/b", "/a/c/", "/named/{name}/"):
        app.router.add_get(path, hello)
    return app


@pytest.mark.parametrize(
    ("options", "path", "status", "location"),
    [
        ({}, "/plain", 200, None),
        ({}, "/slash", 308, "/slash/"),
        ({}, "/slash?a=1&b=%20", 308, "/slash/?a=1&b=%20"),
        ({}, "/plain/", 404, None),
        ({}, "/absent", 404, None),
        ({}, "//a//b", 308, "/a/b"),
        ({}, "///a//c", 308, "/a/c/"),
        ({"merge_slashes": False}, "//a//b", 404, None),
        ({"append_slash": False}, "/slash", 404, None),
        (BOTH, "/plain/", 308, "/plain"),
        (BOTH, "/plain/?x", 308, "/plain?x"),
        (BOTH, "//a///b/", 308, "/a/b"),
        (BOTH, "/slash", 404, None),
        (BOTH, "/", 404, None),
        ({**BOTH, "merge_slashes": False}, "/plain/", 308, "/plain"),
    ],
)
async def test_paths_are_normalized(options, path, status, location):
    async with serving(site(**options)) as served:
        answer = await served.ask(path)
    assert answer.status == status
    assert answer.headers.get("location") == location


async def test_a_redirect_never_names_another_host():
    """``//evil.example/..`` in a Location is another host, and browsers read a backslash as a slash."""
    app = Application(middlewares=[normalize_path_middleware(merge_slashes=False)])
    app.router.add_get("/{host}/", hello)
    async with serving(app) as served:
        answer = await served.ask("//evil.example")
    assert answer.headers["location"] == "/evil.example/"


async def test_the_redirect_class_can_be_chosen():
    async with serving(site(redirect_class=HTTPMovedPermanently)) as served:
        assert (await served.ask("/slash")).status == 301


async def test_paths_of_sub_applications_are_normalized():
    app, sub = Application(), Application(middlewares=[normalize_path_middleware()])
    sub.router.add_get("/slash/", hello)
    app.add_subapp("/sub", sub)
    async with serving(app) as served:
        assert (await served.ask("/sub/slash")).headers["location"] == "/sub/slash/"


def test_appending_and_removing_exclude_each_other():
    with pytest.raises(AssertionError, match="exclude each other"):
        normalize_path_middleware(append_slash=True, remove_slash=True)


async def test_the_chain_is_composed_once():
    """A middleware list costs nothing to build at the second request: the same callables are called."""
    seen = []

    async def look(request, handler):
        seen.append(handler)
        return await handler(request)

    app = Application(middlewares=[look])
    app.router.add_get("/{name}", hello)
    async with serving(app) as served:
        connection = served.connect()
        await connection.ask("/one")
        await connection.ask("/two")
        await connection.stream.send(get("/three"))
        await connection.answer()
    assert seen[0] is seen[1] is seen[2]
