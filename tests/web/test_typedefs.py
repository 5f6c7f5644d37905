"""`structweb.typedefs`: the types of aiohttp.typedefs, which annotated programs import."""

import json

import pytest
from yarl import URL

from structweb import typedefs, web
from structweb.typedefs import (
    DEFAULT_JSON_DECODER,
    DEFAULT_JSON_ENCODER,
    Byteish,
    Handler,
    JSONDecoder,
    JSONEncoder,
    LooseHeaders,
    Middleware,
    PathLike,
    RawHeaders,
    StrOrURL,
)
from tests.web.served import serving

pytestmark = pytest.mark.anyio

# A checker looks at these; that they are accepted is half of the test.
HEADERS: LooseHeaders = {"X-Name": "value"}
RAW: RawHeaders = ((b"X-Name", b"value"),)
PIECE: Byteish = memoryview(b"piece")
WHERE: StrOrURL = URL("/there")
FOLDER: PathLike = "folder"
ENCODER: JSONEncoder = DEFAULT_JSON_ENCODER
DECODER: JSONDecoder = DEFAULT_JSON_DECODER


def tagging(tag: str) -> Middleware:
    """Return a middleware that adds a header, annotated as programs for aiohttp annotate theirs."""

    @web.middleware
    async def add_tag(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers["X-Tag"] = tag
        return response

    return add_tag


async def test_an_annotated_middleware_runs():
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=ENCODER(DECODER("[1]")), headers=HEADERS)

    app = web.Application(middlewares=[tagging("a")])
    app.router.add_get("/", hello)
    async with serving(app) as served:
        answer = await served.ask()
    assert (answer.text, answer.headers["x-tag"], answer.headers["x-name"]) == ("[1]", "a", "value")


def test_every_name_of_the_list_is_there():
    assert {name for name in typedefs.__all__ if getattr(typedefs, name, None) is None} == set()
    assert (json.dumps, json.loads) == (DEFAULT_JSON_ENCODER, DEFAULT_JSON_DECODER)
