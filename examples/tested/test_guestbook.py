import io

import anyio
import pytest
from guestbook import ENTRIES, entry, index, make_app, stamp

from structweb import FormData, web
from structweb.testing import WebSocketHandshakeError, make_mocked_coro, make_mocked_request

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(structweb_client):
    return await structweb_client(make_app())


@pytest.fixture
async def signed(client):
    await client.post("/entries", data={"text": "hello"})
    return client


async def test_it_is_empty_at_first(client):
    response = await client.get("/entries")
    assert response.status == 200
    assert await response.json() == {}


async def test_signing(client):
    response = await client.post("/entries", data={"text": "hello"})
    assert response.status == 201
    assert await response.json() == {"id": 1}


async def test_signing_sets_a_cookie(client):
    async with client.post("/entries", data={"text": "hello"}) as response:
        assert response.cookies["last"].value == "1"


async def test_what_was_signed_is_there(signed):
    assert await (await signed.get("/entries")).json() == {"1": "hello"}


async def test_an_entry(signed):
    async with signed.get("/entries/1") as response:
        assert await response.text() == "hello"


async def test_an_entry_has_a_type(signed):
    async with signed.get("/entries/1") as response:
        assert (response.content_type, response.charset) == ("text/plain", "utf-8")


@pytest.mark.parametrize("key", ["2", "99"])
async def test_no_such_entry(signed, key):
    response = await signed.get(f"/entries/{key}")
    assert response.status == 404
    assert await response.text() == "no such entry"


async def test_keys_are_numbers(signed):
    assert (await signed.get("/entries/one")).status == 404


@pytest.mark.parametrize("data", [{}, {"text": ""}, {"other": "x"}])
async def test_nothing_to_sign(client, data):
    response = await client.post("/entries", data=data)
    assert response.status == 400


async def test_signing_with_a_multipart_form(client):
    form = FormData(default_to_multipart=True)
    form.add_field("text", "parts")
    assert (await client.post("/entries", data=form)).status == 201
    assert client.app[ENTRIES] == {1: "parts"}


async def test_umlauts(client):
    await client.post("/entries", data={"text": "Grüße"})
    assert await (await client.get("/entries/1")).text() == "Grüße"


async def test_replacing(signed):
    assert (await signed.put("/entries/1", json={"text": "bye"})).status == 204
    assert signed.app[ENTRIES][1] == "bye"


async def test_replacing_with_bytes(signed):
    await signed.put("/entries/1", data=io.BytesIO(b'{"text": "file"}'))
    assert signed.app[ENTRIES][1] == "file"


async def test_erasing(signed):
    assert (await signed.delete("/entries/1")).status == 204
    assert (await signed.get("/entries/1")).status == 404


async def test_patching_is_not_allowed(signed):
    response = await signed.patch("/entries/1")
    assert response.status == 405
    assert response.headers["Allow"] == "DELETE,GET,HEAD,PUT"


async def test_head(signed):
    response = await signed.head("/entries/1")
    assert (response.status, response.content_length, await response.read()) == (200, 5, b"")


async def test_mine(signed):
    response = await signed.get("/mine")
    assert await response.text() == "hello"
    assert [past.status for past in response.history] == [302]


async def test_not_following_to_mine(signed):
    response = await signed.get("/mine", allow_redirects=False)
    assert response.headers["Location"] == "/entries/1"


async def test_mine_of_nobody(client):
    assert await (await client.get("/mine")).json() == {}


async def test_export(signed):
    await signed.post("/entries", data={"text": "second"})
    async with signed.get("/export") as response:
        assert [line async for line in response.content] == [b"hello\n", b"second\n"]


async def test_live(signed):
    async with signed.ws_connect("/live") as ws:
        await ws.send_str("hi")
        assert await ws.receive_json() == {"entries": 1, "said": "hi"}


async def test_live_wants_a_websocket(client):
    assert (await client.get("/live")).status == 400
    with pytest.raises(WebSocketHandshakeError):
        await client.ws_connect("/entries")


async def test_an_impatient_client(client):
    with pytest.raises(TimeoutError):
        await client.get("/wait", params={"seconds": "60"}, timeout=0.01)


async def test_many_clients_at_once(client):
    async def ask():
        assert await (await client.get("/wait?seconds=0")).text() == "waited"

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)


async def test_the_middleware_alone():
    handler = make_mocked_coro(web.Response())
    response = await stamp(make_mocked_request("GET", "/"), handler)
    assert response.headers["X-Guest-Book"] == "1"
    handler.assert_called_once()


async def test_a_handler_alone():
    app = make_app()
    app[ENTRIES][3] = "alone"
    assert (await entry(make_mocked_request("GET", "/", match_info={"key": "3"}, app=app))).text == "alone"
    assert (await index(make_mocked_request("GET", "/", app=app))).text == '{"3": "alone"}'


async def test_in_memory(structweb_client):
    client = await structweb_client(make_app(), server_kwargs={"memory": True})
    assert (await client.get("/entries")).headers["X-Guest-Book"] == "1"
