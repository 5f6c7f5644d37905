"""Work that outlives its client, in virtual time."""

import anyio
import pytest

from examples import background_work
from tests.web.served import get, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seconds", [0.01, 0.06, 1])
async def test_an_order_is_stored_whoever_waits_for_it(seconds, capsys):
    """S-36, S-34: both writes and the mail, whether the client leaves during the first, the second or behind them."""
    async with serving(background_work.init_func([])) as served:
        connection = served.connect()
        await connection.stream.send(get("/orders", method="POST", body=b"tea"))
        await anyio.sleep(seconds)
        connection.stream.close()
    assert capsys.readouterr().out.splitlines() == ["redis: tea", "postgres: tea", "mail: tea"]


async def test_the_response_does_not_wait_for_the_mail(capsys):
    """S-33."""
    async with serving(background_work.init_func([])) as served:
        answer = await served.ask("/orders", method="POST", body=b"tea")
        assert (answer.status, answer.text) == (201, "took tea")
        assert capsys.readouterr().out.splitlines() == ["redis: tea", "postgres: tea"]
    assert capsys.readouterr().out.splitlines() == ["mail: tea"]


async def test_what_is_shielded_is_stored_and_the_rest_stops(capsys):
    """S-36: the handler itself ends with its client, and the application at once when it is told to."""
    async with serving(background_work.init_func([])) as served:
        start = anyio.current_time()
        connection = served.connect()
        await connection.stream.send(get("/orders", method="PUT", body=b"tea"))
        await anyio.sleep(0.01)
        connection.stream.close()
    assert anyio.current_time() - start < 1
    assert capsys.readouterr().out.splitlines() == ["redis: tea", "postgres: tea"]
