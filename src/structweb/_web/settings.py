"""What a user may set on a server, by aiohttp's names, checked and frozen for the floors below."""

import dataclasses
import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypedDict, cast

from structweb._server.access_log import AbstractAccessLogger, AccessLogger
from structweb._server.config import SERVER_SOFTWARE, ServerConfig
from structweb._wire.limits import Limits, Timeouts

#: As aiohttp's runners, for a server behind a proxy that owns keep-alive; `run_app` says 75.
RUNNER_KEEPALIVE: Final = 3630.0


class ConnectionOptions(TypedDict, total=False):
    """The keyword arguments about connections that `run_app` takes beside those in its signature."""

    #: Seconds without a byte of a request body that is being read; None waits forever.
    body_timeout: float | None
    #: Seconds without the peer taking a byte of a response; None waits forever.
    send_timeout: float | None
    #: Bytes a second that a peer must move while it is waited for; None asks for nothing.
    min_rate: float | None
    #: Seconds for reading and dropping an unread body after the response.
    lingering_time: float
    #: Seconds for a TLS handshake.
    tls_handshake_timeout: float
    #: Bytes of a request line.
    max_line_size: int
    #: Bytes of one header field.
    max_field_size: int
    #: Header fields of a request.
    max_headers: int
    #: Bytes read ahead of the handler for one connection.
    read_bufsize: int
    #: Sets SO_KEEPALIVE on TCP sockets.
    tcp_keepalive: bool
    #: The value of the Server header; None sends none.
    server_header: str | None
    #: What a client's leaving does to its handler.
    disconnect: Literal["cancel", "finish"]
    #: aiohttp's name for it: True is "cancel", False is "finish".
    handler_cancellation: bool
    #: Seconds that a shutdown lets shields (`request.atomic`) hold against its cancellation, before it lifts them.
    shield_timeout: float
    #: What a client's FIN means while its request is handled.
    half_close: Literal["gone", "serve"]
    #: False sends every message through h11.
    express: bool
    #: Whether compressed request bodies are inflated.
    auto_decompress: bool
    #: Shows tracebacks in the pages of status 500.
    debug: bool
    #: Where errors of handlers are logged.
    logger: logging.Logger


class RunnerOptions(ConnectionOptions, total=False):
    """The keyword arguments that `AppRunner` takes beside those in its signature."""

    #: Seconds between two requests of a connection; None waits forever, 0 closes after each response.
    keepalive_timeout: float | None
    #: Where requests are logged; None logs none.
    access_log: logging.Logger | None
    #: See `AccessLogger`.
    access_log_format: str


class ServerOptions(RunnerOptions, total=False):
    """The keyword arguments that `Server` and `serve` take beside those in their signatures."""

    #: A subclass of `AbstractAccessLogger`.
    access_log_class: type[AbstractAccessLogger]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is settled before a server listens."""

    connections: ServerConfig
    access_logger: AbstractAccessLogger | None
    logger: logging.Logger
    auto_decompress: bool
    debug: bool


_HINTS: Final[Mapping[str, str]] = {
    "loop": "structweb has no loop argument: run_app(..., backend='asyncio' or 'trio') picks the backend",
}
#: Options of aiohttp that mean nothing here, and why.
_IGNORED: Final[Mapping[str, str]] = {
    "timeout_ceil_threshold": "deadlines are looked at once a second, and need no rounding",
}
_SECONDS: Final[Mapping[str, str]] = {
    "keepalive_timeout": "keepalive",
    "body_timeout": "body",
    "send_timeout": "send",
    "min_rate": "min_rate",
    "lingering_time": "linger",
    "tls_handshake_timeout": "tls_handshake",
}
_MAY_BE_ENDLESS: Final = frozenset({"keepalive_timeout", "body_timeout", "send_timeout", "min_rate"})
_SIZES: Final[Mapping[str, str]] = {
    "max_line_size": "request_line",
    "max_field_size": "field",
    "max_headers": "fields",
    "read_bufsize": "read_ahead",
}
_AS_NAMED: Final = ("tcp_keepalive", "server_header", "half_close", "express")


def check_names(options: Mapping[str, object], owner: str) -> None:
    """Raise TypeError if `options` has a name that `ServerOptions` does not know; `owner` took the options."""
    unknown = sorted(options.keys() - ServerOptions.__annotations__.keys() - _IGNORED.keys())
    if unknown:
        hints = "".join(f" ({_HINTS[name]})" for name in unknown if name in _HINTS)
        raise TypeError(
            f"{owner} got unexpected keyword argument{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}{hints}"
        )


def settings_from(options: ServerOptions, owner: str) -> Settings:
    """Return the frozen settings that `options` asks for, with aiohttp's defaults for the rest.

    Raises TypeError for unknown names and wrong types, ValueError for values out of range; messages begin with `owner`.
    """
    given = cast("Mapping[str, object]", options)  # looked up by computed names below
    check_names(given, owner)
    for name in given.keys() & _IGNORED.keys():
        warnings.warn(f"{owner} ignores {name}: {_IGNORED[name]}", DeprecationWarning, stacklevel=3)
    seconds = {field: _seconds(given[name], name, owner) for name, field in _SECONDS.items() if name in given}
    sizes = {field: _size(given[name], name, owner) for name, field in _SIZES.items() if name in given}
    config = ServerConfig(
        timeouts=dataclasses.replace(Timeouts(keepalive=RUNNER_KEEPALIVE), **seconds),  # type: ignore[arg-type]  # names above
        limits=dataclasses.replace(Limits(), **sizes),
        disconnect=_disconnect(options, owner),
        server_header=options.get("server_header", SERVER_SOFTWARE),
        tcp_keepalive=bool(options.get("tcp_keepalive", True)),
        half_close=options.get("half_close", "gone"),
        express=bool(options.get("express", True)),
        shield_timeout=_finite_seconds(options.get("shield_timeout", 10.0), "shield_timeout", owner),
    )
    return Settings(
        connections=config,
        access_logger=_access_logger(options, owner),
        logger=_logger(options.get("logger", logging.getLogger("structweb.server")), "logger", owner),
        auto_decompress=bool(options.get("auto_decompress", True)),
        debug=bool(options.get("debug", False)),
    )


def check_seconds(value: object, name: str, owner: str) -> None:
    """Raise TypeError for what is no number, ValueError for one below 0; `owner` took it as its `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner}: {name} must be a number of seconds, got {value!r}")
    if not value >= 0:
        raise ValueError(f"{owner}: {name} must be a number of seconds from 0, got {value!r}")


def _seconds(value: object, name: str, owner: str) -> float | None:
    if value is None and name in _MAY_BE_ENDLESS:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        unit = "" if name == "min_rate" else " of seconds"
        or_none = " or None" if name in _MAY_BE_ENDLESS else ""
        raise TypeError(f"{owner}: {name} must be a number{unit}{or_none}, got {value!r}")
    if name == "min_rate" and not value > 0:
        raise ValueError(f"{owner}: min_rate must be more than 0, or None, got {value!r}")
    if not value >= 0:
        raise ValueError(f"{owner}: {name} must not be negative, got {value!r}")
    return float(value)


def _finite_seconds(value: object, name: str, owner: str) -> float:
    seconds = _seconds(value, name, owner)
    if seconds is None or seconds == math.inf:
        raise ValueError(f"{owner}: {name} must be finite, got {value!r}")
    return seconds


def _size(value: object, name: str, owner: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}: {name} must be an int, got {value!r}")
    if value < 1:
        raise ValueError(f"{owner}: {name} must be at least 1, got {value!r}")
    return value


def _disconnect(options: ServerOptions, owner: str) -> str:
    cancellation = options.get("handler_cancellation")
    if cancellation is None:
        return options.get("disconnect", "cancel")
    asked = "cancel" if cancellation else "finish"
    if options.get("disconnect", asked) != asked:
        raise ValueError(
            f"{owner}: handler_cancellation={cancellation!r} means disconnect={asked!r}, "
            f"got disconnect={options['disconnect']!r} as well"
        )
    return asked


def _access_logger(options: ServerOptions, owner: str) -> AbstractAccessLogger | None:
    factory: object = options.get("access_log_class", AccessLogger)
    if not (isinstance(factory, type) and issubclass(factory, AbstractAccessLogger)):
        raise TypeError(f"{owner}: access_log_class must be a subclass of AbstractAccessLogger, got {factory!r}")
    log: object = options.get("access_log", logging.getLogger("structweb.access"))
    if log is None or log is False:  # as in aiohttp
        return None
    form: object = options.get("access_log_format", AccessLogger.LOG_FORMAT)
    if not isinstance(form, str):
        raise TypeError(f"{owner}: access_log_format must be a str, got {form!r}")
    return factory(_logger(log, "access_log", owner), form)


def _logger(value: object, name: str, owner: str) -> logging.Logger:
    if not callable(getattr(value, "info", None)):  # an adapter is as good
        raise TypeError(f"{owner}: {name} must be a logging.Logger, got {value!r}")
    return cast("logging.Logger", value)  # or what has its methods
