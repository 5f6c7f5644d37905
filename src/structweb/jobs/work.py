"""What a job is to do: something to await, or a function to call in the job's task."""

from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: Where nobody looks for the reason of a wait: the machinery under every await.
_MACHINERY: Final = frozenset({"anyio", "asyncio", "outcome", "trio", "uvloop", "structweb"})


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
        self.target = target
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
        """Return file and line of the innermost await that is not the machinery's, None if nothing is awaited."""
        found: FrameType | None = None
        step: object = self._awaited
        while step is not None:
            frame = (
                getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None) or getattr(step, "ag_frame", None)
            )
            if isinstance(frame, FrameType):
                package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
                if found is None or package not in _MACHINERY:
                    found = frame
            step = (
                getattr(step, "cr_await", None)
                or getattr(step, "gi_yieldfrom", None)
                or getattr(step, "ag_await", None)
            )
        return None if found is None else f"{found.f_code.co_filename}:{found.f_lineno}"
