"""Clean-up contexts: what is before the `yield` runs at start-up, what is behind it at clean-up."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from inspect import iscoroutine
from typing import TYPE_CHECKING

import anyio

from structweb._server.report import StepRecord

if TYPE_CHECKING:
    from structweb._web.app import Application

CleanupContextFactory = Callable[
    ["Application"], AbstractAsyncContextManager[object, bool | None] | AsyncIterator[object]
]


class HeldContext:
    """A clean-up context that was entered, inside a cancel scope of its own."""

    __slots__ = ("_context", "name", "scope")

    @property
    def budget(self) -> float | None:
        """Seconds that the context itself says its clean-up may take (as `cleanup_timeout`); None if it does not."""
        return getattr(self._context, "cleanup_timeout", None)

    @property
    def records(self) -> Sequence[StepRecord]:
        """What the context itself tells of its clean-up (as `cleanup_records`)."""
        return getattr(self._context, "cleanup_records", ())

    def __init__(
        self, context: AbstractAsyncContextManager[object, bool | None], scope: anyio.CancelScope, name: str
    ) -> None:
        self._context = context
        self.scope = scope
        self.name = name

    @classmethod
    async def enter(cls, factory: CleanupContextFactory, app: "Application") -> "HeldContext":
        """Enter what `factory` makes for `app`.  The scope stays entered: whoever leaves the context exits it."""
        scope = anyio.CancelScope()
        with ExitStack() as stack:
            stack.enter_context(scope)
            context = _as_context(factory, app)
            await context.__aenter__()
            stack.pop_all()
        return cls(context, scope, _name(factory))

    async def leave(self) -> None:
        """Run the clean-up.  It is never told of errors elsewhere: without `try`, it would then not run at all."""
        await self._context.__aexit__(None, None, None)


class GeneratorContext(AbstractAsyncContextManager[object, None]):
    """An async generator of one `yield` as a context manager whose second half always runs."""

    __slots__ = ("_generator", "_name")

    def __init__(self, generator: AsyncGenerator[object, None], name: str) -> None:
        self._generator = generator
        self._name = name

    async def __aenter__(self) -> object:
        try:
            return await anext(self._generator)
        except StopAsyncIteration:
            raise RuntimeError(f"a cleanup context must yield once, {self._name} did not yield") from None

    async def __aexit__(self, *_: object) -> None:
        try:
            await anext(self._generator)
        except StopAsyncIteration:
            return
        await self._generator.aclose()
        raise RuntimeError(f"a cleanup context must yield once, {self._name} yielded again")


def _as_context(factory: CleanupContextFactory, app: "Application") -> AbstractAsyncContextManager[object, bool | None]:
    if not callable(factory):
        raise TypeError(f"a cleanup context must be a function that the application calls, got {factory!r}")
    made: object = factory(app)
    if isinstance(made, AbstractAsyncContextManager):
        return made
    if isinstance(made, AsyncGenerator):
        return GeneratorContext(made, _name(factory))
    if iscoroutine(made):
        made.close()
    raise TypeError(
        "a cleanup context must be an async generator function or return an async context manager, "
        f"got {made!r} from {_name(factory)}"
    )


def _name(factory: Callable[..., object]) -> str:
    return f"{getattr(factory, '__module__', '?')}.{getattr(factory, '__qualname__', repr(factory))}"
