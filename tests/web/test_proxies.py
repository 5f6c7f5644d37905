"""What trusted proxies say about the client (W-185)."""

import pytest

from structweb import web
from tests.web.served import serving
from tests.web.talk import app_of, parse, request_bytes

pytestmark = pytest.mark.anyio

# memory_pipe's client is 192.0.2.1.
PEER = "192.0.2.0/24"


async def seen(around, *fields: str) -> str:
    """Return what a handler behind the middleware `around` sees of a client."""

    async def handler(request: web.Request) -> web.Response:
        assert request.match_info["tail"] == "x"
        return web.Response(text=f"{request.remote} {request.scheme} {request.host} {request.url}")

    app = app_of(handler)
    if around is not None:
        app.middlewares.append(around)
    async with serving(app) as served:
        connection = served.connect()
        await connection.stream.send(request_bytes("/x", *fields))
        remote, scheme, host, url = parse(await connection.rest()).body.decode().split(" ")
    assert url == f"{scheme}://{host}/x"
    return f"{remote} {scheme} {host}"


UNCHANGED = "192.0.2.1 http test"
ALL_OF_IT = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.org")


async def test_nobody_is_trusted_unless_told():
    assert await seen(None, *ALL_OF_IT, "Forwarded: for=203.0.113.7;proto=https") == UNCHANGED
    assert await seen(web.trusted_proxies([]), *ALL_OF_IT) == UNCHANGED
    assert await seen(web.trusted_proxies(["10.0.0.0/8", "unix"]), *ALL_OF_IT) == UNCHANGED


async def test_a_trusted_proxy_is_believed():
    assert await seen(web.trusted_proxies([PEER]), *ALL_OF_IT) == "203.0.113.7 https example.org"
    assert await seen(web.trusted_proxies(["192.0.2.1"])) == UNCHANGED


async def test_forwarded_instead():
    around = web.trusted_proxies([PEER], header="Forwarded")
    assert await seen(around, "Forwarded: for=203.0.113.7;proto=HTTPS;host=example.org:8443") == (
        "203.0.113.7 https example.org:8443"
    )
    assert await seen(around, 'Forwarded: for="[2001:db8::1]:4711"') == "2001:db8::1 http test"
    # The one that the proxy does not write comes from the client.
    assert await seen(around, *ALL_OF_IT) == UNCHANGED
    assert await seen(web.trusted_proxies([PEER]), "Forwarded: for=203.0.113.7") == UNCHANGED


async def test_only_the_fields_asked_for_count():
    assert await seen(web.trusted_proxies([PEER], fields=["for", "proto"]), *ALL_OF_IT) == "203.0.113.7 https test"
    assert await seen(web.trusted_proxies([PEER], fields=["host"]), *ALL_OF_IT) == "192.0.2.1 http example.org"


@pytest.mark.parametrize(
    ("hops", "chain", "remote"),
    [
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),  # what a client writes comes first
        (1, "203.0.113.7, 10.0.0.2", "10.0.0.2"),
        (2, "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (3, "198.51.100.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),  # 203.0.113.7 is no proxy
        (9, "198.51.100.1, 10.0.0.3, 10.0.0.2", "198.51.100.1"),
        (9, "10.0.0.3, ::ffff:10.0.0.2", "10.0.0.3"),
    ],
)
@pytest.mark.parametrize("header", ["X-Forwarded", "Forwarded"])
async def test_hops_are_counted_from_the_nearest(hops: int, chain: str, remote: str, header: str):
    around = web.trusted_proxies([PEER, "10.0.0.0/8"], hops=hops, header=header)
    if header == "Forwarded":
        field = "Forwarded: " + ", ".join(
            f'for="[{node}]"' if ":" in node else f"for={node}" for node in chain.split(", ")
        )
    else:
        field = f"X-Forwarded-For: {chain}"
    assert (await seen(around, field)).split()[0] == remote


async def test_lists_correspond_at_their_ends():
    """A scheme that was set once counts for the whole way."""
    around = web.trusted_proxies([PEER, "10.0.0.0/8"], hops=2)
    chain = "X-Forwarded-For: 203.0.113.7, 10.0.0.2"
    assert await seen(around, chain, "X-Forwarded-Proto: https") == "203.0.113.7 https test"
    assert await seen(around, chain, "X-Forwarded-Proto: http, https, http") == "203.0.113.7 https test"
    assert await seen(around, chain, "X-Forwarded-Host: a", "X-Forwarded-Host: b") == "203.0.113.7 http a"
    assert await seen(around, "X-Forwarded-Proto: https") == "192.0.2.1 https test"


@pytest.mark.parametrize(
    "field",
    [
        "X-Forwarded-For: unknown",
        "X-Forwarded-For: _hidden, ",
        "X-Forwarded-For: 1.2.3",
        "X-Forwarded-For: 203.0.113.7 and more",
        "X-Forwarded-For: [203.0.113.7",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Proto: ",
        "X-Forwarded-Host: a/b",
        "X-Forwarded-Host: user@host",
        "X-Forwarded-Host: ",
    ],
)
async def test_malformed_values_change_nothing(field: str):
    assert await seen(web.trusted_proxies([PEER], hops=5), field) == UNCHANGED


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"trusted": "10.0.0.0/8"}, TypeError, "several addresses and networks, got the string"),
        ({"trusted": ["proxy.example"]}, ValueError, "proxy.example"),
        ({"trusted": [], "hops": 0}, ValueError, "hops must be at least 1, got 0"),
        ({"trusted": [], "header": "Via"}, ValueError, "header must be"),
        ({"trusted": [], "fields": ["for", "by"]}, ValueError, r"fields must be of .* got \['by'\]"),
    ],
)
def test_arguments_are_checked(arguments: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        web.trusted_proxies(**arguments)
