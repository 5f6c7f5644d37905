"""One handler, some bytes of requests, all bytes of the answers."""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import anyio
import h11

from structweb._web.app import Application
from structweb._web.request import Request
from structweb._web.streaming import StreamResponse
from tests.web.served import serving

Handler = Callable[[Request], Awaitable[StreamResponse]]


def app_of(handler: Handler, **options: object) -> Application:
    """Return an application in which `handler` answers everything."""
    app = Application(**options)
    app.router.add_route("*", "/{tail:.*}", handler)
    return app


async def talk(handler: Handler | Application, sent: bytes, **options: object) -> bytes:
    """Return everything that a connection answers to `sent` until it closes; its last request must ask for that."""
    app = handler if isinstance(handler, Application) else app_of(handler)
    async with serving(app, **options) as served:
        connection = served.connect()
        async with anyio.create_task_group() as group:
            group.start_soon(connection.stream.send, sent)  # beside reading: an echo needs both at once
            return await connection.rest()


class Reply(NamedTuple):
    """A response as h11 reads it."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        """Return the one value of a field, None if there is none."""
        values = [value for field, value in self.fields if field.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


def parse(data: bytes, method: str = "GET") -> Reply:
    """Return the one response that `data` is, read by h11; complain about anything behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "test")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    head = client.next_event()
    assert isinstance(head, h11.Response), head
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    assert client.trailing_data[0] == b""
    fields = [(name.decode(), value.decode()) for name, value in head.headers.raw_items()]
    return Reply(head.status_code, head.reason.decode(), fields, body)


def in_chunks(pieces: Iterable[bytes]) -> bytes:
    """Return a chunked body that is read in `pieces`: plain chunks would come together, so these have an extension."""
    return b"".join([b"%x;alone\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"


def request_bytes(
    target: str = "/", *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1", host: str = "test"
) -> bytes:
    """Return a request that closes its connection."""
    lines = [f"{method} {target} HTTP/{version}", "Connection: close", *fields]
    if host:
        lines.insert(1, f"Host: {host}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def ask(handler: Handler | Application, *args: str, method: str = "GET", **options: object) -> Reply:
    """Return the response to one request; takes what `request_bytes` takes."""
    return parse(await talk(handler, request_bytes(*args, method=method, **options)), method)
