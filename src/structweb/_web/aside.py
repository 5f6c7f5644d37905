"""A task group that does not take an error of its body for its own."""

from contextlib import suppress
from types import TracebackType
from typing import TypeVar

import anyio

from structweb._server.passing import Passing

T = TypeVar("T")


class Aside(Passing[T]):
    """Enters and leaves `inner`, a task group of some kind, and lets errors of the body pass by it.

    It would cancel its tasks and wrap the error into a group; here it has come to its end by then anyway.
    """

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if exc is None or isinstance(exc, anyio.get_cancelled_exc_class()):
            return await super().__aexit__(exc_type, exc, traceback)
        # Where the surroundings are cancelled, trio's group says so with a Cancelled, which would take the place of the
        # error; it is said again at the next await.
        with suppress(anyio.get_cancelled_exc_class()):
            await self._inner.__aexit__(None, None, None)
        return False
