"""What a shutdown did."""

import json
from dataclasses import asdict, dataclass, replace

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
class StepRecord:
    """What became of a step of the clean-up, or of a task that had to end for it.  `str()` makes a line of it."""

    #: "task", "service", "job", "context" or "on_cleanup".
    kind: str
    name: str
    #: "done"; "failed", with an error; "cut short", because its time was up; "abandoned", because it did not even end
    #: then: whoever leaves the application waits for it.
    outcome: str
    #: How long it took, or had been waited for.
    seconds: float = 0.0
    #: What it raised, or empty.
    error: str = ""
    #: File, line and function of the await where it was when its time was up; the innermost that is not a library's.
    waits_at: str = ""

    def __str__(self) -> str:
        parts = [f"{self.outcome}: {self.kind} {self.name}", f"after {self.seconds:.1f} s"]
        if self.waits_at:
            parts.append(f"at {self.waits_at}")
        if self.error:
            parts.append(self.error)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownReport:
    """What became of the connections that were there when a shutdown began, and then of all that had to be cleaned up.

    `str()` makes a paragraph of it.
    """

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
    #: How long that took.
    seconds: float = 0.0
    #: Background tasks, services, jobs that were cut, clean-up contexts and receivers of on_cleanup, in the order in
    #: which they ended; there once the runner has been cleaned up.
    steps: tuple[StepRecord, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing had to be cut short."""
        return not self.cancelled and not self.abandoned and not any(map(_is_cut, self.steps))

    def to_json(self) -> str:
        """Return it as a JSON object with the names of the attributes."""
        return json.dumps({"clean": self.clean, **asdict(self)})

    def __str__(self) -> str:
        counts = f"{len(self.finished)} finished, {len(self.cancelled)} cancelled, {len(self.abandoned)} abandoned"
        lines = [f"Shut down in {self.seconds:.2f} s: {counts}, {self.idle} idle"]
        lines += [f"  cancelled: {record}" for record in self.cancelled]
        lines += [f"  shield lifted: {record}" for record in self.lifted]
        lines += [f"  abandoned: {record}" for record in self.abandoned]
        lines += [f"  {step}" for step in self.steps if step.outcome != "done"]
        return "\n".join(lines)

    def log(self) -> None:
        """Put it on record: as a warning when something was cut short."""
        (server_logger.info if self.clean else server_logger.warning)("%s", self)

    def with_steps(self, steps: tuple[StepRecord, ...]) -> "ShutdownReport":
        """Return it with what the clean-up did; put on record who was cut short or failed."""
        troubled = [str(step) for step in steps if step.outcome != "done"]
        if troubled:
            server_logger.warning("\n  ".join(["Clean-up was not clean:", *troubled]))
        return replace(self, steps=steps)


def _is_cut(step: StepRecord) -> bool:
    return step.outcome in ("cut short", "abandoned")
