"""The one frozen value that carries a server's settings to every connection."""

import math
import re
import sys
from dataclasses import dataclass, field

from structweb._wire.limits import Limits, Timeouts

SERVER_SOFTWARE = f"Python/{sys.version_info[0]}.{sys.version_info[1]} structweb"

# What goes into each response unseen, so it is checked here, once.
_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Settings of a server, fixed before it listens."""

    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    #: Whether the wire may use its express lane; False sends every message through h11.
    express: bool = True
    #: What happens to a running handler when its client leaves: "cancel" or "finish".
    disconnect: str = "cancel"
    #: What a FIN from the client means while its request is handled: "gone" or "serve".
    half_close: str = "gone"
    #: The value of the Server header; None sends none.
    server_header: str | None = SERVER_SOFTWARE
    #: Seconds that a shutdown lets shields (`request.atomic`) hold against its cancellation, before it lifts them.
    shield_timeout: float = 10.0
    #: Sets SO_KEEPALIVE on TCP sockets.
    tcp_keepalive: bool = True

    def __post_init__(self) -> None:
        if self.disconnect not in ("cancel", "finish"):
            raise ValueError(f"disconnect must be 'cancel' or 'finish', got {self.disconnect!r}")
        if not 0 <= self.shield_timeout < math.inf:
            raise ValueError(f"shield_timeout must be a finite number of seconds from 0, got {self.shield_timeout!r}")
        if self.half_close not in ("gone", "serve"):
            raise ValueError(f"half_close must be 'gone' or 'serve', got {self.half_close!r}")
        if self.server_header is not None and not _VALUE.fullmatch(self.server_header):
            raise ValueError(f"server_header must be printable ASCII, got {self.server_header!r}")
