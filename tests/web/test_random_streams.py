"""Streams written at random, and cut at random: a client gets what was written, or can tell that something is missing."""

import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import anyio
import h11
import pytest

from structweb import web
from structweb.testing import ClientEnd, memory_pipe
from tests.web.served import serving
from tests.web.talk import app_of

pytestmark = pytest.mark.anyio

SIZES = (0, 1, 100, 16_384, 70_000)
#: What is compressed in the loop's own thread: virtual time does not wait for another one.
SMALL_SIZES = (0, 1, 100, 4096)


class Boom(Exception):
    """What handlers raise."""


@dataclass
class Program:
    """One handler, made up as it goes; what it has done is what a client may expect."""

    seed: int
    method: str
    random: Random = field(init=False)
    sizes: tuple[int, ...] = SIZES
    status: int = 200
    #: What was given to `write`, in order, and whether it took it: if not, the client may have it all the same.
    given: list[tuple[bytes, bool]] = field(default_factory=list)
    length: int | None = None
    #: Whether the response came to its end, as far as the handler can tell.
    complete: bool = False
    #: Whether it is to be answered by a 500: it failed before its head.
    failed: bool = False

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        random = self.random
        response = web.StreamResponse(status=random.choice((200, 200, 200, 204, 304, 404)))
        self.status = response.status
        left = None
        if random.random() < 0.3:
            left = self.length = response.content_length = random.choice(SIZES)
        elif random.random() < 0.4:
            response.enable_compression(random.choice((web.ContentCoding.gzip, web.ContentCoding.deflate)))
            self.sizes = SMALL_SIZES
        self.failed = True
        if random.random() < 0.1:
            raise Boom
        await response.prepare(request)
        self.failed = False
        for _ in range(random.randint(0, 5)):
            left = await self.step(response, left)
        if left and not self.bodiless:
            if random.random() < 0.5:
                return response  # too short
            await self.write(response, bytes(left))
        if random.random() < 0.5:
            tail = bytes(random.choice(self.sizes)) if left is None else b""
            self.given.append((tail, True))
            await response.write_eof(tail)
            if random.random() < 0.2:
                self.complete = True
                raise Boom  # too late to matter
        self.complete = True
        return response

    @property
    def bodiless(self) -> bool:
        return self.method == "HEAD" or self.status in (204, 304)

    async def step(self, response: web.StreamResponse, left: int | None) -> int | None:
        """Do one thing; return what Content-Length leaves."""
        random = self.random
        match random.choice(("write", "write", "write", "wait", "hurry", "tasks", "raise")):
            case "write":
                data = random.randbytes(random.choice(self.sizes))
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                kind = random.choice((bytes, bytearray, memoryview))
                await self.write(response, kind(data))
            case "wait":
                await anyio.sleep(random.choice((0, 0.1, 3)))
            case "hurry" if left is None:
                with anyio.move_on_after(random.choice((0, 0.1, 2))):
                    await self.write(response, random.randbytes(self.sizes[-1]))
            case "tasks" if left is None:
                data = bytes(random.choice(self.sizes))  # all alike: the order is anybody's
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(self.write, response, data)
            case "raise" if random.random() < 0.2:
                raise Boom
        return left

    async def write(self, response: web.StreamResponse, data: bytes | bytearray | memoryview) -> None:
        place = len(self.given)
        self.given.append((bytes(data), False))
        await response.write(data)
        self.given[place] = bytes(data), True

    def may_begin_with(self, body: bytes, *, whole: bool) -> bool:
        """Tell whether it may have written this first, or this and nothing else."""
        return _fits(body, self.given, whole=whole)


def _fits(body: bytes, given: list[tuple[bytes, bool]], *, whole: bool) -> bool:
    if not given or (not body and not whole):
        return not body
    (data, certain), *rest = given
    if body.startswith(data) and _fits(body[len(data) :], rest, whole=whole):
        return True
    if not whole and data.startswith(body):
        return True
    return not certain and _fits(body, rest, whole=whole)


async def read(client: ClientEnd, parser: h11.Connection, random: Random) -> tuple[h11.Response, bytes, bool]:
    """Return a head, the body as far as it came, and whether it came to its end; sometimes take a break."""
    head, body = None, b""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            return head, body, False
        if event is h11.NEED_DATA:
            if random.random() < 0.2:
                await anyio.sleep(1)
            try:
                parser.receive_data(await client.receive())
            except anyio.EndOfStream:
                parser.receive_data(b"")
            except anyio.BrokenResourceError:
                return head, body, False
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return head, body, True
        else:
            return head, body, False


async def ask(client: ClientEnd, programs: list[Program]) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # then nobody answers
        await client.send(
            b"".join([b"%b / HTTP/1.1\r\nHost: test\r\n\r\n" % each.method.encode() for each in programs])
        )


def decoded(head: h11.Response, body: bytes) -> bytes:
    """Return what a client can make of a body, or of the part of one."""
    coding = dict(head.headers).get(b"content-encoding")
    if coding is None or not body:
        return body
    return zlib.decompressobj(wbits=31 if coding == b"gzip" else 15).decompress(body)


@pytest.mark.parametrize("seed", range(40))
async def test_what_was_written_arrives_or_is_missed(seed: int, express: bool) -> None:
    random = Random(seed)
    programs = [Program(random.randrange(1 << 30), random.choice(("GET", "GET", "GET", "HEAD"))) for _ in range(4)]
    upcoming = iter(programs)
    started = []

    async def handler(request: web.Request) -> web.StreamResponse:
        program = next(upcoming)
        started.append(program)
        return await program(request)

    async with serving(app_of(handler), express=express) as served, anyio.create_task_group() as group:
        client, server = memory_pipe(random.choice((1000, 65536)))
        group.start_soon(served.engine.serve_stream, server)
        try:
            parser = h11.Connection(h11.CLIENT)
            with anyio.fail_after(10_000):
                at_once = random.random() < 0.7
                if at_once:
                    group.start_soon(ask, client, programs)
                for program in programs:
                    if not at_once:
                        await ask(client, [program])
                    parser.send(h11.Request(method=program.method, target="/", headers=[("Host", "test")]))
                    parser.send(h11.EndOfMessage())
                    head, body, whole = await read(client, parser, random)
                    check(program, head, body, whole)
                    if not whole or parser.our_state is not h11.DONE or parser.their_state is not h11.DONE:
                        break
                    parser.start_next_cycle()
        finally:
            client.close()
    assert len(started) >= 1


def check(program: Program, head: h11.Response | None, body: bytes, whole: bool) -> None:
    if program.failed:
        assert head is not None
        assert (head.status_code, whole) == (500, True), program
        return
    if head is None:
        assert not program.complete, program
        return
    assert head.status_code == program.status, program
    if program.bodiless:
        assert body == b"", program
        return
    body = decoded(head, body)
    assert program.may_begin_with(body, whole=whole), program
    if whole:
        assert program.complete or len(body) == program.length, program  # else a client would miss nothing
    if program.complete and all(
        certain for _, certain in program.given
    ):  # a write that is cancelled ends the connection
        assert whole, program
