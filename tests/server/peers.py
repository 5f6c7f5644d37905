"""A server over memory pipes, for tests that speak bytes."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from structweb._server.config import ServerConfig
from structweb._server.exchange import Exchange, ExchangeHandler
from structweb._server.lifecycle import Engine
from structweb.testing import ClientEnd, memory_pipe

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
FIELDS = (("Content-Type", "text/plain"),)
_LENGTH = re.compile(rb"(?mi)^content-length: (\d+)\r$")
_STAMP = re.compile(rb"(?mi)^(?:date|server): .*\r\n")


@dataclass
class Site:
    """A running engine and the means to connect to it."""

    engine: Engine
    group: TaskGroup

    def connect(self, capacity: int = 65536) -> ClientEnd:
        """Return the client's end of a new connection."""
        client, server = memory_pipe(capacity)
        self.group.start_soon(self.engine.serve_stream, server)
        return client


@asynccontextmanager
async def serving(handler: ExchangeHandler, config: ServerConfig | None = None) -> AsyncGenerator[Site]:
    """Serve `handler` inside the block; end what is left behind it at once."""
    async with Engine(handler, config or ServerConfig()) as engine, anyio.create_task_group() as group:
        yield Site(engine, group)
        group.cancel_scope.cancel()


def answering(body: bytes = b"ok", status: int = 200) -> ExchangeHandler:
    """Return a handler that gives the same answer to everything."""

    async def handler(exchange: Exchange) -> None:
        if exchange.refusal is not None:
            await exchange.respond(exchange.refusal.status, "", FIELDS, exchange.refusal.message.encode())
        else:
            await exchange.respond(status, "OK", FIELDS, body)

    return handler


async def read_answer(client: ClientEnd) -> bytes:
    """Read one answer that has a Content-Length."""
    head = await client.receive_until(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None, head
    return head + await client.receive_exactly(int(length[1]))


def unstamped(answer: bytes) -> bytes:
    """Return an answer without its Date and Server lines."""
    return _STAMP.sub(b"", answer)


def status_of(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])
