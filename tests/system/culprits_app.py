"""An application with one thing that holds a shutdown: ``structweb serve tests.system.culprits_app:make_app KIND``.

Clean-ups say that they ran.  A line that ends in a comment "here" is where the culprit waits when it is cut.
"""

import sys

import anyio

from structweb import jobs, web
from tests.system.program_app import idle

#: Seconds that shields have, and jobs: to end by themselves, and once they were told to.
SHIELD, WAIT, CLOSE = 0.2, 0.2, 0.1
#: Seconds for which a job holds out against its cancellation.
STUBBORN = 0.15


def say(words: str) -> None:
    """Print a line, for the test that reads along: the interpreter runs unbuffered."""
    sys.stdout.write(words + "\n")


async def atomic(request: web.Request) -> web.Response:
    """Never end, in a block that the shutdown has to lift."""
    async with request.atomic(deadline=1000):
        say("waiting")
        await anyio.sleep_forever()  # here
    raise AssertionError("nobody has woken it")


async def deaf() -> None:
    """Take no notice of the first cancellation, until its own shield is over; wait to be told again."""
    try:
        say("waiting")
        await anyio.sleep_forever()  # here
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(STUBBORN, shield=True):
            await anyio.sleep_forever()  # here, later
    say("deaf no more")
    await anyio.sleep_forever()


async def spawning(request: web.Request) -> web.Response:
    """Start a job that ignores its cancellation."""
    await jobs.spawn(request, deaf)
    return web.Response()


async def shielding(request: web.Request) -> web.Response:
    """Start one that is shielded from the end of its request."""
    jobs.shield(request, deaf)
    return web.Response()


async def crash() -> None:
    """Serve until told to stop, and fail then."""
    try:
        await anyio.sleep_forever()
    finally:
        raise OSError("the disk is gone")  # here


async def first(app: web.Application):
    """The context that is left last."""
    yield
    await anyio.lowlevel.checkpoint()
    say("first cleaned")


async def second(app: web.Application):
    """The context that is left before jobs end."""
    yield
    await anyio.lowlevel.checkpoint()
    say("second cleaned")


async def goodbye(app: web.Application) -> None:
    """The last step of all."""
    await anyio.lowlevel.checkpoint()
    say("goodbye")


def make_app(argv: list[str]) -> web.Application:
    """Take the kind of the culprit."""
    (kind,) = argv
    app = web.Application(handler_args={"shield_timeout": SHIELD})
    app.cleanup_ctx.append(first)
    jobs.setup(app, wait_timeout=WAIT, close_timeout=CLOSE)
    app.cleanup_ctx.append(second)
    app.on_cleanup.append(goodbye)
    app.add_routes(
        [
            web.get("/atomic", atomic),
            web.get("/spawn", spawning),
            web.get("/shield", shielding),
            web.get("/websocket", idle),
        ]
    )
    if kind != "none":
        app.service(crash, critical=kind == "critical")
    return app
