"""TLS on sites and run_app (W-186), beyond test_sites: client certificates, and peers that do not shake hands."""

import ssl

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSStream

from structweb import web
from tests.web.loopback import connect, parsed, read_all, request

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


class Parties:
    """A server that wants certificates of its clients, and clients with and without one."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.server)
        authority.configure_trust(self.server)
        self.server.verify_mode = ssl.CERT_OPTIONAL
        self.stranger = ssl.create_default_context()
        authority.configure_trust(self.stranger)
        self.known = ssl.create_default_context()
        authority.configure_trust(self.known)
        authority.issue_cert("client@example.org").configure_cert(self.known)


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties()


async def tell(asked: web.Request) -> web.Response:
    certificate = asked.get_extra_info("peercert")
    who = certificate and dict(certificate)["subjectAltName"]
    return web.json_response([asked.scheme, asked.secure, str(asked.url), who])


async def ask(address: object, context: ssl.SSLContext) -> bytes:
    raw = await connect(address)
    async with await TLSStream.wrap(
        raw, hostname="localhost", ssl_context=context, standard_compatible=False
    ) as stream:
        await stream.send(request())
        return parsed(await read_all(stream)).body


async def test_a_handler_sees_the_certificate_of_its_client(parties: Parties):
    app = web.Application()
    app.router.add_get("/", tell)
    async with web.AppRunner(app) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=parties.server)
        await site.start()
        assert await ask(site.addresses[0], parties.stranger) == b'["https", true, "https://test/", null]'
        assert await ask(site.addresses[0], parties.known) == (
            b'["https", true, "https://test/", [["email", "client@example.org"]]]'
        )


async def test_many_peers_that_do_not_shake_hands_hold_up_nobody(parties: Parties):
    """They say nothing, half of a hello, or plain HTTP; accepting goes on, and each is given up in time."""
    app = web.Application()
    app.router.add_get("/", tell)
    given_up = []
    async with web.AppRunner(app, tls_handshake_timeout=0.5) as runner:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=parties.server)
        await site.start()

        async def stall(said: bytes) -> None:
            async with await connect(site.addresses[0]) as stream:
                await stream.send(said)
                given_up.append(await read_all(stream))

        async with anyio.create_task_group() as group:
            for said in (b"\x16", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n") * 10:
                group.start_soon(stall, said)
            assert await ask(site.addresses[0], parties.stranger) == b'["https", true, "https://test/", null]'
    assert len(given_up) == 30
    assert not any(answer.startswith(b"HTTP") for answer in given_up)


async def test_port_8443_is_the_default(parties: Parties):
    async with web.AppRunner(web.Application()) as runner:
        assert web.TCPSite(runner, "localhost", ssl_context=parties.server).name == "https://localhost:8443"
