"""The tasks of one connection beside its own: a watcher, later a reader of messages.

Most connections never have one, so they do not pay for a task group of their own each.  The tasks run in the
server's group, and the connection answers for them all the same: before it ends, it ends them, waits for them,
and raises what they raised.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVarTuple, Unpack

import anyio
from anyio.abc import TaskGroup

Ts = TypeVarTuple("Ts")


class Crew:
    """A task group inside a connection's lifetime, which costs next to nothing until its first task."""

    __slots__ = ("_ended", "_failures", "_group", "_host", "_scopes")

    def __init__(self, group: TaskGroup, host: anyio.CancelScope) -> None:
        """Make a crew whose tasks run in `group`.  When one fails, `host` is cancelled."""
        self._group = group
        self._host = host
        #: The scopes of the tasks that run; None before the first one.
        self._scopes: set[anyio.CancelScope] | None = None
        self._failures: list[BaseException] = []
        self._ended: anyio.Event | None = None

    @property
    def needed(self) -> bool:
        """Whether it ever had a task: only then there is something to `dismiss`."""
        return self._scopes is not None

    def start_soon(
        self, func: Callable[[Unpack[Ts]], Coroutine[Any, Any, object]], *args: *Ts, name: object = None
    ) -> None:
        """Start `func(*args)` as a task.  Raises RuntimeError once the crew is being dismissed."""
        if self._ended is not None:
            raise RuntimeError("cannot start a task: its connection is ending")
        if self._scopes is None:
            self._scopes = set()
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        self._group.start_soon(self._run, scope, self._scopes, func, args, name=name)

    async def _run(
        self,
        scope: anyio.CancelScope,
        scopes: set[anyio.CancelScope],
        func: Callable[[Unpack[Ts]], Coroutine[Any, Any, object]],
        args: tuple[*Ts],
    ) -> None:
        try:
            with scope:
                await func(*args)
        except BaseException as exc:  # noqa: BLE001 - raised by `dismiss`, where the connection's firewall is
            # In the outermost frame of a task a cancellation has done its work; a stray one would, on asyncio,
            # cancel all connections of the group.
            if not isinstance(exc, anyio.get_cancelled_exc_class()):
                self._failures.append(exc)
                self._host.cancel()
        finally:
            scopes.discard(scope)
            if self._ended is not None and not scopes:
                self._ended.set()

    async def dismiss(self) -> None:
        """End all tasks, wait for them, and raise what they raised.  Its own cancellation does not shorten the wait.

        As with any task group, a task that ignores its cancellation is waited for.
        """
        if self._scopes:
            self._ended = anyio.Event()
            for scope in self._scopes:
                scope.cancel()
            with anyio.CancelScope(shield=True):  # awaits our own tasks, which have been told to end; no peer
                await self._ended.wait()
        if self._failures:
            raise BaseExceptionGroup("tasks of a connection failed", self._failures)
