"""The example, over real sockets."""

import pytest

from examples.session_visits import make_app
from tests.examples.client import serving

pytestmark = [pytest.mark.anyio, pytest.mark.real_backends]


async def test_the_example_answers():
    """S-46, S-47, S-48."""
    async with serving(make_app()) as client:
        answer = await client.ask("GET", "/", [("Cookie", "AIOHTTP_SESSION=forged")])
        assert (answer.status, answer.text) == (200, "Last visited: None")
