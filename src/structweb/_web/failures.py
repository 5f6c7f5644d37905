"""What leaves task groups and clean-up, as people want to see it: one error as itself, several as a group."""

from collections.abc import Sequence
from typing import NoReturn

from structweb._server.firewall import FATAL


class CleanupError(ExceptionGroup[Exception], RuntimeError):
    """Several errors of one clean-up, in the order in which they occurred: see `exceptions`."""

    def derive(self, excs: Sequence[Exception], /) -> "CleanupError":  # type: ignore[override]  # holds Exceptions only
        """Return the same error with other parts (used by ``except*``)."""
        return CleanupError(self.message, excs)


def fatal_in(error: BaseException) -> BaseException | None:
    """Return the KeyboardInterrupt or SystemExit that `error` is, or that a group holds; None if there is none."""
    if isinstance(error, FATAL):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((fatal for each in error.exceptions if (fatal := fatal_in(each)) is not None), None)
    return None


def reraise(error: BaseException) -> NoReturn:
    """Raise `error` with the context that it came with.

    A bare `raise` would make the exception that is being handled here (often a cancellation) part of the story.
    """
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error
