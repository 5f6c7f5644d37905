"""What a shutdown did."""

import json
from dataclasses import asdict, dataclass

from structweb._server.log import server_logger


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """A connection at one moment of a shutdown: who it was, what it did, and where.  `str()` makes a line of it."""

    #: The address of the peer; empty before the connection is open.
    peer: str
    #: What it was doing: "handler", "body", "send", ...
    phase: str
    #: Method and target of the request, or empty.
    request: str = ""
    #: The route that handled it, as its method and the pattern of its resource, or empty.
    route: str = ""
    #: How long the request had lasted, in seconds; counted from the first sweep that saw it, up to one second less.
    seconds: float = 0.0
    #: File, line and function of the await where the handler was; the innermost that is not a library's.
    waits_at: str = ""
    #: Why it was cancelled; empty if it was not.
    reason: str = ""

    def __str__(self) -> str:
        parts = [f"peer {self.peer}", self.phase]
        if self.request:
            parts.append(self.request)
        if self.route:
            parts.append(f"route {self.route}")
        if self.seconds:
            parts.append(f"for {self.seconds:.1f} s")
        if self.waits_at:
            parts.append(f"at {self.waits_at}")
        if self.reason:
            parts.append(self.reason)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownReport:
    """What became of the connections that were there when a shutdown began.  `str()` makes a paragraph of it."""

    #: Busy ones that ended by themselves, as they were when the shutdown began.
    finished: tuple[ConnectionRecord, ...] = ()
    #: Those that were cancelled when the time was up, as they were then.
    cancelled: tuple[ConnectionRecord, ...] = ()
    #: Those among the cancelled whose shields had to be lifted.
    lifted: tuple[ConnectionRecord, ...] = ()
    #: Those that go on in spite of everything, as they are at the end: whoever leaves the server waits for them.
    abandoned: tuple[ConnectionRecord, ...] = ()
    #: How many had no exchange under way, and were closed at once.
    idle: int = 0
    #: How long it took.
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing had to be cut short."""
        return not self.cancelled and not self.abandoned

    def to_json(self) -> str:
        """Return it as a JSON object with the names of the attributes."""
        return json.dumps({"clean": self.clean, **asdict(self)})

    def __str__(self) -> str:
        counts = f"{len(self.finished)} finished, {len(self.cancelled)} cancelled, {len(self.abandoned)} abandoned"
        lines = [f"Shut down in {self.seconds:.2f} s: {counts}, {self.idle} idle"]
        lines += [f"  cancelled: {record}" for record in self.cancelled]
        lines += [f"  shield lifted: {record}" for record in self.lifted]
        lines += [f"  abandoned: {record}" for record in self.abandoned]
        return "\n".join(lines)

    def log(self) -> None:
        """Put it on record: as a warning when something was cut short."""
        (server_logger.info if self.clean else server_logger.warning)("%s", self)
