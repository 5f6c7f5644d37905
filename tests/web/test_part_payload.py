"""A part that is received as the body of a response, or as a part of one: sent on as it arrives (W-075)."""

import base64
import gzip
import tracemalloc

import anyio
import pytest

from structweb import MultipartWriter, web
from tests.web.served import get, serving
from tests.web.talk import app_of, parse, talk

pytestmark = pytest.mark.anyio

FORM = "Content-Type: multipart/form-data; boundary=B"
MIXED = "Content-Type: multipart/mixed; boundary=B"
FILE = ('Content-Disposition: form-data; name="a"; filename="b.txt"', "Content-Type: text/plain")


async def echo(request):
    return web.Response(body=await (await request.multipart()).next())


def body_of(data: bytes, *fields: str) -> bytes:
    """Return a multipart body of one part."""
    return b"--B\r\n" + "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n" + data + b"\r\n--B--\r\n"


async def echoed(data: bytes, *fields: str, content_type: str = MIXED):
    """Return what comes back for a part."""
    return parse(
        await talk(echo, get("/", content_type, "Connection: close", method="POST", body=body_of(data, *fields)))
    )


async def test_it_comes_back_in_chunks_with_its_name():
    reply = await echoed(b"hello", *FILE, content_type=FORM)
    assert (reply.status, reply.body) == (200, b"hello")
    # As aiohttp: the type is the handler's to say, the length cannot be known.
    assert reply.get("Content-Type") == "application/octet-stream"
    assert reply.get("Content-Disposition") == 'attachment; name="a"; filename="b.txt"'
    assert reply.get("Transfer-Encoding") == "chunked"
    assert reply.get("Content-Length") is None


async def test_it_is_decoded():
    assert (await echoed(base64.b64encode(b"hello"), "Content-Transfer-Encoding: base64")).body == b"hello"
    assert (await echoed(gzip.compress(b"hello" * 9999), "Content-Encoding: gzip")).body == b"hello" * 9999


async def test_it_may_be_a_part_of_the_answer():
    async def forward(request):
        with MultipartWriter("mixed", boundary="C") as writer:
            writer.append(await (await request.multipart()).next())
        return web.Response(body=writer)

    sent = get("/", FORM, "Connection: close", method="POST", body=body_of(b"hello", *FILE))
    reply = parse(await talk(forward, sent))
    assert reply.get("Content-Type") == "multipart/mixed; boundary=C"
    assert reply.body.startswith(b"--C\r\n")
    assert b'filename="b.txt"\r\n\r\nhello\r\n--C--' in reply.body


async def test_what_arrives_is_sent_on_before_the_rest_arrives_and_nothing_is_kept():
    piece, count = b"x" * 2**16, 128
    async with serving(app_of(echo)) as served:
        connection = served.connect()
        await connection.stream.send(get("/", MIXED, "Transfer-Encoding: chunked", method="POST"))
        await connection.stream.send(b"5\r\n--B\r\n\r\n2\r\n\r\n\r\n")
        tracemalloc.start()
        try:
            received = 0
            for number in range(count):
                await connection.stream.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                if number == 0:
                    await connection.stream.receive_until(b"\r\n\r\n")  # its head is here, and the upload goes on
                while received < number * len(piece):
                    received += len(await connection.stream.receive())
            assert tracemalloc.get_traced_memory()[1] < 2**20  # of 8 MiB
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "fields"),
    [(gzip.compress(b"hello" * 10_000, mtime=0)[:-5], ["Content-Encoding: gzip"]), (b"hello", ["Content-Length: 99"])],
)
async def test_a_part_that_is_cut_is_an_answer_that_is_cut(data, fields):
    sent = get("/", MIXED, method="POST", body=body_of(data, *fields))
    answer = await talk(echo, sent)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_client_that_leaves_in_the_middle_ends_it():
    ended = anyio.Event()

    async def watched(request):
        part = await (await request.multipart()).next()
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await web.Response(body=part).body.write(response)
        finally:
            ended.set()
        return response

    async with serving(app_of(watched)) as served:
        connection = served.connect()
        await connection.stream.send(get("/", MIXED, "Content-Length: 1000", method="POST") + b"--B\r\n\r\nhello")
        await connection.stream.receive_until(b"\r\n\r\n")
        await connection.stream.aclose()
        with anyio.fail_after(5):
            await ended.wait()
