"""Services are restarted, after pauses that grow, and say how they are (B-08)."""

import json
import logging

import anyio
import pytest

from structweb import web
from structweb._web.lifespan import Lifespan
from tests.web.faulty import STEADY, Faulty, only
from tests.web.served import serving

pytestmark = pytest.mark.anyio


# -- restarts ------------------------------------------------------------------------------------------------------


async def test_pauses_grow_and_are_logged(caplog):
    app = web.Application()
    faulty = Faulty(*[LookupError(f"crash {number}") for number in range(8)])
    app.service(faulty, restart="on-failure", critical=False, backoff=web.Backoff(jitter=0, maximum=20), name="faulty")
    async with Lifespan(app):
        await anyio.sleep(200)
        assert faulty.pauses() == [1, 2, 4, 8, 16, 20, 20, 20]
        service = only(app)
        assert (service.state, service.restarts) == ("running", 8)
        assert str(service.last_error) == "crash 7"
    assert [record.getMessage() for record in caplog.records][:2] == [
        "Service faulty crashed, it starts again in 1 s",
        "Service faulty crashed, it starts again in 2 s",
    ]
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


async def test_a_healthy_run_resets_the_pauses_and_the_count():
    app = web.Application()
    faulty = Faulty(*[LookupError("crash")] * 9, lasting=30)
    backoff = web.Backoff(jitter=0, healthy=30, attempts=2)
    app.service(faulty, restart="on-failure", backoff=backoff, name="faulty")
    async with Lifespan(app):
        await anyio.sleep(1000)
    assert faulty.pauses() == [31] * 9


async def test_chance_shortens_the_pauses_by_the_jitter():
    chances = [0.0, 1.0, 0.5]
    app = web.Application()
    faulty = Faulty(*[LookupError("crash")] * 3)
    backoff = web.Backoff(initial=8, jitter=0.25, random=lambda: chances.pop(0))
    app.service(faulty, restart="on-failure", backoff=backoff, name="faulty")
    async with Lifespan(app):
        await anyio.sleep(1000)
    assert faulty.pauses() == [8, 16 * 0.75, 32 * 0.875]


async def test_always_restarts_what_returns(caplog):
    caplog.set_level(logging.INFO)
    app = web.Application()
    faulty = Faulty(*[None] * 7)
    app.service(faulty, restart="always", backoff=STEADY, name="faulty")
    async with Lifespan(app):
        await anyio.sleep(100)
        assert faulty.pauses() == [1, 2, 4, 8, 16, 32]
        assert only(app).state == "backing off"
        assert only(app).last_error is None
    assert "Service faulty returned, it starts again in 1 s" in caplog.text
    assert only(app).state == "stopped"


async def test_it_may_be_back_at_once():
    app = web.Application()
    faulty = Faulty(*[LookupError("crash")] * 4)
    app.service(faulty, restart="on-failure", backoff=web.Backoff(initial=0), name="faulty")
    async with Lifespan(app):
        await anyio.sleep(1)
        assert faulty.pauses() == [0] * 4


async def test_one_that_is_not_critical_fails_alone(caplog):
    app = web.Application()
    app.service(Faulty(LookupError("cache is gone")), critical=False, name="cache")
    async with serving(app) as served:
        await anyio.sleep(1)
        assert (await served.ask("/")).status == 404
        assert only(app).state == "failed"
    (record,) = caplog.records
    assert record.getMessage() == "Service cache failed"
    assert str(record.exc_info[1]) == "cache is gone"


async def test_a_health_handler_sees_them():
    app = web.Application()
    app.service(
        Faulty(LookupError("away"), LookupError("still away")), critical=False, restart="on-failure", name="mail"
    )
    app.service(Faulty(), name="queue")

    async def health(request: web.Request) -> web.Response:
        states = {each.name: [each.state, each.restarts, repr(each.last_error)] for each in request.app.services}
        return web.json_response(states, status=200 if states["mail"][0] == "running" else 503)

    app.router.add_get("/health", health)
    async with serving(app) as served:
        await anyio.sleep(0.1)
        answer = await served.ask("/health")
        assert answer.status == 503
        assert json.loads(answer.body) == {
            "mail": ["backing off", 0, "LookupError('away')"],
            "queue": ["running", 0, "None"],
        }
        await anyio.sleep(60)
        answer = await served.ask("/health")
        assert answer.status == 200
        assert json.loads(answer.body)["mail"] == ["running", 2, "LookupError('still away')"]
