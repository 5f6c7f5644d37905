"""Routing by something else than method and path."""

import pytest

from tests.examples.client import example

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]

JSON, XML, HTML = "application/json", "application/xml", "text/html"


@pytest.mark.parametrize("field", ["Accept", "accept", "ACCEPT"])
async def test_the_accept_field_chooses_the_handler(field):
    """S-37: request.headers.getall('ACCEPT', []), however the client spells it."""
    async with example("accept_chooser") as client:
        as_json = await client.ask("GET", "/", [(field, JSON)])
        as_xml = await client.ask("GET", "/", [(field, XML)])
    assert (as_json.status, as_json.text) == (200, '{"hello": "world"}')
    assert as_json.get("Content-Type") == "application/json; charset=utf-8"
    assert (as_xml.status, as_xml.text) == (200, "<hello>world</hello>")
    assert as_xml.get("Content-Type") == "application/xml; charset=utf-8"


async def test_the_first_that_is_known_wins():
    """S-37: several fields are several values."""
    async with example("accept_chooser") as client:
        answer = await client.ask("GET", "/", [("Accept", HTML), ("Accept", XML), ("Accept", JSON)])
    assert (answer.status, answer.text) == (200, "<hello>world</hello>")


@pytest.mark.parametrize("fields", [[], [("Accept", HTML)]], ids=["nothing", "something else"])
async def test_what_nobody_can_make_is_406(fields):
    """S-37: raise web.HTTPNotAcceptable()."""
    async with example("accept_chooser") as client:
        answer = await client.ask("GET", "/", fields)
        assert (await client.ask("GET", "/", [("Accept", JSON)])).status == 200
    assert (answer.status, answer.reason, answer.text) == (406, "Not Acceptable", "406: Not Acceptable")
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
