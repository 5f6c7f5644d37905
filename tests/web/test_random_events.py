"""Event streams used at random by several tasks, for slow clients: events come whole, once and in order, and the end comes."""

import logging
from dataclasses import dataclass, field
from random import Random

import anyio
import pytest

from structweb import web
from structweb._wire.codings import ContentCoding
from structweb._wire.decoders import make_decoder
from structweb.testing import ClientEnd, memory_pipe
from tests.web.served import serving
from tests.web.talk import app_of, parse, request_bytes

pytestmark = pytest.mark.anyio


@dataclass
class Program:
    """A handler, made up as it goes."""

    seed: int
    random: Random = field(init=False)
    #: The data that tasks began to send, and the data of which they know that it was sent.
    begun: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    #: Whether the handler came out of the block as itself.
    ended: bool = False

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        random = self.random
        response = web.EventSourceResponse(ping_interval=random.choice((None, 0.5, 0.5, 3)))
        if random.random() < 0.3:
            response.enable_compression(ContentCoding.gzip)
        await response.prepare(request)
        async with response:
            async with anyio.create_task_group() as group:
                for name in "abc"[: random.randint(1, 3)]:
                    group.start_soon(self.send, response, name)
                if random.random() < 0.3:
                    await anyio.sleep(random.choice((0, 1, 3)))
                    response.stop_streaming()
            if random.random() < 0.8:
                await response.write_eof()
            await anyio.sleep(random.choice((0, 5, 20)))
        self.ended = True
        return response

    async def send(self, response: web.EventSourceResponse, name: str) -> None:
        """Send a few events, numbered; perhaps stop the stream then."""
        random = self.random
        for number in range(random.randint(0, 5)):
            data = f"{name}{number}" + "x" * random.choice((0, 10, 3000))
            self.begun.append(data)
            await response.send(data)
            self.sent.append(data)
            await anyio.sleep(random.choice((0, 0, 0.1, 1, 4)))
        if random.random() < 0.2:
            response.stop_streaming()


async def read_slowly(client: ClientEnd, random: Random) -> bytes:
    received = b""
    with anyio.fail_after(100_000):
        while True:
            if random.random() < 0.5:
                await anyio.sleep(random.choice((0.1, 4, 4)))
            try:
                received += await client.receive()
            except anyio.EndOfStream:
                return received


def events(received: bytes) -> list[str]:
    """Return the data of the events of an answer, which has to be whole."""
    reply = parse(received)
    body = reply.body
    if reply.get("Content-Encoding") is not None:
        decoder = make_decoder(ContentCoding.gzip)
        decoder.feed(body)
        body = b"".join(iter(lambda: decoder.take(2**16), b""))
        decoder.finish()
    assert body.endswith(b"\n\n") or not body
    blocks = body.decode().split("\n\n")[:-1]
    return [block.removeprefix("data: ") for block in blocks if block != ": ping" and not block.startswith("retry: ")]


@pytest.mark.parametrize("seed", range(60))
async def test_events_come_whole_and_in_order(seed: int, express: bool, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(seed)
    program = Program(random.randrange(1 << 30))
    async with (
        serving(app_of(program), express=express, min_rate=None, send_timeout=None) as served,
        anyio.create_task_group() as group,
    ):

        async def shut_down() -> None:
            await anyio.sleep(random.choice((0.5, 2)))
            await served.engine.shutdown(10_000)

        client, server = memory_pipe(random.choice((8, 8, 100, 65536)))
        group.start_soon(served.engine.serve_stream, server)
        if random.random() < 0.3:
            group.start_soon(shut_down)
        await client.send(request_bytes())
        received = await read_slowly(client, random)
        client.close()
    came = events(received)
    assert program.ended
    assert set(program.sent) <= set(came) <= set(program.begun)
    assert len(came) == len(set(came))
    for name in "abc":
        own = [data for data in came if data.startswith(name)]
        assert own == sorted(own)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
