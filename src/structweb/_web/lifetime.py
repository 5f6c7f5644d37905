"""What a handler may know and say about its own end: the notice of a shutdown, and shields."""

import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVarTuple

import anyio

from structweb._server.crew import check_function
from structweb._server.notice import ShutdownNotice
from structweb._server.reasons import CancelReason
from structweb._server.shields import DEADLINE, Shield

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange

Ts = TypeVarTuple("Ts")


class RequestLifetime:
    """The part of a request that is about how long its handler lives."""

    _exchange: "Exchange"
    _deadline: float = math.inf

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The scope around the handling of this request: cancelling it ends the handler and the connection."""
        return self._exchange.cancel_scope

    @property
    def deadline(self) -> float:
        """When the handler's time is up, on the clock of `anyio.current_time()`; infinity if nobody set a limit.

        It is set by `handler_timeout` and `deadline_header` of a route or an application, and enforced: what is left
        is for telling others, as in ``timeout=request.deadline - anyio.current_time()``.
        """
        return self._deadline

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the handler was cancelled, for its clean-up to ask, and for the tasks that it has spawned.

        None while it was not, and where it was somebody else than the server: a task group of its own, or who cancels
        `cancel_scope`.  Inside a shield it tells what waits outside.  Where one follows the other (the client leaves
        a handler whose deadline has passed), what ends the connection counts.
        """
        return self._exchange.cancel_reason

    @property
    def shutting_down(self) -> ShutdownNotice:
        """Truthy once the server was told to stop; ``await request.shutting_down.wait()`` returns when it is.

        A handler that could go on for ever, such as a stream of events, should end then: after `shutdown_timeout`
        seconds it is cancelled.
        """
        return self._exchange.notice

    def spawn(
        self,
        func: Callable[[*Ts], Coroutine[Any, Any, object]],
        *args: *Ts,
        name: object = None,  # Any: what awaits
    ) -> None:
        """Run ``func(*args)`` beside the handler, as a task of this request.

        The response waits for it: a handler that returns has its tasks ended by themselves before its response is
        sent (or a streamed one is finished); a handler that raises or is cancelled has them cancelled,
        also where a middleware answers for it; `handler_timeout` counts for them, too.  A task that
        raises cancels the handler and its siblings, and what it raised is answered as if the handler had raised it;
        the connection ends with that.  Work that outlives the response is for `Application.start_soon` and jobs.
        Raises RuntimeError when the request is over, TypeError for what is no function.
        """
        check_function(func, "request.spawn()")
        self._exchange.spawn(func, *args, name=name or func)

    def atomic(self, deadline: float = DEADLINE) -> Shield:
        """Return a block, ``async with request.atomic():``, that is run to its end although the client leaves.

        No cancellation reaches it: not by the client's leaving, not by a shutdown, for `deadline` seconds (30 unless
        told otherwise).  Then it is lifted, and what has come meanwhile cancels the block at its next await; a
        shutdown waits `shield_timeout` seconds at most.  Sweeps come once a second, so a lifting may be late by that.
        Entering raises a cancellation that is there already, and leaving one that came meanwhile: all of the block is
        run, or nothing.  A job that outlives the request is not held by it for longer than the server lives: jobs have
        `structweb.jobs.shield`.  Raises ValueError unless `deadline` is finite and greater than 0.
        """
        return self._exchange.shield(deadline)
