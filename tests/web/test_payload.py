"""Bodies that write themselves, and their registry (W-072, W-074, W-075, W-077, W-078)."""

import io
import json
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import anyio
import pytest
from multidict import MultiDict

import structweb
from structweb import web
from structweb._web.payload import PayloadRegistry, as_payload
from tests.web.served import serving
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = pytest.mark.anyio


class Collected:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, data: bytes, /) -> None:
        self.pieces.append(bytes(data))

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


async def written(payload: structweb.Payload, length: int | None = None) -> bytes:
    writer = Collected()
    await payload.write_with_length(writer, length)
    return writer.data


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[PayloadRegistry]:
    """The registry, as it was again afterwards."""
    kept = {order: list(known) for order, known in structweb.PAYLOAD_REGISTRY._registrations.items()}
    yield structweb.PAYLOAD_REGISTRY
    structweb.PAYLOAD_REGISTRY._registrations.update(kept)


# -- W-072: what is in memory --------------------------------------------------------------------------------------


def positioned(file, position: int):
    file.seek(position)
    return file


OCTETS = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("make", "body", "content_type"),
    [
        (lambda: b"bytes", b"bytes", OCTETS),
        (lambda: bytearray(b"bytes"), b"bytes", OCTETS),
        (lambda: memoryview(b"bytes"), b"bytes", OCTETS),
        (lambda: memoryview(b"b-y-t-e-s")[::2], b"bytes", OCTETS),
        (lambda: "text\u00e9", b"text\xc3\xa9", TEXT),
        (lambda: io.BytesIO(b"bytes"), b"bytes", OCTETS),
        (lambda: positioned(io.BytesIO(b"bytes"), 2), b"tes", OCTETS),
        (lambda: positioned(io.BytesIO(b"bytes"), 9), b"", OCTETS),
        (lambda: io.BytesIO(b"x" * 600_000), b"x" * 600_000, OCTETS),
        (lambda: io.StringIO("text\u00e9"), b"text\xc3\xa9", TEXT),
        (lambda: positioned(io.StringIO("text"), 1), b"ext", TEXT),
    ],
)
async def test_what_is_in_memory_goes_with_its_length(make, body: bytes, content_type: str):
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=make())

    reply = await ask(handler)
    assert (reply.status, reply.body, reply.get("Content-Length")) == (200, body, str(len(body)))
    if body:
        assert reply.get("Content-Type") == content_type
    head = await ask(handler, method="HEAD")
    assert (head.body, head.get("Content-Length") or "0") == (b"", str(len(body)))


async def test_a_type_of_ones_own_counts():
    def handler(request: web.Request) -> web.Response:
        return web.Response(body=io.BytesIO(b"{}"), content_type="application/json", headers={"A": "b"})

    reply = await ask(handler)
    assert (reply.get("Content-Type"), reply.get("A"), reply.body) == ("application/json", "b", b"{}")


def test_many_raw_bytes_are_warned_of():
    for make in (structweb.BytesPayload, lambda value: structweb.get_payload(bytearray(value))):
        with pytest.warns(ResourceWarning, match="1048577 bytes is held in memory"):
            make(b"x" * (2**20 + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        structweb.BytesPayload(b"x" * 2**20)


# -- W-074, W-075: streams -----------------------------------------------------------------------------------------


async def test_the_body_of_a_request_can_be_sent_back():
    def handler(request: web.Request) -> web.Response:
        return web.Response(body=request.content, content_type=request.content_type)

    sent = request_bytes("/", "Content-Type: text/csv", method="POST", body=b"a,b" * 50_000)
    reply = parse(await talk(handler, sent), "POST")
    assert (reply.body, reply.get("Content-Type")) == (b"a,b" * 50_000, "text/csv")
    assert reply.get("Transfer-Encoding") == "chunked"


async def test_a_generator_is_closed_when_the_client_leaves():
    closed = anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            closed.set()

    async with serving(app_of(lambda request: web.Response(body=pieces()))) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await connection.stream.receive_until(b"\r\n\r\n")
        connection.stream.close()
        with anyio.fail_after(5):
            await closed.wait()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_body_that_broke_off_is_not_ended(fails: bool):
    """Its handler gives up waiting, or passes over its error, and returns the response: a client must not take it for whole."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await anyio.sleep(10)
        if fails:
            raise LookupError
        yield b"two"

    async def handler(request: web.Request) -> web.Response:
        response = web.Response(body=pieces())
        await response.prepare(request)
        with anyio.move_on_after(5 if not fails else 20), suppress(LookupError):
            await response.write_eof()
        return response

    data = await talk(handler, request_bytes())
    assert data.endswith(b"\r\n\r\n3\r\none\r\n")


@pytest.mark.parametrize("piece", ["text", 1, None])
async def test_a_generator_is_closed_when_it_gives_nonsense(piece: object):
    closed = []

    async def pieces() -> AsyncIterator[object]:
        try:
            yield b"begin"
            yield piece
        finally:
            closed.append(piece)

    data = await talk(lambda request: web.Response(body=pieces()), request_bytes())
    assert data.startswith(b"HTTP/1.1 200")
    assert not data.endswith(b"0\r\n\r\n")
    assert closed == [piece]


@pytest.mark.parametrize("status", [200, 204])
async def test_a_generator_is_closed_though_no_body_is_sent(status: int):
    closed = []

    class Pieces:
        def __aiter__(self) -> "Pieces":
            return self

        async def __anext__(self) -> bytes:
            raise AssertionError("nobody asked")

        async def aclose(self) -> None:
            closed.append(status)

    reply = await ask(lambda request: web.Response(body=Pieces(), status=status), method="HEAD")
    assert (reply.status, reply.body, closed) == (status, b"", [status])


async def test_an_async_iterable_is_written_once_unless_it_was_kept():
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        yield b"thing"

    payload = structweb.get_payload(pieces())
    assert isinstance(payload, structweb.AsyncIterablePayload)
    with pytest.raises(TypeError, match="only after as_bytes"):
        payload.decode()
    assert not payload.consumed
    assert await written(payload) == b"something"
    assert payload.consumed
    assert (await written(payload), await payload.as_bytes()) == (b"", b"")

    payload = structweb.AsyncIterablePayload(pieces())
    assert await payload.as_bytes() == b"something"
    assert payload.decode() == "something"
    assert await written(payload) == await payload.as_bytes() == b"something"
    payload = structweb.AsyncIterablePayload(pieces())
    assert await written(payload, 6) == b"someth"
    with pytest.raises(TypeError, match="must be an async iterable, got list"):
        structweb.AsyncIterablePayload([])


# -- W-077: payload types ------------------------------------------------------------------------------------------


class Table:
    """Rows."""


async def test_types_of_ones_own(registry: PayloadRegistry):
    @structweb.payload_type(Table)
    class TablePayload(structweb.Payload):
        _default_content_type = "text/csv"

        def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
            return "a,b\nc,d\n"

        async def write(self, writer) -> None:
            await writer.write(self.decode().encode())

    reply = await ask(lambda request: web.Response(body=Table()))
    assert (reply.body, reply.get("Content-Type")) == (b"a,b\nc,d\n", "text/csv")
    payload = structweb.get_payload(Table(), filename="table.json", headers={"A": "b"}, encoding="ascii")
    assert isinstance(payload, TablePayload)
    assert dict(payload.headers) == {"Content-Type": "application/json", "A": "b"}
    assert (payload.filename, payload.encoding, payload.content_type) == ("table.json", "ascii", "application/json")
    assert (payload.size, payload.autoclose, payload.consumed) == (None, False, False)
    assert await payload.as_bytes() == b"a,b\nc,d\n"
    assert [await written(payload, length) for length in (None, 5, 0)] == [b"a,b\nc,d\n", b"a,b\nc", b""]
    payload.set_content_disposition("form-data", name="t", filename="a b")
    assert payload.headers["Content-Disposition"] == 'form-data; name="t"; filename="a%20b"'
    await payload.close()
    assert structweb.get_payload(payload) is payload


async def test_the_order_of_types(registry: PayloadRegistry):
    class First(structweb.BytesPayload):
        pass

    class Last(structweb.BytesPayload):
        pass

    structweb.register_payload(Last, bytes, order=structweb.Order.try_last)
    assert type(structweb.get_payload(b"")) is structweb.BytesPayload
    structweb.register_payload(First, (bytes, str), order=structweb.Order.try_first)
    assert type(structweb.get_payload(b"")) is First
    with pytest.raises(ValueError, match="order must be an Order, got 'first'"):
        structweb.register_payload(First, bytes, order="first")
    with pytest.raises(LookupError, match="no payload type is registered for Table"):
        structweb.get_payload(Table())


async def test_json_and_text():
    payload = structweb.JsonPayload({"a": "\u00e9"})
    assert (payload.content_type, json.loads(payload.decode())) == ("application/json", {"a": "\u00e9"})
    payload = structweb.JsonBytesPayload([1], lambda value: b"[1]", "application/x-json")
    assert (payload.content_type, await payload.as_bytes(), payload.size) == ("application/x-json", b"[1]", 3)
    payload = structweb.StringPayload("\u00e9", encoding="latin-1")
    assert (payload.content_type, await written(payload), payload.size) == ("text/plain; charset=latin-1", b"\xe9", 1)
    payload = structweb.StringPayload("\u00e9", content_type="text/html; charset=latin-1")
    assert (payload.encoding, await written(payload), payload.decode("latin-1")) == ("latin-1", b"\xe9", "\u00e9")
    assert await written(structweb.BytesPayload(memoryview(b"abc")), 2) == b"ab"
    with pytest.raises(TypeError, match="must be bytes, bytearray or memoryview, got str"):
        structweb.BytesPayload("text")
    reply = await ask(lambda request: web.Response(body=structweb.JsonPayload([1, 2])))
    assert (reply.body, reply.get("Content-Type")) == (b"[1, 2]", "application/json")


def test_a_payload_need_not_be_text():
    class Silent(structweb.Payload):
        async def write(self, writer) -> None:
            """Write nothing."""

    with pytest.raises(TypeError, match="Silent does not say how to decode it"):
        Silent(None).decode()


# -- S-56, S-57: what is no body ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [io.BytesIO(b"a file"), 1, None, b"bytes"])
@pytest.mark.parametrize("make", [web.Response, web.StreamResponse])
async def test_a_file_among_the_headers_is_a_clear_error(value: object, make, caplog: pytest.LogCaptureFixture):
    """S-56: any mapping or pairs of strings; something else is a TypeError that says so, and a 500."""
    headers = MultiDict({"CONTENT-DISPOSITION": value})
    assert (await ask(lambda request: make(headers=headers))).status == 500
    assert "header names and values must be str, got" in caplog.text
    assert "CONTENT-DISPOSITION" in caplog.text
    for given in (MultiDict({"A": "b"}), {"A": "b"}, [("A", "b")]):
        assert (await ask(lambda request, given=given: make(headers=given))).get("A") == "b"


def test_a_response_takes_keywords_only():
    """S-57: as aiohttp does."""
    with pytest.raises(TypeError, match="positional"):
        web.Response("OK")


# -- W-078: anything else ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [1, [b"x"], {"a": 1}, (piece for piece in [b"x"]), object()])
async def test_anything_else_is_a_mistake(body: object, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ValueError, match=f"Unsupported body type {type(body).__name__}: expected bytes"):
        as_payload(body)
    reply = await ask(lambda request: web.Response(body=body))
    assert reply.status == 500
    assert "Unsupported body type" in caplog.text
