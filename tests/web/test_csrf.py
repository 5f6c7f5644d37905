"""Requests that pages of other origins make browsers send are refused (B-19)."""

import re

import pytest

from structweb import web
from tests.web.talk import app_of, ask

pytestmark = pytest.mark.anyio

FRIEND = "https://friend.example"
PATTERN = re.compile(r"https://[a-z]+\.example\.org")


async def changed(request: web.Request) -> web.Response:
    return web.Response(text="changed")


async def status(*fields: str, method: str = "POST", host: str = "test", **options: object) -> int:
    """Return what a request with `fields` is answered behind a middleware made with `options`."""
    app = app_of(changed, middlewares=[web.csrf_middleware(**options)])
    return (await ask(app, "/", *fields, method=method, host=host)).status


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_methods_pass(method: str):
    assert await status("Sec-Fetch-Site: cross-site", "Origin: https://foe.example", method=method) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "OTHER", "get"])
async def test_all_others_are_looked_at(method: str):
    if method == "get":  # methods have a case
        assert await status("Sec-Fetch-Site: cross-site", method=method) in (400, 403)
    else:
        assert await status("Sec-Fetch-Site: cross-site", method=method) == 403
        assert await status(method=method) == 200


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        *(("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)),
        *(("Same-Origin", 403), ("nonsense", 403), ("same-origin, cross-site", 403)),
    ],
)
@pytest.mark.parametrize("origin", [(), ("Origin: http://test",), ("Origin: https://foe.example",)])
async def test_the_word_of_the_browser_counts_whatever_the_origin(site: str, expected: int, origin: tuple[str, ...]):
    assert await status(f"Sec-Fetch-Site: {site}", *origin) == expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://test", "test", 200),
        ("https://test", "test", 200),  # what ends TLS may be in front of us
        ("https://test", "TEST", 200),
        ("https://test", "test:443", 200),
        ("https://test:8443", "test:8443", 200),
        ("http://[::1]", "[::1]", 200),
        ("http://[::1]:8080", "[::1]:8080", 200),
        ("https://test", "test:80", 403),
        ("http://test", "test:8080", 403),
        ("https://test:8443", "test", 403),
        ("https://foe.example", "test", 403),
        ("https://test.foe.example", "test", 403),
        ("https://foetest", "test", 403),
        ("https://sub.test", "test", 403),
        ("https://foe.example/test", "test", 403),
        ("https://test@foe.example", "test", 403),
        ("null", "null", 403),
        ("test", "test", 403),
        ("https://", "test", 403),
    ],
)
async def test_without_it_origin_has_to_have_the_host(origin: str, host: str, expected: int):
    assert await status(f"Origin: {origin}", host=host) == expected
    assert await status(f"Origin: {origin}", "Sec-Fetch-Site:", host=host) == expected


async def test_what_is_no_browser_passes():
    assert await status() == 200
    assert await status("Cookie: session=1", "Referer: https://foe.example/") == 200


async def test_behind_a_proxy_the_host_is_what_the_proxy_says():
    fields = ("Origin: https://public.example", "X-Forwarded-Host: public.example")
    app = app_of(changed, middlewares=[web.trusted_proxies(["192.0.2.0/24"]), web.csrf_middleware()])
    assert (await ask(app, "/", *fields, method="POST")).status == 200
    assert await status(*fields) == 403


@pytest.mark.parametrize("site", [(), ("Sec-Fetch-Site: cross-site",), ("Sec-Fetch-Site: same-site",)])
async def test_trusted_origins_pass(site: tuple[str, ...]):
    for origin, expected in {
        FRIEND: 200,
        "https://any.example.org": 200,
        "http://friend.example": 403,
        "https://friend.example:8443": 403,
        "https://any.example.org.foe.example": 403,
        "null": 403,
    }.items():
        assert await status(f"Origin: {origin}", *site, trusted=[FRIEND, PATTERN]) == expected


async def test_trust_needs_an_origin():
    assert await status("Sec-Fetch-Site: cross-site", trusted=[FRIEND, re.compile(".+")]) == 403


async def test_the_answer_says_why():
    app = app_of(changed, middlewares=[web.csrf_middleware()])
    reply = await ask(app, "/", "Sec-Fetch-Site: cross-site", method="POST")
    assert reply.body == b"Cross-origin request refused: Sec-Fetch-Site is 'cross-site'"
    reply = await ask(app, "/", "Origin: https://foe.example", method="POST")
    assert reply.body == (
        b"Cross-origin request refused: there is no Sec-Fetch-Site, and Origin 'https://foe.example' is not of this host"
    )
    reply = await ask(app, "/", "Origin: \udcff" + "x" * 5000, method="POST")
    assert reply.status == 403
    assert len(reply.body) < 300


async def test_handshakes_of_websockets_are_looked_at():
    """No preflight and no CORS protects a WebSocket, which carries cookies."""
    handshake = ("Upgrade: h2c, WebSocket", "Connection: Upgrade")
    assert await status(*handshake, "Sec-Fetch-Site: cross-site", method="GET") == 403
    assert await status(*handshake, "Origin: https://foe.example", method="GET") == 403
    assert await status(*handshake, "Origin: https://test", method="GET") == 200
    assert await status(*handshake, method="GET") == 200
    assert await status("Upgrade: h2c", "Sec-Fetch-Site: cross-site", method="GET") == 200


async def test_it_fits_sub_applications_and_routes():
    app, sub = app_of(changed), app_of(changed, middlewares=[web.csrf_middleware()])
    outer = web.Application()
    outer.add_subapp("/sub", sub)
    outer.router.add_post("/route", changed, middlewares=[web.csrf_middleware()])
    outer.add_subapp("/app", app)
    for path, expected in {"/sub/x": 403, "/route": 403, "/app/x": 200}.items():
        assert (await ask(outer, path, "Sec-Fetch-Site: cross-site", method="POST")).status == expected


async def test_a_refusal_can_be_read_by_whom_cors_allows():
    around = [web.cors_middleware([FRIEND]), web.csrf_middleware()]
    reply = await ask(app_of(changed, middlewares=around), "/", f"Origin: {FRIEND}", method="POST")
    assert (reply.status, reply.get("Access-Control-Allow-Origin")) == (403, FRIEND)


# -- exemptions ----------------------------------------------------------------------------------------------------


async def statuses(exempt: object) -> dict[str, int]:
    """Return what a request from elsewhere is answered by path."""
    app = web.Application(middlewares=[web.csrf_middleware(exempt=exempt)])
    app.router.add_post("/hooks/{source}", changed)
    app.router.add_post("/named", changed, name="named")
    app.router.add_post("/other", changed)
    sub = web.Application()
    sub.router.add_post("/named", changed, name="named")
    sub.router.add_post("/other", changed)
    app.add_subapp("/sub", sub)
    paths = ("/hooks/a", "/named", "/other", "/sub/named", "/sub/other", "/none")
    return {path: (await ask(app, path, "Sec-Fetch-Site: cross-site", method="POST")).status for path in paths}


async def test_resources_are_exempt_by_name_or_path():
    found = await statuses(["named", "/hooks/{source}", "/sub/other", "/hooks/a", "/oth", "/none", ""])
    assert found == {
        "/hooks/a": 200,
        "/named": 200,
        "/other": 403,
        "/sub/named": 200,
        "/sub/other": 200,
        "/none": 403,
    }


async def test_a_function_says_what_is_exempt():
    found = await statuses(lambda request: request.path.startswith("/hooks/"))
    assert {path for path, status in found.items() if status == 200} == {"/hooks/a"}


async def test_only_true_is_an_exemption():
    for answer in (None, 1, "yes", object()):
        assert set((await statuses(lambda request, answer=answer: answer)).values()) == {403}


async def exempt_later(request: web.Request) -> bool:
    return True


class Later:
    async def __call__(self, request: web.Request) -> bool:
        return True


@pytest.mark.parametrize("exempt", [exempt_later, Later(), "/hooks"])
def test_exemptions_are_checked(exempt):
    with pytest.raises(TypeError, match="exempt must be"):
        web.csrf_middleware(exempt=exempt)


def test_trusted_origins_are_checked():
    with pytest.raises(TypeError, match="trusted must be a list"):
        web.csrf_middleware(trusted=FRIEND)
    for origin in ("*", "null", "https://friend.example/", "friend.example"):
        with pytest.raises(ValueError, match="trusted must be as browsers send them"):
            web.csrf_middleware(trusted=[origin])
