"""The tasks that a handler has spawned: they end with it, also where a middleware answers for it."""

import logging
from functools import update_wrapper
from typing import TYPE_CHECKING, Final

import anyio

from structweb._server.exchange import Exchange
from structweb._server.firewall import unwrapped
from structweb._web.routes import Handler
from structweb._wire.events import Refusal

if TYPE_CHECKING:
    from structweb._web.request import Request
    from structweb._web.streaming import StreamResponse

logger: Final = logging.getLogger("structweb.server")

#: The tasks of a request that ran before a handler: they are somebody else's.
Others = frozenset[anyio.CancelScope]


def with_its_tasks(handler: Handler) -> Handler:
    """Return `handler` so that its tasks are ended when it raises or is cancelled.

    Only for those who have middlewares around them: else the request ends with the handler, and ends them.
    """

    async def call(request: "Request") -> "StreamResponse":
        crew = request._exchange.crew
        others = None if crew is None else crew.running
        try:
            return await handler(request)
        except BaseException:
            await end_tasks(request._exchange, others)
            raise

    return update_wrapper(call, handler)


def running(exchange: Exchange) -> Others | None:
    """Return the tasks of a request that run now; None if there was never one."""
    return None if exchange.crew is None else exchange.crew.running


async def outwait_tasks(exchange: Exchange, others: Others | None) -> None:
    """Wait for the tasks of a handler that has returned.  What they raise comes as a cancellation."""
    if exchange.crew is not None:
        await exchange.crew.outwait(others or frozenset())


async def end_tasks(exchange: Exchange, others: Others | None) -> None:
    """End the tasks of a handler that has raised, or was cancelled; what they raise then is logged.

    Not where the connection is cancelled: it ends all tasks, and one of them may be why.
    """
    if exchange.crew is None or exchange.cancel_scope.cancel_called:
        return
    try:
        await exchange.crew.end(others or frozenset())
    except ExceptionGroup as failure:
        log_failures(failure, exchange, logger)


def log_failures(failure: ExceptionGroup[Exception], exchange: Exchange, log: logging.Logger) -> None:
    """Log what tasks of a request raised on their way out."""
    of_client, others = failure.split(lambda exc: is_of_client(exc, exchange))
    if of_client is not None:
        log.debug("Tasks of %r were failed by the client", exchange.head, exc_info=unwrapped(of_client))
    if others is not None:
        log.error("Tasks of %r failed as well", exchange.head, exc_info=unwrapped(others))


def is_of_client(error: BaseException, exchange: Exchange) -> bool:
    """Tell whether an error is the client's: it has sent what is no body, or too little of it, or has left."""
    return isinstance(error, Refusal) or (isinstance(error, ConnectionError) and exchange.peer_gone)
