"""A small HTTP client over real sockets: h11 judges every byte that the examples answer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from types import TracebackType
from typing import NamedTuple, Self

import anyio
import h11
from anyio.abc import ByteStream

from structweb import web

PATIENCE = 20  # seconds before a test that waits for a server fails
Fields = Sequence[tuple[str, str]]


class Answer(NamedTuple):
    """A response as h11 reads it."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def get(self, name: str) -> str | None:
        """Return the one value of a field, None if there is none."""
        values = [value for field, value in self.fields if field.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


class Client:
    """One connection to a server, kept alive from request to request: a byte too many breaks the next one."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._h11 = h11.Connection(h11.CLIENT)
        self._stream: ByteStream | None = None

    async def __aenter__(self) -> Self:
        with anyio.fail_after(PATIENCE):
            self._stream = await anyio.connect_tcp(*self._address)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open_stream.aclose()

    @property
    def _open_stream(self) -> ByteStream:
        assert self._stream is not None, "the client is not connected"
        return self._stream

    async def ask(self, method: str, target: str, fields: Fields = (), body: bytes = b"") -> Answer:
        """Send a request and return its response, checked to its last byte."""
        await self.begin(method, target, fields, len(body))
        return await self.finish(body)

    async def begin(self, method: str, target: str, fields: Fields = (), length: int = 0) -> None:
        """Send the head of a request with a body of `length` bytes."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        host, port = self._address
        headers = [("Host", f"{host}:{port}"), *fields]
        if length:
            headers.append(("Content-Length", str(length)))
        await self._send(h11.Request(method=method, target=target, headers=headers))

    async def finish(self, body: bytes = b"") -> Answer:
        """Send the body of a request, and return the response."""
        if body:
            await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())
        head = await self._next()
        assert isinstance(head, h11.Response), head
        received = b""
        while isinstance(event := await self._next(), h11.Data):
            received += event.data
        assert isinstance(event, h11.EndOfMessage), event
        rest, _ = self._h11.trailing_data
        assert rest == b"", f"bytes behind the response: {rest!r}"
        fields = [(name.decode(), value.decode("utf-8")) for name, value in head.headers.raw_items()]
        return Answer(head.status_code, head.reason.decode(), fields, received)

    async def continued(self) -> None:
        """Wait for ``100 Continue``."""
        head = await self._next()
        assert isinstance(head, h11.InformationalResponse), head
        assert head.status_code == 100

    async def _send(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            with anyio.fail_after(PATIENCE):
                await self._open_stream.send(data)

    async def _next(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            with anyio.fail_after(PATIENCE):
                try:
                    data = await self._open_stream.receive()
                except anyio.EndOfStream:
                    data = b""
            self._h11.receive_data(data)
        return event


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Client]:
    """Run `app` on a free port, and yield a client that is connected to it."""
    async with web.AppRunner(app, access_log=None) as runner:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        (address,) = runner.addresses
        async with Client(*address) as client:
            yield client


@asynccontextmanager
async def example(name: str, *argv: str) -> AsyncIterator[Client]:
    """Run the application of ``examples/NAME.py``, and yield a client that is connected to it."""
    module = import_module(f"examples.{name}")
    async with serving(module.init_func(list(argv))) as client:
        yield client


def ask_program(port: int, method: str, target: str, fields: Fields = ()) -> Answer:
    """Send one request to a program that listens on `port` of this machine, where no event loop runs."""

    async def ask() -> Answer:
        async with Client("127.0.0.1", port) as client:
            return await client.ask(method, target, fields)

    return anyio.run(ask)
