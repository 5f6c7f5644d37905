"""Listening sockets: what they are bound to, how they are named, what they refuse, what they leave behind."""

import errno
import os
import socket
import ssl
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from structweb._server.listeners import Listener, adopt_socket, open_tcp, open_unix

pytestmark = pytest.mark.anyio

HAS_IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this host has no IPv6")


@pytest.fixture
def closing():
    with ExitStack() as stack:
        yield stack.callback


@pytest.fixture
def tcp(closing):
    """Open TCP listeners that are closed after the test."""

    async def open_(*args, **options) -> tuple[Listener, ...]:
        listeners = await open_tcp(*args, **options)
        for listener in listeners:
            closing(listener.close)
        return listeners

    return open_


@pytest.fixture
def unix(closing):
    """Open Unix listeners that are closed after the test."""

    def open_(*args, **options) -> Listener:
        listener = open_unix(*args, **options)
        closing(listener.close)
        return listener

    return open_


def can_connect(listener: Listener) -> bool:
    with socket.socket(listener.socket.family) as client:
        return client.connect_ex(listener.address) == 0


# -- TCP -----------------------------------------------------------------------------------------------------------


async def test_a_host_is_listened_on_and_named(tcp):
    (listener,) = await tcp("127.0.0.1", 0)
    assert listener.url == f"http://127.0.0.1:{listener.address[1]}"
    assert listener.socket.gettimeout() == 0
    assert can_connect(listener)


@needs_ipv6
@pytest.mark.parametrize("host", [None, ""])
async def test_no_host_means_all_interfaces_on_one_port(tcp, host):
    """Port 0 gives IPv4 and IPv6 the same port, so that one URL is true for both."""
    listeners = await tcp(host, 0)
    assert {listener.address[0] for listener in listeners} == {"0.0.0.0", "::"}
    assert len({listener.address[1] for listener in listeners}) == 1
    assert all(can_connect(listener) for listener in listeners)


@needs_ipv6
async def test_several_hosts(tcp):
    listeners = await tcp(["127.0.0.1", "::1"], 0)
    port = listeners[0].address[1]
    assert [listener.url for listener in listeners] == [f"http://127.0.0.1:{port}", f"http://[::1]:{port}"]


async def test_a_host_named_twice_is_refused_as_the_port_is_taken(tcp):
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+: ") as info:
        await tcp(["127.0.0.1", "127.0.0.1"], 0)
    assert info.value.errno == errno.EADDRINUSE


@pytest.mark.real_backends
async def test_a_host_name_is_resolved(tcp):
    listeners = await tcp("localhost", 0)
    assert {listener.address[0] for listener in listeners} <= {"127.0.0.1", "::1"}


@pytest.mark.real_backends
async def test_an_unknown_host_is_named_in_the_error(tcp):
    with pytest.raises(OSError, match=r"cannot listen on host 'no-such-host\.invalid': "):
        await tcp("no-such-host.invalid", 0)


@pytest.mark.real_backends
@pytest.mark.parametrize("host", ["a..b", "a" * 100, "\udcff", "a\0b"])
async def test_what_no_host_is_called_is_named_in_the_error(tcp, host: str):
    with pytest.raises(OSError, match="cannot listen on host ") as caught:
        await tcp(host, 0)
    assert repr(host) in str(caught.value)


@pytest.fixture
def resolver(monkeypatch):
    """Have the system's resolver say something else."""

    def resolve_to(*addresses: tuple[int, str]) -> None:
        found = [(family, socket.SOCK_STREAM, 6, "", (host, 0)) for family, host in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)

    return resolve_to


async def test_an_address_that_the_host_lacks_is_left_out(tcp, resolver, caplog):
    """As for "localhost", where the system has no IPv6 but a line for it in its hosts file."""
    resolver((socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "127.0.0.1"))
    (listener,) = await tcp("both.test", 0)
    assert listener.address[0] == "127.0.0.1"
    (record,) = caplog.records
    assert "'both.test'" in record.getMessage()
    assert "192.0.2.1" in record.getMessage()


async def test_a_host_without_an_ip_address(tcp, resolver):
    resolver((socket.AF_UNIX, "/somewhere"))
    with pytest.raises(OSError, match="cannot listen on host 'none.test': it has no IP address"):
        await tcp("none.test", 0)


async def test_no_hosts_at_all(tcp):
    with pytest.raises(ValueError, match="at least one address"):
        await tcp([], 8080)


async def test_an_address_of_somebody_else_is_named_in_the_error(tcp):
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: ") as info:
        await tcp("192.0.2.1", 0)
    assert info.value.errno == errno.EADDRNOTAVAIL


async def test_a_port_that_is_taken_leaves_no_socket_open(tcp):
    (first,) = await tcp("127.0.0.1", 0)
    port = first.address[1]
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: ") as info:
        await tcp(["127.0.0.2", "127.0.0.1"], port)
    assert info.value.errno == errno.EADDRINUSE
    await tcp("127.0.0.2", port)


async def test_a_port_can_be_had_again_at_once(tcp):
    """Connections of the last server that are still in TIME_WAIT do not keep the next one from its port."""
    (first,) = await tcp("127.0.0.1", 0)
    port = first.address[1]
    with socket.create_connection(first.address):
        first.socket.accept()[0].close()
        first.close()
    (second,) = await tcp("127.0.0.1", port)
    assert second.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


async def test_reuse_address_can_be_refused(tcp):
    (listener,) = await tcp("127.0.0.1", 0, reuse_address=False)
    assert not listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this platform has no SO_REUSEPORT")
async def test_reuse_port_shares_a_port(tcp):
    (first,) = await tcp("127.0.0.1", 0, reuse_port=True)
    (second,) = await tcp("127.0.0.1", first.address[1], reuse_port=True)
    assert first.address == second.address


async def test_reuse_port_on_a_platform_without(tcp, monkeypatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ValueError, match="SO_REUSEPORT"):
        await tcp("127.0.0.1", 0, reuse_port=True)


async def test_tls_shows_in_the_name(tcp):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (listener,) = await tcp("127.0.0.1", 0, ssl_context=context)
    assert listener.url.startswith("https://127.0.0.1:")
    assert listener.ssl_context is context


async def test_backlog(tcp):
    """The kernel queues about as many connections as asked for, and holds the next ones off."""
    (listener,) = await tcp("127.0.0.1", 0, backlog=1)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.address)
        assert sum(map(is_connected, clients)) < 4


def is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


# -- Unix ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_unix_socket_and_its_file(unix, tmp_path, kind):
    path = tmp_path / "app.sock"
    listener = unix(kind(path))
    assert listener.url == f"http://unix:{path}:"
    assert can_connect(listener)
    listener.close()
    assert not path.exists()
    listener.close()


def test_a_relative_path_is_removed_from_elsewhere(unix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = unix("app.sock")
    monkeypatch.chdir("/")
    listener.close()
    assert not (tmp_path / "app.sock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_name_has_no_file(unix):
    name = f"\0structweb-test-{os.getpid()}"
    listener = unix(name)
    assert listener.file is None
    assert listener.url == f"http://unix:@{name[1:]}:"
    assert can_connect(listener)


def test_a_stale_file_is_replaced(unix, tmp_path):
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
        gone.listen()
    assert path.is_socket()
    assert can_connect(unix(path))


def test_a_live_server_is_left_alone(unix, tmp_path):
    path = tmp_path / "app.sock"
    first = unix(path)
    with pytest.raises(OSError, match=r"app\.sock': another server listens on it") as info:
        unix(path)
    assert info.value.errno == errno.EADDRINUSE
    assert can_connect(first)


def test_a_busy_server_is_left_alone(unix, tmp_path):
    """A full backlog is a sign of life."""
    path = tmp_path / "app.sock"
    unix(path, backlog=0)
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(str(path))
        with pytest.raises(OSError, match="another server listens on it"):
            unix(path)


def test_what_is_no_stream_socket_is_left_alone(unix, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match="exists and is no socket"):
        unix(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "datagrams"))
        with pytest.raises(OSError, match="may be another server's"):
            unix(tmp_path / "datagrams")


def test_a_file_that_is_gone_already(unix, tmp_path):
    listener = unix(tmp_path / "app.sock")
    (tmp_path / "app.sock").unlink()
    listener.close()
    assert listener.socket.fileno() < 0


def test_a_successor_keeps_its_file(unix, tmp_path):
    path = tmp_path / "app.sock"
    first = unix(path)
    path.unlink()
    second = unix(path)
    first.close()
    assert can_connect(second)


def test_a_path_that_cannot_be_is_named_in_the_error(unix, tmp_path):
    with pytest.raises(OSError, match=r"cannot listen on unix socket '.*missing/app\.sock': "):
        unix(tmp_path / "missing" / "app.sock")
    with pytest.raises(OSError, match=r"cannot listen on unix socket '.*aaa': AF_UNIX path too long"):
        unix(tmp_path / ("a" * 200))


@pytest.mark.parametrize("name", ["file/sock", "loop/sock", "s" * 300, "s\0s"])
def test_a_path_that_nothing_can_have_is_named_in_the_error(unix, tmp_path, name: str):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"cannot listen on unix socket .*: ") as caught:
        unix(str(tmp_path / name))
    assert repr(str(tmp_path / name)) in str(caught.value)


def test_a_file_that_cannot_be_removed_is_a_warning(unix, tmp_path, caplog):
    """Somebody made a folder of the path's parent's name: closing goes on all the same."""
    (tmp_path / "run").mkdir()
    listener = unix(tmp_path / "run" / "app.sock")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").write_text("no folder any more")
    listener.close()
    assert listener.socket.fileno() < 0
    assert "Could not remove the socket file" in caplog.text


def test_a_platform_without_unix_sockets(unix, monkeypatch, tmp_path):
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(NotImplementedError, match="AF_UNIX"):
        unix(tmp_path / "app.sock")


# -- given sockets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "address", "name"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), "http://127.0.0.1:"),
        pytest.param(socket.AF_INET6, ("::1", 0), "http://[::1]:", marks=needs_ipv6),
    ],
)
def test_a_given_socket(closing, family, address, name):
    sock = socket.socket(family)
    sock.bind(address)
    listener = adopt_socket(sock)
    closing(listener.close)
    assert listener.url.startswith(name)
    assert can_connect(listener)
    listener.close()
    assert sock.fileno() < 0


def test_a_given_unix_socket_keeps_its_file(closing, tmp_path):
    path = tmp_path / "app.sock"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    listener = adopt_socket(sock)
    assert listener.url == f"http://unix:{path}:"
    listener.close()
    assert path.is_socket()


def test_only_stream_sockets_can_be_given():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match=r"stream socket of INET, INET6 or UNIX, got .*SOCK_DGRAM.* of .*AF_INET"),
    ):
        adopt_socket(sock)


def test_a_given_socket_that_cannot_listen_is_named_in_the_error(closing):
    client, server = socket.socketpair()
    closing(client.close)
    closing(server.close)
    with pytest.raises(OSError, match="cannot listen on "):
        adopt_socket(server)
