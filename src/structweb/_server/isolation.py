"""Stepping coroutines by hand, each in a context of its own: a handler inside its connection's task."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from structweb._wire.limits import Phase

if TYPE_CHECKING:
    from structweb._server.connection import Connection

#: What is stepped.  Any: what a backend's traps yield and take is its own affair.
Steps: TypeAlias = Coroutine[Any, Any, Any]

#: Wraps the coroutines of tasks that start in its context, and of what older tasks then do: for tests that follow what
#: a handler starts.
WRAPPER: Final[ContextVar[Callable[[Steps], Steps] | None]] = ContextVar("structweb.wrapper", default=None)

_BODY: Final = Phase.BODY  # looking it up takes 0.1 us on CPython 3.11


@coroutine
def run_isolated(
    stepped: Steps,
    context: Context,
    connection: "Connection",
) -> Generator[Any, Any, None]:  # Any: as `Steps`
    """Step a handler by hand so that its context variables stay its own, without a task of its own.

    At its first suspension (and not before: a handler that never waits pays nothing) the connection starts to watch
    for the peer's departure.  While the handler reads the body the reading itself tells, so no watch is needed.
    """
    try:
        trap = context.run(stepped.send, None)
        while True:
            if not connection.watching and connection.phase is not _BODY:
                connection.watch()
            try:
                value = yield trap
                connection.away = False
            except GeneratorExit:
                context.run(stepped.close)
                raise
            except BaseException as exc:  # noqa: BLE001 - whatever the backend throws belongs to the handler
                thrown = [exc]
            else:
                trap = context.run(stepped.send, value)
                continue
            connection.away = False
            # Not while it is handled here, else it would be the context of all that the handler raises now.
            trap = context.run(stepped.throw, thrown.pop())
    except StopIteration:
        return
