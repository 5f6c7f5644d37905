"""SIGINT and SIGTERM as two requests: end gracefully, then end at once."""

import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Final

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from structweb._server.log import server_logger

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def open_signals(
    graceful: Callable[[], object],
    at_once: Callable[[], object],
    *,
    task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
) -> None:
    """Call `graceful` at the first SIGINT or SIGTERM and `at_once` at the second; then return.

    Run it as a task (`await group.start(open_signals, ...)`: the signals are taken over when `start` returns), and
    cancel it to give the signals back.  After the second one they have their usual effect again, so that a third ends
    a program whose handlers refuse to.  Outside the main thread, and where the event loop cannot receive signals
    (Windows), it does nothing.
    """
    with ExitStack() as stack:
        arriving = _receive_signals(stack)
        task_status.started()
        if arriving is None:
            return
        for request in (graceful, at_once):
            number = await anext(arriving)
            server_logger.debug("Got %s", signal.Signals(number).name)
            request()


def _receive_signals(stack: ExitStack) -> AsyncIterator[signal.Signals] | None:
    """Take the signals over until `stack` closes, or return None where that cannot be."""
    if threading.current_thread() is not threading.main_thread():
        server_logger.debug("Signals are left alone: only the main thread can receive them")
        return None
    # asyncio gives SIGINT back to Python's default, also where it was ignored (a shell's background job).
    for number in SIGNALS:
        stack.callback(signal.signal, number, signal.getsignal(number))
    try:
        return aiter(stack.enter_context(anyio.open_signal_receiver(*SIGNALS)))
    except NotImplementedError:
        server_logger.debug("Signals are left alone: this event loop cannot receive them")
        return None
