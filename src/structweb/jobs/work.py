"""What a job is to do: something to await, or a function to call in the job's task."""

from collections.abc import Awaitable, Callable
from contextvars import Context
from types import CoroutineType, TracebackType
from typing import Final, Generic, TypeVar

from structweb._server.isolation import WRAPPER, Steps
from structweb._server.whereabouts import await_point

T = TypeVar("T")


class Work(Generic[T]):
    """An awaitable, or a function with its arguments, that is begun at most once."""

    __slots__ = ("_args", "_awaited", "_on_discard", "target")

    def __init__(
        self,
        target: Awaitable[T] | Callable[..., Awaitable[T]],
        args: tuple[object, ...] = (),
        *,
        on_discard: Callable[[], None] | None = None,
    ) -> None:
        """Take `target`; call `on_discard` should it never begin.

        Raises TypeError for what is neither awaitable nor callable, and for a coroutine with arguments.
        """
        self.target: Final = target
        self._args = args
        self._on_discard = on_discard
        self._awaited: Awaitable[T] | None = None
        if type(target) is CoroutineType or isinstance(target, Awaitable):
            if args:
                self.discard()
                raise TypeError(f"a coroutine takes no arguments any more, got {args!r} for {target!r}")
        elif not callable(target):
            raise TypeError(f"expected a coroutine or a function with its arguments, got {target!r}")

    @property
    def name(self) -> str:
        """The name of the coroutine or function."""
        return getattr(self.target, "__qualname__", None) or repr(self.target)

    def begin(self, context: Context) -> Steps:
        """Return what to step, in `context`."""
        target = self.target
        steps: Steps
        if type(target) is CoroutineType:
            self._awaited = steps = target
        else:
            if not isinstance(target, Awaitable):
                target = context.run(target, *self._args)
                self._args = ()  # they may be large, and the job may be kept for its result
            self._awaited = target
            steps = target if type(target) is CoroutineType else _await(target)
        wrapper = context.get(WRAPPER)
        return steps if wrapper is None else wrapper(steps)

    def discard(self) -> None:
        """Close a coroutine that will not be awaited: Python warns of those that are forgotten."""
        close = getattr(self.target, "close", None)
        if close is not None and hasattr(self.target, "cr_frame"):
            close()
        if self._on_discard is not None:
            self._on_discard()
        self._args = ()

    def place(self) -> str | None:
        """Return where it waits, as reports have it; None before it has begun."""
        return await_point(self._awaited)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback of what work raised without the frames that ran it."""
    inner = None if traceback is None else traceback.tb_next
    return inner.tb_next if inner is not None and inner.tb_frame.f_code is _await.__code__ else inner
