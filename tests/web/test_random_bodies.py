"""Bodies, whatever happens while they are read: bytes in are bytes seen, and everything ends."""

from random import Random

import anyio
import pytest
from anyio import fail_after
from anyio.abc import ByteSendStream

from structweb import web
from tests.web.served import serving
from tests.web.talk import app_of

pytestmark = pytest.mark.anyio


def chunked(random: Random, data: bytes) -> bytes:
    """Return `data` in chunks of random sizes, of which only the plain ones come together."""
    sent, start = [], 0
    while start < len(data):
        piece = data[start : start + random.choice([1, 1, 2, 3, 100, 5000])]
        sent.append(b"%x%b\r\n%b\r\n" % (len(piece), random.choice([b"", b"", b"", b";a"]), piece))
        start += len(piece)
    return b"".join([*sent, b"0\r\n\r\n"])


def message(random: Random, data: bytes) -> bytes:
    """Return a request with `data` for its body."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    if random.random() < 0.5:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(random, data)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(data), data)


async def send_in_pieces(random: Random, stream: ByteSendStream, data: bytes) -> None:
    start = 0
    while start < len(data):
        size = random.choice([1, 7, 1000, 65535, 65536])
        await stream.send(data[start : start + size])
        start += size
        await anyio.sleep(random.choice([0, 0, 0.3]))


@pytest.mark.parametrize("seed", range(20))
async def test_cancelled_reads_lose_and_double_nothing(seed: int) -> None:
    """Pipelined requests in pieces of any size; each read may be cancelled, and may run in a task of its own."""
    random = Random(seed)
    bodies = [random.randbytes(random.choice([1, 10, 3000, 65536])) for _ in range(6)]
    seen: list[bytes] = []

    async def read(request: web.Request, came: bytearray) -> None:
        content = request.content
        way = random.randrange(4)
        if way == 0:
            came += await content.readany()
        elif way == 1:
            came += await content.read(random.choice([1, 100, 100_000]))
        elif way == 2:
            came += (await content.readchunk())[0]
        else:
            came += await content.readuntil(b"\x07")

    async def handler(request: web.Request) -> web.Response:
        came = bytearray()
        while not request.content.at_eof():
            with anyio.move_on_after(random.choice([0, 0.1, 1, 10])):
                if random.random() < 0.5:
                    await read(request, came)
                else:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(read, request, came)
            if random.random() < 0.1:
                await anyio.sleep(1)  # and the watcher reads ahead
        seen.append(bytes(came))
        return web.Response()

    async with serving(app_of(handler)) as served:
        connection = served.connect()
        data = b"".join([message(random, body) for body in bodies])
        with fail_after(10_000):
            await send_in_pieces(random, connection.stream, data)
            while len(seen) < len(bodies):  # noqa: ASYNC110 - time is virtual
                await anyio.sleep(1)
    assert seen == bodies
