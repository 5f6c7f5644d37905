"""An application served over memory pipes, and the answers as they come over the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
from anyio.abc import TaskGroup

from structweb._server.lifecycle import Engine
from structweb._web.app import Application
from structweb._web.handling import WebHandler
from structweb._web.lifespan import Lifespan
from structweb._web.settings import ConnectionOptions, settings_from
from structweb.testing.pipes import ClientEnd, memory_pipe


class Answer(NamedTuple):
    """A response, taken apart."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def get(path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    if body:
        fields = (*fields, f"Content-Length: {len(body)}")
    lines = (f"{method} {path} HTTP/1.1", "Host: test", *fields, "", "")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


class Connection:
    """One connection to the served application."""

    def __init__(self, stream: ClientEnd) -> None:
        self.stream = stream

    async def ask(self, path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send a request and read its response."""
        await self.stream.send(get(path, *fields, method=method, body=body))
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        """Read the response to a request with `method`."""
        status_line, *lines = (await self.stream.receive_until(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        _, status, reason = status_line.split(" ", 2)
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = 0 if method == "HEAD" or status in ("204", "304") else int(headers.get("content-length", 0))
        return Answer(int(status), reason, headers, await self.stream.receive_exactly(size))

    async def rest(self) -> bytes:
        """Read whatever comes until the server ends the connection."""
        return await self.stream.receive_all()


class Served:
    """A running application that can be connected to."""

    def __init__(self, engine: Engine, group: TaskGroup) -> None:
        self.engine = engine
        self._group = group
        self._ends: list[ClientEnd] = []

    def connect(self) -> Connection:
        """Open a connection."""
        client, server = memory_pipe()
        self._ends.append(client)
        self._group.start_soon(self.engine.serve_stream, server)
        return Connection(client)

    async def ask(self, path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Send one request on a connection of its own."""
        connection = self.connect()
        try:
            return await connection.ask(path, *fields, method=method, body=body)
        finally:
            connection.stream.close()

    def close(self) -> None:
        """Close the clients' ends."""
        for end in self._ends:
            end.close()


@asynccontextmanager
async def serving(app: Application, **options: object) -> AsyncIterator[Served]:
    """Run `app`; `options` are `ConnectionOptions`."""
    settings = settings_from(ConnectionOptions(**options), "serving()")
    async with (
        Lifespan(app),
        Engine(WebHandler(app, settings), settings.connections) as engine,
        anyio.create_task_group() as group,
    ):
        served = Served(engine, group)
        try:
            yield served
        finally:
            served.close()
        await engine.shutdown(1)
