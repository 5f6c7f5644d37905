"""What a shutdown did."""

from dataclasses import dataclass

from structweb._server.log import server_logger


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownReport:
    """What became of the connections that were there when a shutdown began.  `str()` makes a paragraph of it.

    The names say who was connected and what was asked for.
    """

    #: Busy ones that ended by themselves.
    finished: tuple[str, ...] = ()
    #: Those that were cancelled when the time was up.
    cancelled: tuple[str, ...] = ()
    #: Those that go on in spite of that, behind a shield: whoever leaves the server waits for them.
    abandoned: tuple[str, ...] = ()
    #: How many had no exchange under way, and were closed at once.
    idle: int = 0
    #: How long it took.
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing had to be cut short."""
        return not self.cancelled and not self.abandoned

    def __str__(self) -> str:
        counts = f"{len(self.finished)} finished, {len(self.cancelled)} cancelled, {len(self.abandoned)} abandoned"
        lines = [f"Shut down in {self.seconds:.2f} s: {counts}, {self.idle} idle"]
        lines += [f"  cancelled: {name}" for name in self.cancelled]
        lines += [f"  abandoned: {name}" for name in self.abandoned]
        return "\n".join(lines)

    def log(self) -> None:
        """Put it on record: as a warning when something was cut short."""
        (server_logger.info if self.clean else server_logger.warning)("%s", self)
