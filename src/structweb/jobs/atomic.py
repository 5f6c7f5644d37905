"""Handlers that come to their end whatever their client does."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import isawaitable
from typing import Final, TypeVar, cast

from structweb._web.errors import HTTPException
from structweb._web.keeping import keep
from structweb._web.request import Request
from structweb._web.view import AbstractView
from structweb.jobs.application import get_scheduler
from structweb.jobs.work import Work

T = TypeVar("T")

logger: Final = logging.getLogger("structweb.jobs")


class _Call:
    """One call of an atomic handler."""

    __slots__ = ("_args", "_handler", "_let_go", "abandoned")

    def __init__(self, handler: Callable[..., object], args: tuple[object, ...], let_go: Callable[[], None]) -> None:
        self._handler = handler
        self._args = args
        self._let_go = let_go
        #: Whether nobody waits any more for what the handler returns.
        self.abandoned = False

    async def run(self) -> object:
        """Return what the handler returns."""
        try:
            result = self._handler(*self._args)
            return await result if isawaitable(result) else result
        except (HTTPException, ConnectionError) as exc:
            if not self.abandoned:
                raise
            # A response, or the client's departure as reading or writing tells of it: nobody's error.
            logger.debug("An atomic handler whose client had left ended with %r", exc)
            return None
        finally:
            self._let_go()


def atomic(handler: Callable[..., Awaitable[T] | T]) -> Callable[..., Awaitable[T]]:
    """Make a handler come to its end: the client's leaving ends the wait for it, and not the handler.

    For handlers, ``async`` or plain, functions or methods, and for the methods of a `View`.  The handler runs as a job
    of the application's scheduler (`setup`): it counts against the limit, and waits for its turn when that is reached.
    Once the client has left, its response is thrown away, and reading the request raises ConnectionResetError.
    """
    if isinstance(handler, type):
        raise TypeError(f"atomic is for functions and for the methods of a View, got the class {handler!r}")

    name: str | None = getattr(handler, "__qualname__", None)

    @wraps(handler)
    async def call_atomically(*args: object) -> T:
        last = args[-1]  # the methods of other classes have their object before it
        request = last.request if isinstance(last, AbstractView) else last
        if not isinstance(request, Request):
            raise TypeError(f"an atomic handler takes a request or is a method of a View, got {args!r}")
        scheduler = get_scheduler(request)
        let_go = keep(request)
        call = _Call(handler, args, let_go)
        job = scheduler._put(Work(call.run, on_discard=let_go), name)
        if job.pending:
            await scheduler._until_queued(job)
        try:
            return cast("T", await job.wait())  # what the handler returns
        except BaseException:
            call.abandoned = True
            raise

    return call_atomically
