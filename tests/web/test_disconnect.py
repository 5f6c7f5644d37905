"""What a client's leaving does to a handler: by application, sub-application and route, for every method (B-03)."""

from collections.abc import Callable
from itertools import product

import anyio
import pytest

from structweb import web
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WORDS = (None, "cancel", "finish")


class Visitor:
    """A handler that needs two seconds, of which its client waits one."""

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.outcome = ""

    async def handle(self, request: web.Request) -> web.Response:
        try:
            await anyio.sleep(2)
            self.outcome = "finish"
        except anyio.get_cancelled_exc_class():
            self.outcome = "cancel"
            raise
        finally:
            self.ended.set()
        return web.Response()

    async def outcome_in(self, app: web.Application, path: str, method: str = "GET", **options: object) -> str:
        async with serving(app, **options) as served:
            connection = served.connect()
            await connection.stream.send(get(path, method=method))
            await anyio.sleep(1)
            connection.stream.close()
            await self.ended.wait()
        return self.outcome


def outside(visitor: Visitor, route: str | None, app: str | None, inner: str | None) -> tuple[web.Application, str]:
    """Say it in the application, and perhaps in the sub-application and the route."""
    outer, sub = web.Application(disconnect=app), web.Application(disconnect=inner)
    sub.router.add_route("*", "/", visitor.handle, disconnect=route)
    outer.add_subapp("/sub", sub)
    return outer, "/sub/"


@pytest.mark.parametrize("policy", ["cancel", "finish"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "words",
    [lambda word: (word, None, None), lambda word: (None, word, None), lambda word: (None, None, word)],
    ids=["route", "application", "sub-application"],
)
async def test_every_method_has_either_policy(words: Callable[[str], tuple[str | None, ...]], method: str, policy: str):
    visitor = Visitor()
    app, path = outside(visitor, *words(policy))
    assert await visitor.outcome_in(app, path, method) == policy


async def test_the_innermost_word_counts():
    found = {}
    for route, app, inner in product(WORDS, repeat=3):
        visitor = Visitor()
        found[route, app, inner] = await visitor.outcome_in(*outside(visitor, route, app, inner))
    assert found == {
        (route, app, inner): route or inner or app or "cancel" for route, app, inner in product(WORDS, repeat=3)
    }


@pytest.mark.parametrize("policy", ["cancel", "finish"])
async def test_where_nobody_says_anything_the_server_does(policy: str):
    visitor = Visitor()
    assert await visitor.outcome_in(*outside(visitor, None, None, None), disconnect=policy) == policy
