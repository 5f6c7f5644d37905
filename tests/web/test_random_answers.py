"""Responses made at random: whatever their parts, all ways to send one of them come to the same answer."""

import gzip
import io
import zlib
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import NamedTuple

import h11
import pytest

import structweb
from structweb import web
from tests.web.talk import app_of, talk

pytestmark = pytest.mark.anyio

TEXT = "gr\u00fc\u00df dich, "
DECODE = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}


class Plan(NamedTuple):
    """What a response is made of; two of the same plan are the same."""

    status: int
    body: str
    size: int
    chunked: bool
    compression: str | None
    fields: tuple[tuple[str, str], ...]
    cookie: bool

    @property
    def data(self) -> bytes:
        """The bytes of the body."""
        return (TEXT * (self.size // len(TEXT) + 1))[: self.size].encode()

    def make(self) -> web.Response:
        """Return the response."""
        response = web.Response(status=self.status, headers=self.fields, **self._content())
        if self.chunked:
            response.enable_chunked_encoding()
        if self.compression == "asked":
            response.enable_compression()
        elif self.compression is not None:
            response.enable_compression(web.ContentCoding(self.compression))
        if self.cookie:
            response.set_cookie("a", "b")
        return response

    def _content(self) -> dict[str, object]:
        data = self.data
        match self.body:
            case "none":
                return {}
            case "text":
                return {"text": data.decode()}
            case "bytes":
                return {"body": data}
            case "memoryview":
                return {"body": memoryview(data)}
            case "generator":
                return {"body": pieces(data)}
            case "file":
                return {"body": io.BytesIO(data)}
            case _:
                writer = structweb.MultipartWriter(boundary="B")
                writer.append(data)
                return {"body": writer}


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Give the data in pieces, an empty one among them."""
    yield b""
    for start in range(0, len(data), 7000):
        yield data[start : start + 7000]


def planned(seed: int) -> Plan:
    random = Random(seed)
    fields = [
        ("Content-Type", "a/b"),
        ("ETag", '"x"'),
        ("Vary", "Cookie"),
        ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("X-A", "\u00fc"),
    ]
    return Plan(
        random.choice([200, 200, 200, 201, 204, 205, 206, 304, 404, 500]),
        random.choice(["none", "text", "bytes", "memoryview", "generator", "file", "multipart"]),
        random.choice([0, 0, 1, 10, 4096, 5000, 65536, 70_000]),
        random.random() < 0.2,
        random.choice([None, None, "asked", "gzip", "deflate", "identity"]),
        tuple(field for field in fields if random.random() < 0.25),
        random.random() < 0.2,
    )


class Sent(NamedTuple):
    """An answer as a client sees it."""

    status: int
    #: All but what tells the length.
    fields: list[tuple[str, str]]
    length: str | None
    body: bytes


def sent(data: bytes, method: str) -> Sent:
    """Return the first of the two answers; complain if the second one is not whole behind it."""
    client = h11.Connection(h11.CLIENT)
    answers = []
    client.receive_data(data)
    client.receive_data(b"")
    for each in (method, "GET"):
        client.send(h11.Request(method=each, target="/", headers=[("Host", "test")]))
        client.send(h11.EndOfMessage())
        head = client.next_event()
        assert isinstance(head, h11.Response), (head, data)
        fields = [(name.decode(), value.decode()) for name, value in head.headers.raw_items()]
        parts = []
        while isinstance(event := client.next_event(), h11.Data):
            parts.append(bytes(event.data))
        assert isinstance(event, h11.EndOfMessage), event
        told = {name.lower(): value for name, value in fields}
        rest = sorted(
            field
            for field in fields
            if field[0].lower() not in ("content-length", "transfer-encoding", "date", "server")
        )
        body = b"".join(parts)
        coding = told.get("content-encoding")
        answers.append(Sent(head.status_code, rest, told.get("content-length"), DECODE[coding](body) if body else body))
        if each is method and len(answers) == 1:
            client.start_next_cycle()
    assert answers[1].body == b"the next one", answers
    return answers[0]


def ways() -> Iterator[tuple[str, bool, bool]]:
    """Return all ways: the method, whether the handler sends it itself, and whether there is a receiver."""
    for method in ("GET", "HEAD"):
        for prepared in (False, True):
            for hooked in (False, True):
                yield method, prepared, hooked


@pytest.mark.parametrize("seed", range(40))
async def test_all_ways_of_sending_a_response_come_to_the_same(seed: int, express: bool) -> None:
    plan = planned(seed)
    answers = {way: await asked(plan, *way, express=express) for way in ways()}
    answer = answers["GET", False, False]
    bodiless = plan.status in (204, 304)
    for (method, *_), other in answers.items():
        assert (other.status, other.fields) == (plan.status, answer.fields), plan
        if method == "GET":
            assert other == answer, plan
        else:
            assert other.body == b"", plan
            assert other.length in (answer.length, None), plan
    if bodiless or plan.body == "none":
        assert answer.body == b""
    elif plan.body != "multipart":
        assert answer.body == plan.data, plan


async def asked(plan: Plan, method: str, prepared: bool, hooked: bool, *, express: bool) -> Sent:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/next":
            return web.Response(text="the next one")
        response = plan.make()
        if prepared:
            await response.prepare(request)
            await response.write_eof()
        return response

    async def receiver(request: web.Request, response: web.StreamResponse) -> None:
        pass

    app = app_of(handler)
    if hooked:
        app.on_response_prepare.append(receiver)
    first = f"{method} / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n"
    second = "GET /next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    return sent(await talk(app, (first + second).encode(), express=express), method)
