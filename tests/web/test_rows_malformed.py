"""What comes of bytes that are no request: the answer, the log, the connection."""

import logging

import pytest

from structweb import web
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)


async def ignore_body(request: web.Request) -> web.Response:
    return web.Response(text="ignored")


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/", ignore_body)
    return app


def about_malformed(caplog: pytest.LogCaptureFixture) -> list[tuple[int, bool]]:
    """Return the levels of the records about malformed requests, and whether they have a traceback."""
    return [
        (record.levelno, record.exc_info is not None)
        for record in caplog.records
        if record.getMessage().startswith("Malformed request from 192.0.2.1: 400 ")
    ]


@pytest.mark.parametrize(
    ("sent", "level"),
    [
        (TLS_HELLO, logging.DEBUG),
        (b"\x00\x01\x02\r\n", logging.DEBUG),
        (b"SSH-2.0-OpenSSH_9.6\r\n", logging.DEBUG),
        (b"hello there\r\n", logging.DEBUG),
        (b"GET /\r\n", logging.WARNING),
        (b"GET / HTTP/1.1\r\nbad\r\n\r\n", logging.WARNING),
    ],
)
@pytest.mark.parametrize("express", [True, False])
async def test_what_was_never_http_is_no_warning(
    caplog: pytest.LogCaptureFixture, sent: bytes, level: int, express: bool
):
    """W-167, W-171: other protocols and port scans come every day; they get their 400, and a line at DEBUG."""
    caplog.set_level(logging.DEBUG, "structweb.server")
    async with serving(make_app(), express=express) as served:
        connection = served.connect()
        await connection.stream.send(sent)
        assert (await connection.rest()).startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert about_malformed(caplog) == [(level, False)]


async def test_tls_on_a_plain_port_is_told(caplog: pytest.LogCaptureFixture):
    """W-171: the answer says what is the matter, to whoever reads it."""
    async with serving(make_app()) as served:
        connection = served.connect()
        await connection.stream.send(TLS_HELLO)
        assert (await connection.rest()).endswith(b"\r\n\r\nReceived HTTPS traffic on an HTTP port")
    assert caplog.records == []


@pytest.mark.parametrize("pause", [True, False])
async def test_a_client_that_has_spoken_http_is_a_warning(caplog: pytest.LogCaptureFixture, pause: bool):
    """W-167, W-171: behind a request the same bytes are a client in trouble, or somebody who tries to smuggle."""
    caplog.set_level(logging.DEBUG, "structweb.server")
    async with serving(make_app()) as served:
        connection = served.connect()
        if pause:
            assert (await connection.ask()).text == "ignored"
            await connection.stream.send(TLS_HELLO)
        else:
            await connection.stream.send(get() + TLS_HELLO)
            assert (await connection.answer()).text == "ignored"
        assert (await connection.rest()).startswith(b"HTTP/1.0 400 ")
    assert about_malformed(caplog) == [(logging.WARNING, False)]


@pytest.mark.parametrize(
    "body", [b"g\r\n", b"-1\r\n", b"3\nabc\r\n0\r\n\r\n", b"3;a\nb\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n"]
)
async def test_a_malformed_body_that_nobody_reads_ends_the_connection(body: bytes):
    """W-168: the handler's answer is the last one, and what stands behind the body is never taken for a request."""
    async with serving(make_app()) as served:
        connection = served.connect()
        head = get("/", "Transfer-Encoding: chunked", method="POST")
        await connection.stream.send(head + body + get())
        assert (await connection.answer()).text == "ignored"
        assert await connection.rest() == b""
