"""What a job is to do: something to await, or a function to call in the job's task."""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

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
        if isinstance(target, Awaitable):
            if args:
                self.discard()
                raise TypeError(f"a coroutine takes no arguments any more, got {args!r} for {target!r}")
        elif not callable(target):
            raise TypeError(f"expected a coroutine or a function with its arguments, got {target!r}")

    @property
    def name(self) -> str:
        """The name of the coroutine or function."""
        return getattr(self.target, "__qualname__", None) or repr(self.target)

    def begin(self) -> Awaitable[T]:
        """Return what to await."""
        target = self.target
        if isinstance(target, Awaitable):
            self._awaited = target
            return target
        awaited = self._awaited = target(*self._args)
        self._args = ()  # they may be large, and the job may be kept for its result
        return awaited

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
