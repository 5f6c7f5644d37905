"""What leaves a connection: failures become log records, nothing reaches a sibling."""

import math
from typing import Final

import anyio

from structweb._server.log import server_logger

#: What ends the program, whoever raises it.
FATAL: Final = (KeyboardInterrupt, SystemExit)


def unwrapped(error: BaseException) -> BaseException:
    """Return the one exception inside an exception group of one (of one ...), or else `error` itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def is_ending() -> bool:
    """Tell whether the running task has been cancelled from outside."""
    return anyio.current_effective_deadline() == -math.inf


def contain(error: BaseException, where: str) -> BaseException | None:
    """Log the failures in `error` as one record; return what concerns the whole program, or None.

    An `Exception`, or a group of them, is logged with its traceback under `where` (who is connected, doing what).
    KeyboardInterrupt and SystemExit are returned: the caller must end the server with them.  Other exceptions outside
    of `Exception` are failures too: asyncio's CancelledError on trio is one handler's mistake, and nobody else's.
    A cancellation is dropped, so this belongs into the outermost frame of a task, where nothing is left to cancel.
    There it must not pass, even: on asyncio a stray one (a handler that raises CancelledError) would cancel the
    whole task group around it.
    """
    failures, rest = _split(error, Exception)
    fatal, rest = _split(rest, FATAL)
    cancellation, strange = (None, None) if rest is None else _split(rest, anyio.get_cancelled_exc_class())
    for failure in (failures, strange):
        if failure is not None:
            alone = unwrapped(failure)
            server_logger.error("Connection failed (%s): %r", where, alone, exc_info=alone)
    if cancellation is not None and not is_ending():
        server_logger.debug("Connection ended by a cancellation from outside (%s)", where, exc_info=cancellation)
    return None if fatal is None else unwrapped(fatal)


def _split(
    error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]
) -> tuple[BaseException | None, BaseException | None]:
    """Return the part of `error` that is of `kind`, and the rest."""
    if error is None:
        return None, None
    if isinstance(error, kind):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return error.split(kind)
    return None, error
