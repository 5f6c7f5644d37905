"""Signals: lists of callables that are frozen once the application runs, and called in order."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableSequence
from inspect import isawaitable, iscoroutine
from typing import Generic, ParamSpec, TypeVar, overload

T = TypeVar("T")
P = ParamSpec("P")


class FrozenList(MutableSequence[T]):
    """A list that can be frozen: from then on every change raises RuntimeError."""

    __slots__ = ("_frozen", "_items")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = list(items)
        self._frozen = False

    @property
    def frozen(self) -> bool:
        """Whether the list refuses changes."""
        return self._frozen

    def freeze(self) -> None:
        """Refuse every change from now on.  Idempotent."""
        self._frozen = True

    def _check_frozen(self) -> None:
        if self._frozen:
            raise RuntimeError("Cannot modify frozen list.")

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._items[index]

    @overload
    def __setitem__(self, index: int, value: T) -> None: ...

    @overload
    def __setitem__(self, index: slice, value: Iterable[T]) -> None: ...

    def __setitem__(self, index: int | slice, value: T | Iterable[T]) -> None:
        self._check_frozen()
        self._items[index] = value  # type: ignore[index, assignment]  # one of the overloads

    def __delitem__(self, index: int | slice) -> None:
        self._check_frozen()
        del self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def insert(self, index: int, value: T) -> None:
        """Put `value` before the item at `index`."""
        self._check_frozen()
        self._items.insert(index, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and self._items == list(other)

    def __hash__(self) -> int:
        if not self._frozen:
            raise RuntimeError("Cannot hash unfrozen list.")
        return hash(tuple(self._items))

    def __repr__(self) -> str:
        return f"<FrozenList(frozen={self._frozen}, {self._items!r})>"


class Signal(FrozenList[Callable[P, Awaitable[object] | None]], Generic[P]):
    """A list of receivers, called one after the other with the arguments of `send`.

    A receiver is an ``async def`` function, or any callable that returns an awaitable or None.
    The signal itself is a decorator that appends: ``@app.on_startup``.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: object) -> None:
        super().__init__()
        self._owner = owner

    def __call__(self, receiver: Callable[P, T]) -> Callable[P, T]:
        """Append `receiver`, and return it."""
        self.append(receiver)  # type: ignore[arg-type]  # what it returns is checked when it does
        return receiver

    def insert(self, index: int, value: Callable[P, Awaitable[object] | None]) -> None:
        """Put a receiver before the one at `index`.  Raises TypeError for what cannot be called."""
        given: object = value
        if not callable(given):
            called = ""
            if iscoroutine(given):
                given.close()
                called = f": do not call {given.__qualname__}, the signal does"
            raise TypeError(f"a signal receiver must be a function, got {given!r}{called}")
        super().insert(index, value)

    async def send(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every receiver in order, awaiting each.  The first exception ends the round and comes out.

        Raises RuntimeError while receivers may still be added: freeze the signal first.
        """
        if not self._frozen:
            raise RuntimeError("Cannot send non-frozen signal.")
        for receiver in self._items:
            await settle(receiver, receiver(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<Signal owner={self._owner!r}, frozen={self._frozen}, {self._items!r}>"


async def settle(receiver: object, answer: Awaitable[object] | None) -> None:
    """Await what `receiver` returned, if it returned anything.  Raises TypeError if that cannot be awaited."""
    if answer is None:
        return
    if not isawaitable(answer):
        raise TypeError(f"a signal receiver must return an awaitable or None, got {answer!r} from {receiver!r}")
    await answer
