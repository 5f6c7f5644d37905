"""The time that a handler has: what its route gives it, and what the client waits."""

import logging
import re
from functools import update_wrapper
from typing import TYPE_CHECKING, Final

import anyio

from structweb._server.reasons import CancelReason
from structweb._web.entourage import end_tasks, outwait_tasks, running
from structweb._web.errors import HTTPBadRequest
from structweb._web.routes import Handler

if TYPE_CHECKING:
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse

logger: Final = logging.getLogger("structweb.server")

# Ten digits are three centuries.
_SECONDS: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,10})?")


def timed(handler: Handler, seconds: float | None, header: str | None) -> Handler:
    """Return `handler` with a TimeoutError for running longer than `seconds`, or than the client waits by its `header`.

    The tasks that it spawns count.  Middlewares of applications can still answer it.
    """

    async def call(request: "Request") -> "StreamResponse":
        limit = seconds
        if header is not None:
            asked = _asked(request, header)
            limit = asked if limit is None or (asked is not None and asked < limit) else limit
        if limit is None:
            return await handler(request)
        exchange = request._exchange
        with anyio.fail_after(limit) as scope:
            request._deadline = scope.deadline
            exchange.time_limit = scope
            others = running(exchange)
            try:
                response = await handler(request)
                if exchange.crew is not None:
                    await outwait_tasks(exchange, others)  # what it has spawned is part of its work
                return response
            except BaseException:
                await end_tasks(exchange, others)
                raise
            finally:
                if scope.cancel_called:
                    logger.debug("Handler cancelled, %s (%r)", CancelReason.DEADLINE.value, exchange.head)
                else:
                    exchange.time_limit = None  # behind the handler there is none any more

    return update_wrapper(call, handler)


def _asked(request: "Request", header: str) -> float | None:
    """Return how many seconds the client waits, None if it does not say; a 400 for anything else."""
    values = request.headers.getall(header, ())
    if not values:
        return None
    value = ", ".join(values)  # what several lines mean (RFC 9110 section 5.3)
    if not _SECONDS.fullmatch(value):
        raise HTTPBadRequest(text=f"{header} must be a decimal number of seconds, got {value[:50]!r}")
    return float(value)
