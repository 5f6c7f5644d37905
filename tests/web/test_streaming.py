"""Responses written piece by piece (W-057..W-059, W-065..W-068, W-071, W-074, W-093, W-094)."""

import logging

import anyio
import pytest

from structweb._web.payload import Payload
from structweb._web.response import Response
from structweb._web.streaming import StreamResponse
from tests.web.served import serving
from tests.web.talk import app_of, ask, parse, request_bytes, talk

pytestmark = pytest.mark.anyio


def streamer(*pieces, **options):
    """Return a handler that writes `pieces`."""

    async def handler(request):
        response = StreamResponse(**options)
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    return handler


# -- W-059, W-065: writing -----------------------------------------------------------------------------------------


async def test_pieces_are_chunks():
    handler = streamer(
        b"one", bytearray(b"two"), memoryview(b"three"), memoryview(b"a-b-")[::2], b"", headers={"A": "b"}
    )
    data = await talk(handler, request_bytes())
    assert data.partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n2\r\nab\r\n0\r\n\r\n"
    reply = parse(data)
    assert (reply.get("Transfer-Encoding"), reply.get("Content-Length"), reply.get("A")) == ("chunked", None, "b")
    assert reply.get("Content-Type") == "application/octet-stream"


async def test_memory_of_other_items_counts_bytes():
    numbers = memoryview(bytes(8)).cast("I")
    assert (await ask(streamer(numbers, headers={"Content-Length": "8"}))).body == bytes(8)


async def test_returned_unprepared_it_is_sent_empty():
    async def handler(request):
        return StreamResponse(status=201)

    assert (await ask(handler))[:2] == (201, "Created")


async def test_returned_unfinished_it_is_ended():
    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        return response

    assert (await ask(handler)).body == b"x"


async def test_last_piece_at_the_end():
    async def handler(request):
        response = StreamResponse()
        response.content_length = 5
        response.content_type = "text/plain"
        await response.prepare(request)
        await response.write_eof(b"hello")
        return response

    reply = await ask(handler)
    assert (reply.body, reply.get("Content-Length"), reply.get("Content-Type")) == (b"hello", "5", "text/plain")


async def test_to_http_1_0_the_connection_ends_the_body():
    data = await talk(streamer(b"one", b"two"), b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert b"Transfer-Encoding" not in head
    assert b"keep-alive" not in head


async def test_chunks_are_not_for_http_1_0():
    async def handler(request):
        response = StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        return response

    assert (await ask(handler, version="1.0")).status == 500
    assert (await ask(handler)).get("Transfer-Encoding") == "chunked"


async def test_wrong_order_and_wrong_types():
    async def handler(request):
        response = StreamResponse()
        with pytest.raises(RuntimeError, match="must come after prepare"):
            await response.write(b"x")
        with pytest.raises(RuntimeError, match="must come after prepare"):
            await response.write_eof()
        await response.prepare(request)
        for bad in ("text", None, [b"x"]):
            with pytest.raises(TypeError, match="takes bytes, bytearray or memoryview"):
                await response.write(bad)
            with pytest.raises(TypeError, match="takes bytes, bytearray or memoryview"):
                await response.write_eof(bad)
        with pytest.raises(RuntimeError, match="the status cannot be changed"):
            response.set_status(500)
        await response.write_eof(b"x")
        with pytest.raises(RuntimeError, match="before write_eof"):
            await response.write(b"x")
        await response.write_eof()
        return response

    assert (await ask(handler)).body == b"x"


async def test_response_of_another_request():
    kept = []

    async def handler(request):
        if kept:
            with pytest.raises(RuntimeError, match="belongs to another request"):
                await kept[0].prepare(request)
            return Response(text="new")
        kept.append(StreamResponse())
        await kept[0].prepare(request)
        return kept[0]

    sent = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" + request_bytes()
    assert (await talk(handler, sent)).endswith(b"new")


async def test_force_close_before_it_streams():
    async def handler(request):
        response = StreamResponse()
        response.force_close()
        await response.prepare(request)
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in await connection.rest()


async def test_server_without_a_name():
    async with serving(app_of(streamer(b"x", headers={"Date": "today"})), server_header=None) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        reply = parse(await connection.rest())
    assert (reply.get("Server"), reply.get("Date")) == (None, "today")


async def test_force_close_while_it_streams():
    async def handler(request):
        response = StreamResponse(headers={"Content-Length": "0"})
        await response.prepare(request)
        assert response.keep_alive
        response.force_close()
        assert response.keep_alive is False
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.ask("/")
        assert await connection.rest() == b""


# -- W-066, W-067: no body where none may be -----------------------------------------------------------------------


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_bytes_are_swallowed(method, status, chunked):
    async def handler(request):
        if request.path == "/next":
            return Response(text="next")
        response = StreamResponse(status=status)
        if chunked:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"hello")
        await response.write_eof(b"world")
        return response

    sent = f"{method} / HTTP/1.1\r\nHost: test\r\n\r\n".encode() + request_bytes("/next")
    first, second = (await talk(handler, sent)).split(b"HTTP/1.1 ")[1:]
    head, _, body = first.partition(b"\r\n\r\n")
    assert body == b""
    assert b"Transfer-Encoding" not in head
    assert b"Content-Length" not in head
    assert second.endswith(b"\r\n\r\nnext")


async def test_head_keeps_a_length():
    assert (await ask(streamer(b"hello", headers={"Content-Length": "5"}), method="HEAD")).get("Content-Length") == "5"


# -- W-068: declared lengths ---------------------------------------------------------------------------------------


async def test_short_body_closes_the_connection(caplog):
    sent = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" + request_bytes()
    data = await talk(streamer(b"abc", headers={"Content-Length": "5"}), sent)
    assert data.count(b"HTTP/1.1 200 OK") == 1
    assert data.endswith(b"abc")
    assert any("2 bytes before its Content-Length" in record.getMessage() for record in caplog.records)


async def test_long_body_raises(caplog):
    async def handler(request):
        response = StreamResponse(headers={"Content-Length": "5"})
        await response.prepare(request)
        await response.write(b"abc")
        with pytest.raises(ValueError, match="Content-Length leaves 2"):
            await response.write(b"def")
        await response.write(b"de")
        return response

    assert (await ask(handler)).body == b"abcde"


# -- W-074: async iterables ----------------------------------------------------------------------------------------


async def test_async_generator_as_body():
    ended = []

    async def pieces(count):
        try:
            for number in range(count):
                yield b"%d" % number
        finally:
            ended.append(count)

    reply = await ask(lambda request: Response(body=pieces(3), headers={"A": "b"}))
    assert (reply.body, reply.get("Transfer-Encoding"), reply.get("A")) == (b"012", "chunked", "b")
    assert reply.get("Content-Type") == "application/octet-stream"
    reply = await ask(lambda request: Response(body=pieces(2), content_type="text/csv"))
    assert (reply.body, reply.get("Content-Type")) == (b"01", "text/csv")
    assert ended == [3, 2]
    response = Response(body=pieces(1))
    assert response.content_length is None
    with pytest.raises(RuntimeError, match="must come after prepare"):
        await response.write_eof()
    with pytest.raises(TypeError, match="writes itself"):
        response.text  # noqa: B018 - a property
    await response.body.close()


async def test_payload_of_ones_own():
    closed = []

    class Spelled(Payload):
        content_type = "text/x"
        headers = {"A": "payload", "B": "payload"}  # noqa: RUF012 - never changed

        def __init__(self, text, size):
            self.text = text
            self.length = size

        @property
        def size(self):
            return self.length

        async def write(self, writer):
            for letter in self.text:
                await writer.write(letter.encode())

        async def close(self):
            closed.append(self.text)

    reply = await ask(lambda request: Response(body=Spelled("abc", 3), headers={"A": "own"}))
    assert (reply.body, reply.get("Content-Length"), reply.get("Content-Type")) == (b"abc", "3", "text/x")
    assert (reply.get("A"), reply.get("B")) == ("own", "payload")
    reply = await ask(lambda request: Response(body=Spelled("abc", None)), version="1.0")
    assert (reply.body, reply.get("Content-Length")) == (b"abc", None)
    assert set(closed) == {"abc"}
    # Closed, too, if nothing can be sent.
    assert (await ask(lambda request: Response(body=Spelled("d", 1), headers={"A": "\0"}))).status == 500
    assert "d" in closed


async def test_body_of_a_request_as_body_of_the_response():
    reply = await ask(lambda request: Response(body=request.content.iter_any()), method="POST", body=b"echo" * 100_000)
    assert reply.body == b"echo" * 100_000


async def test_async_generator_is_closed_when_it_is_of_no_use():
    ended = []

    async def pieces(bad):
        try:
            while True:
                yield "text" if bad else b"x" * 10_000
                await anyio.sleep(1)
        finally:
            ended.append(bad)

    # Of a wrong type: the answer has begun, so the connection is cut.
    assert (await talk(lambda request: Response(body=pieces(bad=True)), request_bytes())).endswith(b"\r\n\r\n")
    assert ended == [True]
    # The client leaves.
    async with serving(app_of(lambda request: Response(body=pieces(bad=False)))) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await connection.stream.receive_until(b"\r\n\r\n")
        connection.stream.close()
        await anyio.sleep(5)
    assert ended == [True, False]
    # Nobody asked for the body.
    await ask(lambda request: Response(body=pieces(bad=False)), method="HEAD")


# -- W-093, W-094: slow clients and clients that leave -------------------------------------------------------------


async def test_slow_client_holds_the_handler_back():
    written = []

    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)
            written.append(10_000)

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await anyio.sleep(30)
        assert 0 < sum(written) < 1_000_000
        at_first = sum(written)
        await connection.stream.receive_exactly(500_000)
        await anyio.sleep(1)
        assert 300_000 < sum(written) - at_first < 1_000_000


async def test_writing_to_a_client_that_left(caplog):
    errors = []

    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await anyio.sleep(1)
        except ConnectionResetError as error:
            errors.append(error)
            raise

    caplog.set_level(logging.DEBUG)
    async with serving(app_of(handler), disconnect="finish") as served:
        connection = served.connect()
        await connection.stream.send(request_bytes())
        await connection.stream.receive_until(b"\r\n\r\n")
        connection.stream.close()
        await anyio.sleep(5)
    assert len(errors) == 1
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
