"""Bodies of requests as streams (W-052, W-056, W-090..W-092, W-096, X-18)."""

import pickle
from itertools import accumulate
from random import Random

import anyio
import pytest

from structweb._web.content import (
    EMPTY_PAYLOAD,
    IncompleteReadError,
    LineTooLong,
    PayloadAccessError,
    RequestPayloadError,
)
from structweb._web.response import Response
from structweb._web.streaming import StreamResponse
from tests.web.served import serving
from tests.web.talk import app_of, ask, in_chunks, parse, request_bytes, talk

pytestmark = pytest.mark.anyio


async def looked_at(look, body=b"", *, pieces=None, plain=False):
    """Return what `look` makes of the stream of a request with `body`, or with `pieces` as chunks.

    `plain` ones may come together.
    """
    found = []

    async def handler(request):
        found.append(await look(request.content))
        return Response()

    if pieces is None:
        sent = request_bytes(method="POST", body=body)
    else:
        chunks = in_chunks(pieces)
        if plain:
            chunks = chunks.replace(b";alone", b"")
        sent = request_bytes("/", "Transfer-Encoding: chunked", method="POST") + chunks
    assert parse(await talk(handler, sent)).status == 200
    return found[0]


# -- W-090: reading ------------------------------------------------------------------------------------------------


async def test_no_body_is_a_stream_at_its_end():
    async def look(content):
        assert content.is_eof()
        assert content.at_eof()
        assert content.exception() is None
        assert content is EMPTY_PAYLOAD
        assert content.get_read_buffer_limits() == (0, 0)
        assert repr(content) == "<EmptyStreamReader 0 bytes received, eof>"
        assert await content.read() == b""
        assert await content.read(5) == b""
        assert await content.readany() == b""
        assert await content.readline() == b""
        assert await content.readchunk() == (b"", False)
        assert content.read_nowait() == b""
        await content.wait_eof()
        await content.drop()
        with pytest.raises(IncompleteReadError, match="expected 1 bytes, the body ended after 0"):
            await content.readexactly(1)
        return [line async for line in content]

    assert await looked_at(look) == []


@pytest.mark.parametrize("fields", [(), ("Content-Encoding: gzip",)])
async def test_read_buffer_limits_are_the_settings(fields):
    async def handler(request):
        return Response(text=repr(request.content.get_read_buffer_limits()))

    sent = request_bytes("/", *fields, method="POST", body=b"x")
    assert parse(await talk(handler, sent)).body == b"(65536, 131072)"
    assert parse(await talk(handler, sent, read_bufsize=1000)).body == b"(1000, 2000)"


async def test_read():
    async def look(content):
        assert not content.at_eof()
        assert await content.read(0) == b""
        assert await content.read(2) == b"ab"
        assert "4 bytes buffered" in repr(content)
        assert await content.read(3) == b"cde"
        assert await content.readany() == b"f"
        assert content.at_eof()
        assert await content.read(1) == b""
        assert content.total_bytes == content.total_raw_bytes == 6
        return True

    assert await looked_at(look, b"abcdef")


async def test_read_everything():
    async def look(content):
        return await content.read(1), await content.read(), await content.read()

    assert await looked_at(look, pieces=[b"ab", b"c", b"def"]) == (b"a", b"bcdef", b"")


async def test_readexactly():
    async def look(content):
        assert await content.readexactly(0) == b""
        assert await content.readexactly(3) == b"abc"
        with pytest.raises(IncompleteReadError) as caught:
            await content.readexactly(4)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made here
        assert isinstance(again, EOFError)
        return again.partial, again.expected

    assert await looked_at(look, pieces=[b"ab", b"cd", b"ef"]) == (b"def", 4)


async def test_readline():
    async def look(content):
        return [await content.readline() for _ in range(5)]

    lines = [b"one\n", b"\n", b"three\n", b"rest", b""]
    assert await looked_at(look, b"one\n\nthree\nrest") == lines
    assert await looked_at(look, pieces=[b"on", b"e\n\nthr", b"ee", b"\nre", b"st"]) == lines


async def test_readuntil_finds_a_separator_that_arrives_in_parts():
    async def look(content):
        with pytest.raises(ValueError, match="at least one byte"):
            await content.readuntil(b"")
        return await content.readuntil(b"--x"), await content.readuntil(b"--x"), await content.readuntil(b"--x")

    assert await looked_at(look, pieces=[b"ab-", b"-", b"-", b"-xcd--", b"y-", b"-xrest"]) == (
        b"ab----x",
        b"cd--y--x",
        b"rest",
    )


async def test_long_line():
    async def look(content):
        assert await content.readline(max_line_length=4) == b"abc\n"
        with pytest.raises(LineTooLong, match="within 4 bytes, got b'abcde'") as caught:
            await content.readline(max_line_length=4)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made here
        assert isinstance(again, ValueError)
        assert (again.start, again.limit) == (b"abcde", 4)
        return await content.readline()

    assert await looked_at(look, b"abc\nabcdef\n") == b"f\n"


async def test_lines_have_a_limit_of_their_own():
    async def look(content):
        with pytest.raises(LineTooLong, match="within 262144 bytes"):
            await content.readline()
        return True

    assert await looked_at(look, b"x" * 300_000)


async def test_read_nowait_returns_what_is_there():
    async def look(content):
        assert content.read_nowait() == b""
        first = await content.read(1)
        return first, content.read_nowait(1), content.read_nowait(), content.read_nowait()

    assert await looked_at(look, b"abcd") == (b"a", b"b", b"cd", b"")


async def test_wait_eof_keeps_the_body():
    async def look(content):
        assert await content.read(1) == b"a"
        await content.wait_eof()
        assert content.is_eof()
        assert not content.at_eof()
        return content.read_nowait(), content.at_eof()

    assert await looked_at(look, pieces=[b"ab", b"c"]) == (b"bc", True)


# -- W-091: iterating ----------------------------------------------------------------------------------------------


async def test_iterations():
    async def lines(content):
        return [line async for line in content]

    async def chunked(content):
        with pytest.raises(ValueError, match="at least one byte"):
            content.iter_chunked(0)
        return [piece async for piece in content.iter_chunked(2)]

    async def anything(content):
        return b"".join([piece async for piece in content.iter_any()])

    async def chunks(content):
        return b"".join([piece async for piece, _ in content.iter_chunks()])

    async def marked(content):
        return await content.read(1), [chunk async for chunk in content.iter_chunks()]

    for plain in (False, True):
        found = await looked_at(marked, pieces=[b"ab", b"cd"], plain=plain)
        assert found == (b"a", [(b"b", True), (b"cd", True)])
    assert await looked_at(lines, b"a\nb\nc") == [b"a\n", b"b\n", b"c"]
    assert await looked_at(chunked, b"abcde") == [b"ab", b"cd", b"e"]
    assert await looked_at(anything, b"a\nb\nc") == b"a\nb\nc"
    assert await looked_at(chunks, b"a\nb\nc") == b"a\nb\nc"


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("seed", range(20))
async def test_readchunk_ends_where_a_chunk_ends_whatever_was_read_before(seed, plain):
    random = Random(seed)
    pieces = [random.randbytes(random.choice([1, 2, 7, 300, 5000])) for _ in range(150)]
    body, ends = b"".join(pieces), set(accumulate(map(len, pieces)))

    async def look(content):
        at = 0
        while not content.at_eof():
            match random.randrange(4):
                case 0:
                    read = await content.read(random.choice([1, 3, 500]))
                case 1:
                    read = await content.readuntil(b"\x07\x08", max_size=len(body))
                case 2:
                    read = await content.readexactly(min(random.choice([1, 40]), len(body) - at))
                case _:
                    read, ended = await content.readchunk()
                    end = min((end for end in ends if end > at), default=at)
                    assert at + len(read) <= end
                    assert ended is (at < at + len(read) == end)  # not all of it may have arrived
            assert body[at:].startswith(read)
            at += len(read)
        return at

    assert await looked_at(look, pieces=pieces, plain=plain) == len(body)


async def test_one_task_reads_at_a_time():
    async def handler(request):
        async with anyio.create_task_group() as group:
            group.start_soon(request.content.read, 1)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="by another task"):
                await request.content.readany()
            with pytest.raises(RuntimeError, match="by another task"):
                request.content.read_nowait()
            group.cancel_scope.cancel()
        return Response(body=await request.read())

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 3", method="POST"))
        await anyio.sleep(1)
        await connection.stream.send(b"abc")
        assert (await connection.answer()).body == b"abc"


@pytest.mark.parametrize(
    "read",
    [
        lambda content: content.readexactly(4),
        lambda content: content.readline(),
        lambda content: content.read(),
        lambda content: content.wait_eof(),
    ],
)
async def test_cancelled_read_loses_nothing(read):
    async def handler(request):
        with anyio.move_on_after(1) as scope:
            await read(request.content)
        assert scope.cancelled_caught
        return Response(body=await request.read())

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 4", method="POST") + b"ab")
        await anyio.sleep(2)
        await connection.stream.send(b"cd")
        assert (await connection.answer()).body == b"abcd"


# -- W-056: what may go wrong --------------------------------------------------------------------------------------


async def test_malformed_body():
    async def handler(request):
        with pytest.raises(RequestPayloadError) as caught:
            await request.read()
        assert request.content.exception() is caught.value
        with pytest.raises(RequestPayloadError):
            await request.content.readany()
        raise caught.value

    sent = request_bytes("/", "Transfer-Encoding: chunked", method="POST") + b"nonsense\r\n"
    reply = parse(await talk(handler, sent))
    assert reply.status == 400
    assert b"chunk" in reply.body


async def test_stalled_body_is_408():
    async def handler(request):
        return Response(body=await request.read())

    async with serving(app_of(handler), body_timeout=5.0) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 3", method="POST") + b"a")
        assert (await connection.answer()).status == 408


async def test_client_that_leaves():
    failed = []

    async def handler(request):
        with pytest.raises(ConnectionResetError) as caught:
            await request.read()
        failed.append(request.content.exception() is caught.value)
        raise caught.value

    async with serving(app_of(handler), disconnect="finish") as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 3", method="POST") + b"a")
        await anyio.sleep(1)
        connection.stream.close()
        await anyio.sleep(1)
    assert failed == [True]


async def test_after_the_response_there_is_nothing_to_read():
    kept = []

    async def handler(request):
        kept.append((request, request.content))
        return Response()

    await ask(handler, method="POST", body=b"abc")
    request, content = kept[0]
    with pytest.raises(PayloadAccessError, match="before its response"):
        await content.readany()
    with pytest.raises(PayloadAccessError):
        content.read_nowait()
    with pytest.raises(PayloadAccessError):
        await request.read()


async def test_what_was_read_before_stays():
    kept = []

    async def handler(request):
        kept.append(request)
        await request.read()
        return Response()

    await ask(handler, method="POST", body=b"abc")
    assert await kept[0].read() == b"abc"
    assert await kept[0].content.read() == b""


# -- W-092, W-096: large bodies ------------------------------------------------------------------------------------


async def test_body_that_is_not_read_holds_the_client_back():
    go_on = anyio.Event()

    async def handler(request):
        await go_on.wait()
        total = 0
        async for piece in request.content.iter_any():
            total += len(piece)
            assert len(piece) <= 2**18
        return Response(text=str(total))

    size = 4_000_000
    async with serving(app_of(handler)) as served, anyio.create_task_group() as group:
        connection = served.connect()
        sent = anyio.Event()

        async def send():
            await connection.stream.send(request_bytes("/", f"Content-Length: {size}", method="POST"))
            await connection.stream.send(b"x" * size)
            sent.set()

        group.start_soon(send)
        await anyio.sleep(10)
        assert not sent.is_set()
        go_on.set()
        assert (await connection.answer()).text == str(size)


async def test_echo_while_uploading():
    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece.upper())
        await response.write_eof()
        return response

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/", "Content-Length: 6", method="POST") + b"abc")
        await connection.stream.receive_until(b"\r\n\r\n")
        assert await connection.stream.receive_until(b"ABC\r\n") == b"3\r\nABC\r\n"
        await connection.stream.send(b"def")
        assert await connection.rest() == b"3\r\nDEF\r\n0\r\n\r\n"
