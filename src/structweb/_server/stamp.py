"""The lines that a server adds to every response: Date and Server, made once a second."""

from email.utils import formatdate
from time import time

from structweb._wire.reply import ReplyHead


class _Stamp:
    """What was made last, and until when it holds."""

    __slots__ = ("line", "name", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.name: str | None = None
        self.line = b""


_stamp = _Stamp()


def stamp(name: str | None) -> bytes:
    """Return the Date line, and the Server line of a server called `name`; None sends none."""
    now = time()
    # A clock that was set back must not keep the old date until it has caught up.
    if _stamp.until - 1.0 <= now < _stamp.until and name == _stamp.name:
        return _stamp.line
    second = int(now)
    server = "" if name is None else f"Server: {name}\r\n"
    _stamp.line = f"Date: {formatdate(second, usegmt=True)}\r\n{server}".encode("latin-1")
    _stamp.name, _stamp.until = name, second + 1.0
    return _stamp.line


def missing_stamp(reply: ReplyHead, name: str | None) -> bytes:
    """Return those of the lines that `reply` does not have itself."""
    line = stamp(name)
    if not reply.date and not reply.server:
        return line
    date, _, server = line.partition(b"\r\n")
    return (b"" if reply.date else date + b"\r\n") + (b"" if reply.server else server)
