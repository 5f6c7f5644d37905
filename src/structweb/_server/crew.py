"""The tasks of one connection beside its own, or of one request: a watcher, a reader of messages, what a handler spawns.

Most never have one, so they do not pay for a task group of their own each.  The tasks run in the server's group, and
their owner answers for them all the same: before it ends, it ends them, waits for them, and raises what they raised.
"""

from collections.abc import Callable, Coroutine
from inspect import isawaitable, iscoroutine
from types import CoroutineType
from typing import Any, TypeVarTuple, Unpack

import anyio
from anyio.abc import TaskGroup

from structweb._server.whereabouts import await_point

Ts = TypeVarTuple("Ts")


def check_function(func: object, taker: str) -> None:
    """Raise TypeError unless `func` can be called; a coroutine, which is what most people try, is closed."""
    if callable(func):
        return
    hint = ""
    if iscoroutine(func):
        func.close()
        hint = f": do not call {func.__qualname__}, name it and put its arguments behind it"
    raise TypeError(f"{taker} takes an async function and its arguments, got {func!r}{hint}")


def awaitable_of(func: Callable[[Unpack[Ts]], Any], *args: *Ts) -> Any:  # Any: is checked
    """Call `func`, and return what it returned; raise TypeError if nobody can await that."""
    made = func(*args)
    if type(made) is not CoroutineType and not isawaitable(made):
        raise TypeError(f"a task must be an async function, got {func!r}, which returned {made!r}")
    return made


class Crew:
    """A task group inside its owner's lifetime, which costs next to nothing until its first task."""

    __slots__ = (
        "_closed",
        "_ended",
        "_ending",
        "_failures",
        "_group",
        "_late",
        "_on_failure",
        "_one_ended",
        "_owner",
        "_scopes",
    )

    def __init__(self, group: TaskGroup, on_failure: Callable[[], object], *, owner: str = "a connection") -> None:
        """Make a crew whose tasks run in `group`.  When one fails, `on_failure` is called, to cancel its `owner`."""
        self._group = group
        self._on_failure = on_failure
        self._owner = owner
        #: The tasks that run: their scopes, and what they await.  None before the first one.
        self._scopes: dict[anyio.CancelScope, object] | None = None
        self._failures: list[BaseException] = []
        #: What tasks raised that `end` had told to end.
        self._late: list[BaseException] = []
        #: Whether no more may start.
        self._closed = False
        #: Whether `end` waits.
        self._ending = False
        #: Set when the last task has ended, for `dismiss`.
        self._ended: anyio.Event | None = None
        #: Set when the next task ends; None while nobody waits for that.
        self._one_ended: anyio.Event | None = None

    @property
    def needed(self) -> bool:
        """Whether it ever had a task: only then there is something to `dismiss`."""
        return self._scopes is not None

    @property
    def dismissed(self) -> bool:
        """Whether its tasks were told to end."""
        return self._ended is not None or self._ending

    @property
    def running(self) -> frozenset[anyio.CancelScope]:
        """The tasks that run now, to tell those that start later from them."""
        return frozenset(self._scopes or ())

    def start_soon(
        self, func: Callable[[Unpack[Ts]], Coroutine[Any, Any, object]], *args: *Ts, name: object = None
    ) -> None:
        """Start `func(*args)` as a task.  Raises RuntimeError once the crew was closed or dismissed."""
        if self._closed:
            raise RuntimeError(f"cannot start a task: {self._owner} is ending")
        if self._scopes is None:
            self._scopes = {}
        scope = anyio.CancelScope()
        self._scopes[scope] = None
        self._group.start_soon(self._run, scope, self._scopes, func, args, name=name)

    async def _run(
        self,
        scope: anyio.CancelScope,
        scopes: dict[anyio.CancelScope, object],
        func: Callable[[Unpack[Ts]], Coroutine[Any, Any, object]],
        args: tuple[*Ts],
    ) -> None:
        try:
            with scope:
                scopes[scope] = awaitable = awaitable_of(func, *args)
                await awaitable
        except BaseException as exc:  # noqa: BLE001 - raised by `dismiss`, where the connection's firewall is
            # In the outermost frame of a task a cancellation has done its work; a stray one would, on asyncio,
            # cancel all connections of the group.
            if not isinstance(exc, anyio.get_cancelled_exc_class()):
                self._failed(exc, told=scope.cancel_called)
        finally:
            del scopes[scope]
            if self._one_ended is not None:
                self._one_ended.set()
                self._one_ended = None
            if not scopes and self._ended is not None:
                self._ended.set()

    def _failed(self, error: BaseException, *, told: bool) -> None:
        if self._ended is not None:  # `dismiss` raises it: its owner may have something to see to before it ends
            self._failures.append(error)
        elif told:
            self._late.append(error)
        else:
            self._failures.append(error)
            self._on_failure()

    def close(self) -> None:
        """Start no more tasks."""
        self._closed = True

    def place(self) -> str | None:
        """Return where the oldest task waits that its owner waits for, for reports; None if it waits for none."""
        if self._one_ended is None or not self._scopes:
            return None
        return await_point(next(iter(self._scopes.values())))

    async def join(self) -> None:
        """Wait until all tasks have ended by themselves, and raise what they raised."""
        await self.outwait()
        self._raise_failures()

    async def outwait(self, but: frozenset[anyio.CancelScope] = frozenset()) -> None:
        """Wait until all tasks but those have ended by themselves."""
        while self._scopes and not self._scopes.keys() <= but:
            await self._next_end()

    async def end(self, but: frozenset[anyio.CancelScope] = frozenset()) -> None:
        """End all tasks but those, wait for them, and raise what they raised meanwhile; others may start behind it.

        Its own cancellation does not shorten the wait.
        """
        self._ending = True
        try:
            with anyio.CancelScope(shield=True):  # as in `dismiss`
                while self._scopes and (left := self._scopes.keys() - but):
                    for scope in left:
                        scope.cancel()
                    await self._next_end()
        finally:
            self._ending = False
        late, self._late = self._late, []
        if late:
            raise BaseExceptionGroup(f"tasks of {self._owner} failed", late)

    async def dismiss(self) -> None:
        """End all tasks, wait for them, and raise what they raised.  Its own cancellation does not shorten the wait.

        As with any task group, a task that ignores its cancellation is waited for.  None may start from now on.
        """
        self.close()
        if self._scopes:
            self._ended = anyio.Event()
            for scope in self._scopes:
                scope.cancel()
            with anyio.CancelScope(shield=True):  # awaits our own tasks, which have been told to end; no peer
                await self._ended.wait()
        self._raise_failures()

    async def _next_end(self) -> None:
        if self._one_ended is None:
            self._one_ended = anyio.Event()
        await self._one_ended.wait()

    def _raise_failures(self) -> None:
        failures, self._failures = self._failures, []
        if failures:
            raise BaseExceptionGroup(f"tasks of {self._owner} failed", failures)
