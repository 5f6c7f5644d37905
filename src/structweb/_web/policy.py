"""What routes and applications say of the requests that reach them: limits, and what a client's leaving means.

The innermost word counts: a route's before its application's, and that one's before the one of the application around it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, TypedDict

if TYPE_CHECKING:
    from structweb._web.middleware import Middleware

#: What a client's leaving does to the handler: "cancel" it, or let it "finish".
Disconnect: TypeAlias = Literal["cancel", "finish"]


#: A field name is a token (RFC 9110 section 5.1).
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Inherited(Enum):
    """Nothing was said here: what the surroundings say holds."""

    INHERITED = "inherited"


INHERITED: Final = Inherited.INHERITED


class LimitOptions(TypedDict, total=False):
    """What may be said of a route; where it is not said, its application's word holds."""

    #: What a client's leaving does to the handler.
    disconnect: Disconnect | None
    #: Bytes of a body that are read as a whole, counted decompressed; 0 or None: no limit.
    client_max_size: int | None
    #: Fields of a form; 0 or None: no limit.
    client_max_fields: int | None
    #: Seconds that the handler may take, its tasks (`request.spawn`) and the route's middlewares included; None: no
    #: limit.  Then a TimeoutError: 504.
    handler_timeout: float | None
    #: The name of a request header in which a client may say how many seconds it waits: a decimal number.  The handler
    #: has so long, or `handler_timeout` if that is less; a malformed value is answered with 400.  None: no such header.
    deadline_header: str | None


class PolicyOptions(LimitOptions, total=False):
    """What may be said of a route besides its method, path, handler and name."""

    #: Middlewares for this route alone, inside of those of its applications; the first is the outermost.
    middlewares: "Sequence[Middleware]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one route or application says.  Raises TypeError and ValueError for what makes no sense."""

    disconnect: Disconnect | None = None
    client_max_size: int | Inherited | None = INHERITED
    client_max_fields: int | Inherited | None = INHERITED
    handler_timeout: float | Inherited | None = INHERITED
    deadline_header: str | Inherited | None = INHERITED

    def __post_init__(self) -> None:
        if self.disconnect not in (None, "cancel", "finish"):
            raise ValueError(f"disconnect must be 'cancel', 'finish' or None, got {self.disconnect!r}")
        for name, limit in (("client_max_size", self.client_max_size), ("client_max_fields", self.client_max_fields)):
            if limit is INHERITED or limit is None:
                continue
            if not isinstance(limit, int | float):
                raise TypeError(f"{name} must be a number, 0 or None for no limit, got {limit!r}")
            if limit < 0:
                raise ValueError(f"{name} must not be negative (0 is no limit), got {limit!r}")
        timeout: object = self.handler_timeout
        if timeout is not INHERITED and timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise ValueError(f"handler_timeout must be more than 0 seconds, or None for no limit, got {timeout!r}")
        header: object = self.deadline_header
        if (
            header is not INHERITED
            and header is not None
            and not (isinstance(header, str) and _TOKEN.fullmatch(header))
        ):
            raise ValueError(f"deadline_header must be the name of a header, got {header!r}")


class Policied:
    """Something that may have a policy of its own: an application, a route."""

    _policy: Policy

    @property
    def policy(self) -> Policy:
        """What was said here, of limits and of clients that leave."""
        return self._policy

    @property
    def disconnect(self) -> Disconnect | None:
        """What a client's leaving does to a handler: "cancel" it, or let it "finish"; None leaves it to the surroundings."""
        return self._policy.disconnect


class Bounds(NamedTuple):
    """What holds for one route, once everybody has had a say."""

    #: None leaves it to the server.
    disconnect: Disconnect | None = None
    #: 0: no limit.
    client_max_size: int = 1024**2
    #: 0: no limit.
    client_max_fields: int = 1000
    #: None: no limit.
    handler_timeout: float | None = None
    #: None: no such header.
    deadline_header: str | None = None


def bounds_of(policies: Iterable[Policy]) -> Bounds:
    """Return what holds where `policies`, the outermost first, meet."""
    disconnect, size, fields, timeout, header = Bounds()
    for policy in policies:
        if policy.disconnect is not None:
            disconnect = policy.disconnect
        if policy.client_max_size is not INHERITED:
            size = policy.client_max_size or 0
        if policy.client_max_fields is not INHERITED:
            fields = policy.client_max_fields or 0
        if policy.handler_timeout is not INHERITED:
            timeout = policy.handler_timeout
        if policy.deadline_header is not INHERITED:
            header = policy.deadline_header
    return Bounds(disconnect, size, fields, timeout, header)


def checked_middlewares(middlewares: "Sequence[Middleware]") -> "tuple[Middleware, ...]":
    """Return the middlewares of a route or an application; TypeError for what is none."""
    # No iterator: GET comes with HEAD, and the second of the two routes would be left without a guard.
    if not isinstance(middlewares, Sequence):
        raise TypeError(f"middlewares must be a list of middlewares, got {middlewares!r}")
    for around in middlewares:
        if not callable(around):
            raise TypeError(f"a middleware must be a function of request and handler, got {around!r}")
    return tuple(middlewares)
