"""One line a request: the access log, its format compiled once."""

import functools
import logging
import os
import re
import time as clock
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple, Protocol

# English whatever the process's locale says: log readers parse these names.
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LOW_SURROGATES: Final = range(0xDC80, 0xDD00)  # undecodable bytes 0x80 to 0xFF, as surrogateescape keeps them


class LoggedVersion(Protocol):
    """A version with its two numbers."""

    @property
    def major(self) -> int:
        """The number before the dot."""

    @property
    def minor(self) -> int:
        """The number behind the dot."""


class LoggedRequest(Protocol):
    """What the access log reads of a request."""

    @property
    def method(self) -> str:
        """The method token."""

    @property
    def raw_path(self) -> str:
        """The target as it came."""

    @property
    def version(self) -> LoggedVersion:
        """The protocol version."""

    @property
    def remote(self) -> str | None:
        """The peer's address, or None if it is not known."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's fields."""


class LoggedResponse(Protocol):
    """What the access log reads of a response."""

    @property
    def status(self) -> int:
        """The status that was sent; 499 when the client left before it, 444 when the server ended the connection before."""

    @property
    def body_length(self) -> int:
        """Bytes sent, head included."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's fields."""


class AbstractAccessLogger(ABC):
    """The interface of an access logger: subclass it and hand the class to `run_app` or `AppRunner`."""

    __slots__ = ("log_format", "logger")

    def __init__(self, logger: logging.Logger, log_format: str) -> None:
        self.logger: logging.Logger = logger
        self.log_format: str = log_format

    @abstractmethod
    def log(self, request: LoggedRequest, response: LoggedResponse, time: float) -> None:
        """Record one exchange that took `time` seconds.  Called once a request, after the response."""

    @property
    def enabled(self) -> bool:
        """Whether `log` shall be called at all; asked before each call."""
        return True


_Method = Callable[[LoggedRequest, LoggedResponse, float], str | int]


class KeyMethod(NamedTuple):
    """One atom of a format: its name in the record's `extra`, and what computes it."""

    key: str | tuple[str, str]
    method: _Method


class AccessLogger(AbstractAccessLogger):
    """Writes one INFO record a request in the format of `log_format`.

    The atoms: ``%a`` remote address, ``%t`` start of the request in local time, ``%P`` process id, ``%r`` request
    line, ``%s`` status, ``%b`` bytes sent with the head, ``%T`` seconds taken, ``%Tf`` the same with six decimals,
    ``%D`` microseconds taken, ``%{Name}i`` request header, ``%{Name}o`` response header, ``%{NAME}e`` environment
    variable, ``%%`` a percent sign.  What is absent is a ``-``; what is no atom stays as it is.

    Control characters, quotes and backslashes that a peer sent are written as escapes, so that one request is always
    one line.  The record's `extra` has the same values by name (see `LOG_FORMAT_MAP`).
    """

    __slots__ = ("_flat", "_grouped", "_methods", "_template")

    LOG_FORMAT: ClassVar[str] = '%a %t "%r" %s %b "%{Referer}i" "%{User-Agent}i"'
    FORMAT_RE: ClassVar[re.Pattern[str]] = re.compile(r"%(?:%|\{([A-Za-z0-9_-]+)\}([ioe])|(Tf?|[atPrsbD]))")
    LOG_FORMAT_MAP: ClassVar[Mapping[str, str]] = {
        "a": "remote_address",
        "t": "request_start_time",
        "P": "process_id",
        "r": "first_request_line",
        "s": "response_status",
        "b": "response_size",
        "T": "request_time",
        "Tf": "request_time_frac",
        "D": "request_time_micro",
        "i": "request_header",
        "o": "response_header",
        "e": "environment",
    }

    def __init__(self, logger: logging.Logger, log_format: str = LOG_FORMAT) -> None:
        """Compile `log_format` for records of `logger`."""
        super().__init__(logger, log_format)
        template, atoms = self.compile_format(log_format)
        self._template = template
        self._methods = tuple(atom.method for atom in atoms)
        # Where each value goes in `extra`: (index, name), and (index, group, name) for headers and variables.
        self._flat = [(i, atom.key) for i, atom in enumerate(atoms) if isinstance(atom.key, str)]
        self._grouped = [(i, *atom.key) for i, atom in enumerate(atoms) if not isinstance(atom.key, str)]

    def compile_format(self, log_format: str) -> tuple[str, list[KeyMethod]]:
        """Return a template for the ``%`` operator, and the atoms that fill it, in order."""
        template: list[str] = []
        atoms: list[KeyMethod] = []
        end = 0
        for match in self.FORMAT_RE.finditer(log_format):
            template.append(log_format[end : match.start()].replace("%", "%%"))
            end = match.end()
            name, group, atom = match.groups()
            if name is None and atom is None:
                template.append("%%")
                continue
            template.append("%s")
            if atom is not None:
                atoms.append(KeyMethod(self.LOG_FORMAT_MAP[atom], _ATOMS[atom]))
            else:
                atoms.append(KeyMethod((self.LOG_FORMAT_MAP[group], name), functools.partial(_GROUPS[group], name)))
        template.append(log_format[end:].replace("%", "%%"))
        return "".join(template), atoms

    @property
    def enabled(self) -> bool:
        """Whether the logger takes INFO records."""
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: LoggedRequest, response: LoggedResponse, time: float) -> None:
        """Write the record of one exchange.  Never raises: its own failure becomes an ERROR record."""
        try:
            values = [method(request, response, time) for method in self._methods]
            extra: dict[str, object] = {name: values[i] for i, name in self._flat}
            groups: dict[str, dict[str, str | int]] = {}
            for i, group, name in self._grouped:
                groups.setdefault(group, {})[name] = values[i]
            extra.update(groups)
            self.logger.info(self._template % tuple(values), extra=extra)  # noqa: G002  # the line is the message
        except Exception:  # a log line must never cost a response
            self.logger.exception("cannot write an access log line in the format %r", self.log_format)


def escape(value: str) -> str:
    r"""Return `value` on one line and without quotes: ``"`` as ``\"``, a line feed as ``\n``, a stray byte as ``\xff``."""
    if value.isprintable() and '"' not in value and "\\" not in value:
        return value
    return "".join(map(_escape_character, value))


def _escape_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    if ord(character) in _LOW_SURROGATES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


@functools.lru_cache(maxsize=8)  # requests of one second share the line; slow ones started in another
def _local_time(second: int) -> str:
    now = clock.localtime(second)
    sign, offset = ("-", -now.tm_gmtoff) if now.tm_gmtoff < 0 else ("+", now.tm_gmtoff)
    hours, minutes = divmod(offset // 60, 60)
    return (
        f"[{now.tm_mday:02d}/{_MONTHS[now.tm_mon - 1]}/{now.tm_year:04d}"
        f":{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d} {sign}{hours:02d}{minutes:02d}]"
    )


def _remote_address(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return escape(request.remote or "-")


def _start_time(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return _local_time(int(clock.time() - time))


def _process_id(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return f"<{os.getpid()}>"


def _request_line(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    version = request.version
    return escape(f"{request.method} {request.raw_path} HTTP/{version.major}.{version.minor}")


def _status(request: LoggedRequest, response: LoggedResponse, time: float) -> int:
    return response.status


def _size(request: LoggedRequest, response: LoggedResponse, time: float) -> int:
    return response.body_length


def _seconds(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return str(round(time))


def _seconds_fraction(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return f"{time:.6f}"


def _microseconds(request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return str(round(time * 1_000_000))


def _request_header(name: str, request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return escape(request.headers.get(name, "-"))


def _response_header(name: str, request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return escape(response.headers.get(name, "-"))


def _environment(name: str, request: LoggedRequest, response: LoggedResponse, time: float) -> str:
    return escape(os.environ.get(name, "-"))


_ATOMS: Final[Mapping[str, _Method]] = {
    "a": _remote_address,
    "t": _start_time,
    "P": _process_id,
    "r": _request_line,
    "s": _status,
    "b": _size,
    "T": _seconds,
    "Tf": _seconds_fraction,
    "D": _microseconds,
}
_GROUPS: Final[Mapping[str, Callable[[str, LoggedRequest, LoggedResponse, float], str]]] = {
    "i": _request_header,
    "o": _response_header,
    "e": _environment,
}
