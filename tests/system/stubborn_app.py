"""What goes on when it is told to end, each in its own way: ``structweb serve tests.system.stubborn_app:make_app``."""

from pathlib import Path

import anyio

from structweb import jobs, web
from tests.system.program_app import DOORS, Doors, ping

#: Seconds that a shield outlasts the shutdown timeout, and that jobs have to end by themselves.
SHIELDED = WAITED = 0.5


async def atomic(request: web.Request) -> web.Response:
    request.app[DOORS].waiting += 1
    async with request.atomic(deadline=1000):
        await anyio.sleep_forever()  # the shield
    raise AssertionError("never here")


async def work() -> None:
    await anyio.sleep_forever()  # the job


async def shield(request: web.Request) -> web.Response:
    jobs.shield(request, work)
    return web.Response(text="begun")


async def crash() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise OSError("the disk is gone")


def make_app(argv: list[str]) -> web.Application:
    """Take the path of a folder, where clean-up writes; the rest does not matter."""
    folder = Path(argv[0])

    async def house(app: web.Application):
        app[DOORS] = Doors()
        yield
        (folder / "cleaned").touch()

    app = web.Application(handler_args={"shield_timeout": SHIELDED})
    app.cleanup_ctx.append(house)
    jobs.setup(app, wait_timeout=WAITED, close_timeout=0.1)
    app.add_routes([web.get("/ping", ping), web.get("/atomic", atomic), web.get("/shield", shield)])
    return app


def make_crashing_app(argv: list[str]) -> web.Application:
    """Make the same, with a service that fails when it is told to end."""
    app = make_app(argv)
    app.service(crash)
    return app
