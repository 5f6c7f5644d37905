"""What lets an exception pass, in a stack of context managers."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class Passing(AbstractAsyncContextManager[T]):
    """Enters and leaves `inner`, and lets an exception pass by it where `inner` would raise it once more.

    Task groups of anyio do, on asyncio.  An AsyncExitStack takes the exception for a new one then, and if that came
    from another context manager of the stack, makes it its own ``__context__``: whoever follows those, as cancel scopes
    do for a cancellation, does so for ever.
    """

    def __init__(self, inner: AbstractAsyncContextManager[T]) -> None:
        self._inner = inner

    async def __aenter__(self) -> T:
        return await self._inner.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            return bool(await self._inner.__aexit__(exc_type, exc, traceback))
        except BaseException as raised:
            if raised is exc:
                return False
            raise
