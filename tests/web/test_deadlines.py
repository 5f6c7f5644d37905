"""The time a handler has, by its route and by its client."""

import math
from contextlib import suppress

import anyio
import pytest

from structweb import web
from tests.web.talk import ask

pytestmark = pytest.mark.anyio


async def slow(request: web.Request) -> web.Response:
    """Take five seconds."""
    await anyio.sleep(5)
    return web.Response(text="done")


async def left(request: web.Request) -> web.Response:
    """Tell how much time there is."""
    return web.Response(text=f"{request.deadline - anyio.current_time():g}")


def app_with(handler: object, **options: object) -> web.Application:
    app = web.Application()
    app.router.add_get("/", handler, **options)
    return app


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        ({}, (), "inf"),
        ({"handler_timeout": 3}, (), "3"),
        ({"deadline_header": "X-Timeout"}, (), "inf"),
        ({"deadline_header": "X-Timeout"}, ("x-timeout: 2.5",), "2.5"),
        ({"deadline_header": "X-Timeout", "handler_timeout": 3}, ("X-Timeout: 2.5",), "2.5"),
        ({"deadline_header": "X-Timeout", "handler_timeout": 3}, ("X-Timeout: 2000",), "3"),
        ({"deadline_header": "X-Timeout", "handler_timeout": 3}, (), "3"),
        ({"handler_timeout": 3}, ("X-Timeout: 1",), "3"),
    ],
)
async def test_the_least_time_counts_and_can_be_read(options, fields, expected):
    reply = await ask(app_with(left, **options), "/", *fields)
    assert (reply.status, reply.body.decode()) == (200, expected)


@pytest.mark.parametrize(("asked", "took"), [("2", 2), ("0", 0), ("0.5", 0.5)])
async def test_a_handler_is_cut_when_its_client_waits_no_longer(asked: str, took: float):
    start = anyio.current_time()
    reply = await ask(app_with(slow, deadline_header="X-Timeout"), "/", f"X-Timeout: {asked}")
    assert reply.status == 504
    assert anyio.current_time() - start == pytest.approx(took)


async def test_a_handler_in_time_is_not_cut():
    reply = await ask(app_with(slow, deadline_header="X-Timeout"), "/", "X-Timeout: 6")
    assert (reply.status, reply.body) == (200, b"done")


@pytest.mark.parametrize("value", ["soon", "-1", "1e3", "inf", "nan", "", "1.", ".5", "1" * 11, "1, 2", "\u0661"])
async def test_what_is_no_number_of_seconds_is_refused(value: str):
    reply = await ask(app_with(slow, deadline_header="X-Timeout"), "/", f"X-Timeout: {value}")
    assert reply.status == 400
    assert b"X-Timeout must be a decimal number of seconds, got " in reply.body


async def test_a_header_that_comes_twice_is_refused():
    reply = await ask(app_with(slow, deadline_header="X-Timeout"), "/", "X-Timeout: 6", "X-Timeout: 1")
    assert reply.status == 400
    assert b"got '6, 1'" in reply.body


async def test_a_sub_application_may_ask_for_it_and_a_route_may_not():
    subapp = web.Application(deadline_header="X-Timeout")
    subapp.router.add_get("/all", left)
    subapp.router.add_get("/none", left, deadline_header=None)
    app = web.Application()
    app.add_subapp("/sub", subapp)
    assert (await ask(app, "/sub/all", "X-Timeout: 4")).body == b"4"
    assert (await ask(app, "/sub/none", "X-Timeout: 4")).body == b"inf"


async def test_a_clone_has_the_same_deadline():
    async def handler(request: web.Request) -> web.Response:
        return await left(request.clone(method="POST"))

    reply = await ask(app_with(handler, handler_timeout=3))
    assert reply.body == b"3"


async def test_middlewares_may_answer_instead():
    async def around(request: web.Request, handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except TimeoutError:
            raise web.HTTPServiceUnavailable(text="try later") from None

    app = web.Application(middlewares=[around], deadline_header="X-Timeout")
    app.router.add_get("/", slow)
    reply = await ask(app, "/", "X-Timeout: 1")
    assert (reply.status, reply.body) == (503, b"try later")


async def test_without_a_limit_there_is_no_deadline():
    requests = []

    async def handler(request: web.Request) -> web.Response:
        requests.append(request)
        return web.Response()

    await ask(app_with(handler))
    assert requests[0].deadline == math.inf


@pytest.mark.parametrize("name", ["", "two words", "colon:"])
def test_the_header_needs_a_name(name: str):
    with pytest.raises(ValueError, match="deadline_header must be the name of a header, got"):
        web.Application(deadline_header=name)


@pytest.mark.parametrize("spawned", [False, True])
async def test_a_shield_that_has_held_the_deadline_back_is_lifted_by_name(spawned: bool, caplog):
    async def save(request: web.Request) -> None:
        async with request.atomic(deadline=5):
            await anyio.sleep(100)

    async def handler(request: web.Request) -> web.Response:
        if spawned:
            request.spawn(save, request)
            await anyio.sleep(100)
        await save(request)
        raise AssertionError

    start = anyio.current_time()
    reply = await ask(app_with(handler, handler_timeout=2))
    assert reply.status == 504
    assert anyio.current_time() - start == pytest.approx(5, abs=1)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "A shield was lifted, its deadline has passed: peer" in record.getMessage()
    assert ", deadline" in record.getMessage()
    assert f"at {__file__}:" in record.getMessage()


async def test_a_shield_of_a_middleware_behind_it_has_nothing_to_hold_back(caplog):
    @web.middleware
    async def save(request: web.Request, handler) -> web.StreamResponse:
        with suppress(TimeoutError):
            await handler(request)
        async with request.atomic(deadline=3):
            await anyio.sleep(10)
        return web.Response(text="saved")

    app = web.Application(middlewares=[save])
    app.router.add_get("/", slow, handler_timeout=2)
    assert (await ask(app)).body == b"saved"
    assert "lifted" not in caplog.text
