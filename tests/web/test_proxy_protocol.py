"""Sites behind a proxy that speaks the PROXY protocol: TCP, Unix and TLS, on every backend."""

import json
import logging
import socket
import ssl
import struct
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from structweb import web
from tests.web.loopback import connect, parsed, read_all, request

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 5000, 443)
NAME = b"\x02\x00\x0bexample.org"
HEADER = SIGNATURE + b"\x21\x11" + struct.pack("!H", 12 + len(NAME)) + ADDRESSES + NAME


async def show(request: web.Request) -> web.Response:
    transport = request.transport
    assert transport is not None
    header = transport.get_extra_info("proxy_protocol")
    assert header is None or isinstance(header, web.ProxyHeader)
    proxy = request.get_extra_info("proxy_peername")
    return web.json_response(
        {
            "remote": request.remote,
            "scheme": request.scheme,
            "peername": transport.get_extra_info("peername"),
            "authority": header and header.authority,
            "destination": header and header.destination,
            "proxy": proxy[0] if proxy else proxy,
            "sockname": request.get_extra_info("sockname"),
        }
    )


@pytest.fixture
async def runner():
    app = web.Application()
    app.router.add_get("/", show)
    async with web.AppRunner(app) as runner:
        yield runner


async def told(stream: ByteStream) -> dict[str, object]:
    await stream.send(request())
    answer = parsed(await read_all(stream))
    assert answer.status == 200
    found: dict[str, object] = json.loads(answer.body)
    return found


async def test_tcp(runner: web.AppRunner, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "structweb.access")
    site = web.TCPSite(runner, "127.0.0.1", 0, proxy_protocol=True)
    await site.start()
    async with await connect(site.addresses[0]) as stream:
        await stream.send(HEADER)
        assert await told(stream) == {
            "remote": "203.0.113.7",
            "scheme": "http",
            "peername": ["203.0.113.7", 5000],
            "authority": "example.org",
            "destination": ["192.0.2.1", 443],
            "proxy": "127.0.0.1",
            "sockname": list(site.addresses[0]),
        }
    (line,) = [record.getMessage() for record in caplog.records if record.name == "structweb.access"]
    assert line.startswith("203.0.113.7 ")


async def test_tls_begins_behind_the_header(runner: web.AppRunner):
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server, proxy_protocol=["127.0.0.1"])
    await site.start()
    async with await connect(site.addresses[0]) as raw:
        await raw.send(HEADER)
        stream = await TLSStream.wrap(raw, hostname="localhost", ssl_context=client, standard_compatible=False)
        seen = await told(stream)
        assert (seen["remote"], seen["scheme"], seen["authority"]) == ("203.0.113.7", "https", "example.org")


async def test_unix(runner: web.AppRunner, tmp_path: Path):
    site = web.UnixSite(runner, tmp_path / "socket", proxy_protocol={"unix"})
    await site.start()
    async with await connect(site.addresses[0]) as stream:
        await stream.send(HEADER)
        seen = await told(stream)
        assert (seen["remote"], seen["proxy"]) == ("203.0.113.7", "")


async def test_a_health_check_of_the_proxy_itself(runner: web.AppRunner):
    sock = socket.create_server(("127.0.0.1", 0))
    site = web.SockSite(runner, sock, proxy_protocol=True)
    await site.start()
    async with await connect(site.addresses[0]) as stream:
        await stream.send(SIGNATURE + b"\x20\x00\x00\x00")
        seen = await told(stream)
        assert (seen["remote"], seen["destination"], seen["proxy"]) == ("127.0.0.1", None, "127.0.0.1")


async def test_off_by_default(runner: web.AppRunner):
    """A client that writes a header of its own where none is expected has sent a malformed request."""
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with await connect(site.addresses[0]) as stream:
        await stream.send(HEADER + request())
        answer = parsed(await read_all(stream))
        assert answer.status == 400
    async with await connect(site.addresses[0]) as stream:
        assert (await told(stream))["proxy"] is None


async def test_serve_hands_it_to_every_site(tmp_path: Path):
    app = web.Application()
    app.router.add_get("/", show)
    where = {"host": "127.0.0.1", "port": 0, "path": tmp_path / "s", "sock": socket.create_server(("127.0.0.1", 0))}

    async with anyio.create_task_group() as group:

        async def serve(*, task_status):
            await web.serve(app, **where, proxy_protocol=["127.0.0.0/8", "unix"], task_status=task_status)

        runner = await group.start(serve)
        assert len(runner.addresses) == 3
        for address in runner.addresses:
            async with await connect(address) as stream:
                await stream.send(HEADER)
                assert (await told(stream))["remote"] == "203.0.113.7"
        group.cancel_scope.cancel()


async def test_mistakes(runner: web.AppRunner):
    with pytest.raises(ValueError, match="at least one network"):
        web.TCPSite(runner, proxy_protocol=[])
    with pytest.raises(TypeError, match="got the string"):
        web.TCPSite(runner, proxy_protocol="10.0.0.0/8")
    with pytest.raises(ValueError, match=r"example\.org"):
        web.TCPSite(runner, proxy_protocol=["example.org"])
