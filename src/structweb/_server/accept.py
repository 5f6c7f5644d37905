"""The accept loop: takes connections from a listening socket, whatever happens to one of them."""

import errno
import socket
from collections.abc import Callable
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from structweb._server.listeners import Listener
from structweb._server.log import server_logger

#: What is done with a new connection, its socket and its peer's address; must not wait and must not raise.
Admit = Callable[[socket.socket, object], None]

# Connections taken in a row before other tasks get their turn: backlogs are 128 by default.
_BATCH: Final = 64
# Connections taken at the end: what a backlog holds at most where nobody tells the system otherwise, and a bound for
# peers that come faster than they are taken.
_LAST_BATCH: Final = 4096
# Seconds of rest while the system has nothing left for another connection: long enough to be cheap,
# short enough that clients in the backlog do not notice much.
_FIRST_REST: Final = 0.1
_LONGEST_REST: Final = 1.0

# The connection failed before it was taken; the next one may be fine.  accept(2) of Linux passes pending network errors
# of the new socket on and asks to treat them as "try again".
_PASSING: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENONET",
        "ENOPROTOOPT",
        "EOPNOTSUPP",
        "EPERM",
        "EPROTO",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)


class Listening:
    """A listener being served.  `stop` ends that; connections taken from it live on, those in its backlog included."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._scope = anyio.CancelScope()
        self._begun = False
        self._stopped = anyio.Event()

    @property
    def name(self) -> str:
        """Where it listens, as a URL."""
        return self.listener.url

    async def run(self, admit: Admit) -> None:
        """Accept connections until `stop` or `cancel`, then close the listener.  The engine runs this as a task.

        Those who stand in its backlog then are taken, too: for them the connection is made, and the kernel would break it.
        """
        self._begun = True
        try:
            with self._scope:
                # `stop` may have closed the listener before this task began.
                await anyio.lowlevel.checkpoint_if_cancelled()
                await accept_forever(self.listener.socket, admit)
            accept_rest(self.listener.socket, admit)
        finally:
            self.listener.close()
            self._stopped.set()

    def cancel(self) -> None:
        """Have the listener closed soon.  Never waits."""
        self._scope.cancel()

    async def stop(self) -> None:
        """Close the listener: when this returns, new connections are refused.  Idempotent."""
        self._scope.cancel()
        if not self._begun:
            # It may never begin: a loop that SystemExit breaks up cancels tasks before their first step.
            self.listener.close()
            return
        with anyio.CancelScope(shield=True):  # bounded: the accept loop waits for nothing but its socket and the clock
            await self._stopped.wait()


async def accept_forever(listener: socket.socket, admit: Admit) -> None:
    """Accept connections on a non-blocking `listener` and give each to `admit`, as a non-blocking socket.

    Survives connections that fail before they are taken, and a system that runs out of file descriptors or memory:
    then it rests between attempts, and logs the episode once.  Returns when `listener` was closed.
    """
    rest = 0.0
    while True:
        try:
            await anyio.wait_readable(listener)
            for _ in range(_BATCH):
                connection, peer = listener.accept()
                connection.setblocking(False)
                admit(connection, peer)
                if rest:
                    server_logger.info("Accepting connections again on %s", _name(listener))
                    rest = 0.0
            await checkpoint()
        except BlockingIOError:
            continue
        except (OSError, ValueError, anyio.ClosedResourceError) as exc:
            if listener.fileno() < 0:
                server_logger.warning("Stopped accepting: the listening socket was closed by somebody else")
                return
            code = getattr(exc, "errno", None) or 0
            if code in _PASSING:
                server_logger.debug("A connection failed before it was accepted on %s: %s", _name(listener), exc)
                continue
            # EMFILE, ENFILE, ENOBUFS, ENOMEM; and for what nobody foresaw a rest is right, too.
            if not rest:
                server_logger.error(
                    "Cannot accept connections on %s for now, %s (%s); trying again every %g to %g s",
                    _name(listener), errno.errorcode.get(code, "no errno"), exc, _FIRST_REST, _LONGEST_REST,
                )  # fmt: skip
            rest = min(rest * 2, _LONGEST_REST) or _FIRST_REST
            await anyio.sleep(rest)


def accept_rest(listener: socket.socket, admit: Admit) -> None:
    """Give every connection that is in the backlog of `listener` now to `admit`; what does not work out is a log record."""
    for _ in range(_LAST_BATCH):
        if listener.fileno() < 0:
            return
        try:
            connection, peer = listener.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno in _PASSING:
                continue
            server_logger.warning("Connections may be left in the backlog of %s: %s", _name(listener), exc)
            return
        connection.setblocking(False)
        admit(connection, peer)


def _name(listener: socket.socket) -> str:
    """Return the address of `listener`, for logs."""
    return repr(listener.getsockname())
