"""Sites: binding, names, ports, and what cannot be listened on."""

import socket
import ssl
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSStream

from structweb import web
from tests.web.loopback import ask, connect, parsed, read_all, request

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.fixture
async def runner():
    app = web.Application()
    app.router.add_get("/", hello)
    async with web.AppRunner(app) as runner:
        yield runner


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# -- TCP -----------------------------------------------------------------------------------------------------------


async def test_tcp_port_zero_becomes_the_real_one(runner: web.AppRunner):
    site = web.TCPSite(runner, "127.0.0.1", 0)
    assert (site.port, site.name) == (0, "http://127.0.0.1:0")
    await site.start()
    assert site.port > 0
    assert site.name == f"http://127.0.0.1:{site.port}"
    assert site.addresses == [("127.0.0.1", site.port)]
    assert (await ask(("127.0.0.1", site.port))).body == b"hello"


async def test_tcp_on_all_interfaces_has_one_port(runner: web.AppRunner):
    site = web.TCPSite(runner, port=0)
    await site.start()
    assert site.name == f"http://0.0.0.0:{site.port}"
    assert {address[1] for address in site.addresses} == {site.port}
    for address in site.addresses:
        assert (await ask(address)).status == 200


async def test_tcp_default_ports_and_names(runner: web.AppRunner):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert web.TCPSite(runner).name == "http://0.0.0.0:8080"
    assert web.TCPSite(runner, "").name == "http://0.0.0.0:8080"
    assert web.TCPSite(runner, "::1", 80).name == "http://[::1]:80"
    assert web.TCPSite(runner, "example.org", ssl_context=context).name == "https://example.org:8443"


async def test_a_taken_port_names_itself_and_leaves_nothing(runner: web.AppRunner):
    first = web.TCPSite(runner, "127.0.0.1", 0)
    await first.start()
    second = web.TCPSite(runner, "127.0.0.1", first.port)
    with pytest.raises(OSError, match=f"127.0.0.1:{first.port}"):
        await second.start()
    assert runner.sites == {first}
    await first.stop()
    await second.start()  # it may be tried again
    assert (await ask(("127.0.0.1", second.port))).status == 200


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="there is no SO_REUSEPORT")
async def test_reuse_port_lets_two_sites_share(runner: web.AppRunner):
    port = free_port()
    for _ in range(2):
        await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
    assert len(runner.sites) == 2


# -- Unix ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
async def test_unix_socket_is_made_and_removed(runner: web.AppRunner, tmp_path: Path, kind: type):
    path = tmp_path / "s"
    site = web.UnixSite(runner, kind(path))
    assert site.name == f"http://unix:{path}:"
    assert site.addresses == []
    await site.start()
    assert runner.addresses == [str(path)]
    assert (await ask(str(path))).body == b"hello"
    await site.stop()
    assert not path.exists()


async def test_stale_unix_socket_is_replaced(runner: web.AppRunner, tmp_path: Path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await web.UnixSite(runner, path).start()
    assert (await ask(str(path))).status == 200


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="abstract sockets are Linux's")
async def test_abstract_unix_socket(runner: web.AppRunner, tmp_path: Path):
    site = web.UnixSite(runner, f"\0{tmp_path}")
    assert site.name == f"http://unix:@{tmp_path}:"
    await site.start()
    assert (await ask(f"\0{tmp_path}")).status == 200


# -- given sockets -------------------------------------------------------------------------------------------------


async def test_given_tcp_socket(runner: web.AppRunner):
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    site = web.SockSite(runner, sock)
    await site.start()
    assert site.name == f"http://127.0.0.1:{port}"
    assert (await ask(("127.0.0.1", port))).status == 200
    await site.stop()
    assert sock.fileno() == -1
    assert site.name == f"http://127.0.0.1:{port}"  # it still knows


async def test_given_unix_socket(runner: web.AppRunner, tmp_path: Path):
    path = str(tmp_path / "s")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    site = web.SockSite(runner, sock)
    assert site.name == f"http://unix:{path}:"
    await site.start()
    assert (await ask(path)).status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
async def test_given_ipv6_socket(runner: web.AppRunner):
    try:
        sock = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 loopback")
    site = web.SockSite(runner, sock)
    await site.start()
    assert site.name == f"http://[::1]:{sock.getsockname()[1]}"
    assert (await ask(runner.addresses[0])).status == 200


async def test_a_datagram_socket_is_refused(runner: web.AppRunner):
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="stream socket"):
        await web.SockSite(runner, sock).start()
    assert runner.sites == set()


# -- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server and a client need to trust each other."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def tell(asked: web.Request) -> web.Response:
    cipher = asked.get_extra_info("cipher")
    return web.Response(text=f"{asked.scheme} {asked.secure} {cipher is not None}")


@pytest.mark.parametrize("kind", ["tcp", "unix", "sock"])
async def test_tls_on_every_kind_of_site(contexts, tmp_path: Path, kind: str):
    """W-186."""
    server, client = contexts
    app = web.Application()
    app.router.add_get("/", tell)
    async with web.AppRunner(app) as runner:
        if kind == "tcp":
            site: web.BaseSite = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server)
        elif kind == "unix":
            site = web.UnixSite(runner, tmp_path / "s", ssl_context=server)
        else:
            site = web.SockSite(runner, socket.create_server(("127.0.0.1", 0)), ssl_context=server)
        await site.start()
        assert site.name.startswith("https://")
        # A peer that never begins its handshake, and one that does not speak TLS, are nobody else's trouble.
        async with await connect(site.addresses[0]), await connect(site.addresses[0]) as plain:
            await plain.send(request())
            assert not (await read_all(plain)).startswith(b"HTTP")
            raw = await connect(site.addresses[0])
            async with await TLSStream.wrap(
                raw, hostname="localhost", ssl_context=client, standard_compatible=False
            ) as stream:
                await stream.send(request())
                assert parsed(await read_all(stream)).body == b"https True True"


# -- all of them ---------------------------------------------------------------------------------------------------


async def test_several_sites_of_one_runner(runner: web.AppRunner, tmp_path: Path):
    tcp = [web.TCPSite(runner, "127.0.0.1", 0) for _ in range(2)]
    unix = web.UnixSite(runner, tmp_path / "s")
    for site in (*tcp, unix):
        await site.start()
    assert runner.sites == {*tcp, unix}
    assert len(runner.addresses) == 3
    for address in runner.addresses:
        assert (await ask(address)).status == 200


async def test_stop_closes_its_own_listener_only(runner: web.AppRunner):
    first, second = (web.TCPSite(runner, "127.0.0.1", 0) for _ in range(2))
    await first.start()
    await second.start()
    async with await connect(("127.0.0.1", first.port)) as accepted:
        await accepted.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await accepted.receive()).startswith(b"HTTP/1.1 200")
        await first.stop()
        with pytest.raises(OSError, match=r"refused|attempts failed"):
            await connect(("127.0.0.1", first.port))
        await accepted.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await accepted.receive()).startswith(b"HTTP/1.1 200")
    assert runner.sites == {second}
    assert (await ask(("127.0.0.1", second.port))).status == 200


async def test_starting_and_stopping_out_of_turn(runner: web.AppRunner):
    site = web.TCPSite(runner, "127.0.0.1", 0)
    with pytest.raises(RuntimeError, match=r"cannot stop <TCPSite http://127\.0\.0\.1:0>: it is not registered"):
        await site.stop()
    await site.start()
    with pytest.raises(RuntimeError, match="cannot start .*: it has been started already"):
        await site.start()
    await site.stop()
    with pytest.raises(RuntimeError, match="cannot stop"):
        await site.stop()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch):
    """A name that stands for two addresses, as soon as `resolve` is set."""
    resolving, resolve = anyio.Event(), anyio.Event()

    async def slowly(host: str, *args, **kwargs):
        resolving.set()
        await resolve.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 0)) for name in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(anyio, "getaddrinfo", slowly)
    return resolving, resolve


async def test_a_site_that_is_stopped_before_it_listens_does_not_listen(runner: web.AppRunner, resolver):
    resolving, resolve = resolver
    site = web.TCPSite(runner, "slow.test", 0)

    async def start() -> None:
        with pytest.raises(RuntimeError, match="cannot start <TCPSite .*>: it was stopped before it listened"):
            await site.start()

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await resolving.wait()
        await site.stop()
        resolve.set()
    assert (site.addresses, runner.sites) == ([], set())
    await site.start()
    assert {address[0] for address in site.addresses} == {"127.0.0.1", "127.0.0.2"}


@pytest.mark.parametrize("how", ["runner", "server", "cancelled"])
async def test_a_server_that_ends_before_a_site_listens_leaves_no_socket(resolver, how: str):
    """The leak guard would see it."""
    resolving, resolve = resolver
    ended: list[type[BaseException]] = []

    async def start(site: web.TCPSite) -> None:
        try:
            await site.start()
        except BaseException as exc:
            ended.append(type(exc))
            if type(exc) is not RuntimeError:
                raise

    async with anyio.create_task_group() as group:
        async with web.AppRunner(web.Application()) as runner:
            group.start_soon(start, web.TCPSite(runner, "slow.test", 0))
            await resolving.wait()
            if how == "server":
                await runner.server.shutdown(0)
                resolve.set()
                await anyio.wait_all_tasks_blocked()
                assert not runner.sites
        if how == "cancelled":
            group.cancel_scope.cancel()
        resolve.set()
    assert ended == [anyio.get_cancelled_exc_class() if how == "cancelled" else RuntimeError]


async def test_a_socket_that_was_given_serves_once(runner: web.AppRunner):
    site = web.SockSite(runner, socket.create_server(("127.0.0.1", 0)))
    await site.start()
    await site.stop()
    with pytest.raises(OSError, match="cannot listen on a socket that has been closed"):
        await site.start()
    assert not runner.sites


async def test_a_site_needs_a_runner_that_is_up():
    with pytest.raises(TypeError, match=r"a TCPSite needs a runner, as web\.AppRunner\(app\), got <Application"):
        web.TCPSite(web.Application())  # type: ignore[arg-type]  # is what it tests
    runner = web.AppRunner(web.Application())
    with pytest.raises(RuntimeError, match=r"a TCPSite needs a runner that is set up, got <AppRunner not set up>"):
        web.TCPSite(runner)
    async with runner:
        site = web.TCPSite(runner, "127.0.0.1", 0)
    with pytest.raises(RuntimeError, match="cannot start .*: its runner is cleaned up"):
        await site.start()


async def test_arguments_are_checked(runner: web.AppRunner):
    with pytest.raises(TypeError, match=r"ssl_context must be an ssl\.SSLContext or None, got True"):
        web.TCPSite(runner, ssl_context=True)  # type: ignore[arg-type]  # is what it tests
    with pytest.raises(NotImplementedError, match=r"named pipe '\\\\\\\\\.\\\\pipe\\\\x'.*proactor"):
        web.NamedPipeSite(runner, r"\\.\pipe\x")
    with pytest.warns(DeprecationWarning, match="shutdown_timeout belongs to the runner"):
        web.TCPSite(runner, shutdown_timeout=1.0)
    assert runner.shutdown_timeout == 1.0
