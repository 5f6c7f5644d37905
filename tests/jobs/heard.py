"""What an exception handler was told."""

from typing import Any

from structweb.jobs import Scheduler


class Heard(list[dict[str, Any]]):
    """An exception handler that keeps what it is told."""

    def __call__(self, scheduler: Scheduler, context: dict[str, Any]) -> None:
        self.append(context)

    @property
    def messages(self) -> list[str]:
        """The messages, in order."""
        return [context["message"] for context in self]

    @property
    def errors(self) -> list[str]:
        """The exceptions, in order."""
        return [repr(context["exception"]) for context in self]
