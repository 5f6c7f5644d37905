"""The command line: ``structweb serve module:init_func`` makes an application and runs it."""

import argparse
import inspect
import logging
import math
import socket
import sys
from collections.abc import Awaitable, Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Final

from structweb._server.access_log import AccessLogger
from structweb._server.listeners import ListenError
from structweb._server.log import access_logger
from structweb._server.version import __version__
from structweb._web.app import Application
from structweb._web.lifespan import CLEANUP_TIMEOUT
from structweb._web.run import KEEPALIVE, run_app
from structweb._web.sites import ProxyProtocol
from structweb._wire.trust import Trusted

DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = 8080


def main(argv: Sequence[str] | None = None, *, prog: str = "structweb") -> None:
    """Run the command line ``structweb serve ...``, with `argv` instead of the process's arguments if given."""
    parser = argparse.ArgumentParser(prog=prog, description="Serve web applications.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"structweb {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    serve = commands.add_parser(
        "serve",
        allow_abbrev=False,
        help="serve an application",
        description="Serve an application until SIGINT (Ctrl+C) or SIGTERM.",
        epilog="Arguments that are not listed here are handed to init_func; they stand behind it.",
    )
    _add_options(serve)
    options, rest = parser.parse_known_args(argv)
    _serve(serve, options, rest)


def serve_main(argv: Sequence[str] | None = None, *, prog: str = "python -m structweb.web") -> None:
    """Run the command line of ``python -m structweb.web``: that of `main` without the word ``serve``."""
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Serve an application until SIGINT (Ctrl+C) or SIGTERM.",
        epilog="Arguments that are not listed here are handed to init_func; they stand behind it.",
    )
    _add_options(parser)
    options, rest = parser.parse_known_args(argv)
    _serve(parser, options, rest)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "entry",
        metavar="module:init_func",
        help="a callable that takes the list of arguments left over and returns an Application, or an awaitable of one",
    )
    add("-H", "--hostname", help=f"TCP host to listen on (default: {DEFAULT_HOST})")
    add(
        "-P", "--port", type=_port, default=DEFAULT_PORT, help="TCP port to listen on; 0 for any (default: %(default)s)"
    )
    add("-U", "--path", help="path of a Unix socket to listen on; with -H, on TCP as well")
    add(
        "--proxy-protocol",
        metavar="PROXIES",
        type=_proxies,
        default=False,
        help="expect the PROXY protocol from these proxies: addresses and networks with commas between them, "
        "'unix' for Unix sockets; or from 'any'",
    )
    add("--backend", choices=("asyncio", "trio"), default="asyncio", help="default: %(default)s")
    add("--uvloop", action="store_true", help="let asyncio run on uvloop")
    add(
        "--shutdown-timeout", metavar="S", type=_seconds, default=60.0, help="seconds for requests to finish at the end"
    )
    add("--reuse-port", action="store_true", help="share the TCP port with other processes that say so (SO_REUSEPORT)")
    add(
        "--drain-delay",
        metavar="S",
        type=_finite_seconds,
        default=0.0,
        help="seconds to go on serving after the signal, while probes for readiness see 503",
    )
    _add_cleanup(parser)
    add("--keepalive-timeout", metavar="S", type=_seconds, default=KEEPALIVE, help="seconds for idle connections")
    add(
        "--disconnect",
        choices=("cancel", "finish"),
        default="cancel",
        help="what a client's leaving does to its handler",
    )
    logs = parser.add_mutually_exclusive_group()
    logs.add_argument("--access-log-format", metavar="FORMAT", default=AccessLogger.LOG_FORMAT, help="see AccessLogger")
    logs.add_argument("--no-access-log", action="store_true", help="log no requests")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="debug", help="default: %(default)s")
    add("--debug", action="store_true", help="show tracebacks in the pages of errors")


def _add_cleanup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cleanup-timeout",
        metavar="S",
        type=_seconds,
        default=CLEANUP_TIMEOUT,
        help="seconds for each step of clean-up",
    )


def _serve(parser: argparse.ArgumentParser, options: argparse.Namespace, rest: list[str]) -> None:
    if options.uvloop and options.backend != "asyncio":
        parser.error(f"--uvloop is for asyncio, got --backend {options.backend}")
    if options.uvloop:
        try:
            import_module("uvloop")
        except ImportError:
            parser.error("--uvloop needs uvloop: pip install 'structweb[uvloop]'")
    if options.path is not None and not hasattr(socket, "AF_UNIX"):
        parser.error("-U needs Unix sockets, which this platform does not have")
    make = _load(parser, options.entry)
    logging.basicConfig(level=options.log_level.upper())
    tcp = options.path is None or options.hostname is not None
    try:
        run_app(
            _make(parser, options.entry, make, rest),
            host=(options.hostname or DEFAULT_HOST) if tcp else None,
            port=options.port if tcp else None,
            path=options.path,
            proxy_protocol=options.proxy_protocol,
            shutdown_timeout=options.shutdown_timeout,
            drain_delay=options.drain_delay,
            cleanup_timeout=options.cleanup_timeout,
            reuse_port=options.reuse_port or None,
            keepalive_timeout=options.keepalive_timeout,
            access_log_format=options.access_log_format,
            access_log=None if options.no_access_log else access_logger,
            backend=options.backend,
            backend_options={"use_uvloop": True} if options.uvloop else None,
            disconnect=options.disconnect,
            debug=options.debug,
        )
    except _WrongEntryError as exc:
        parser.error(str(exc))
    except ListenError as exc:
        parser.exit(1, f"{parser.prog}: error: {exc.strerror or exc}\n")
    print("Stopped", file=sys.stderr)


def _load(parser: argparse.ArgumentParser, entry: str) -> object:
    """Return what `entry` names; end the program with a usage error if it names nothing."""
    module_name, _, attribute = entry.partition(":")
    if not module_name or not attribute:
        parser.error(
            f"expected an entry of the form module:init_func, got {entry!r} (arguments for init_func stand behind it)"
        )
    if module_name.startswith("."):
        parser.error(f"the module must be named absolutely, got {module_name!r}")
    # As `python -m` does, and as `python script.py` does for its folder: the user's module is mostly right here.
    here = str(Path.cwd())
    if sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ImportError as exc:
        parser.error(f"cannot import {module_name}: {exc}")
    try:
        return attrgetter(attribute)(module)
    except AttributeError:
        parser.error(f"module {module_name} has no attribute {attribute}")


def _make(
    parser: argparse.ArgumentParser, entry: str, make: object, rest: list[str]
) -> Application | Awaitable[Application]:
    """Call what `entry` names with the arguments left over; end the program with a usage error if that is no use."""
    if isinstance(make, Application):
        if rest:
            parser.error(f"{entry} is an application, which takes no arguments, got {' '.join(rest)}")
        return make
    if not callable(make):
        parser.error(f"{entry} must be a callable that takes a list of arguments, got {make!r}")
    try:
        inspect.signature(make).bind(rest)
    except TypeError as exc:
        parser.error(f"{entry} must be a callable that takes a list of arguments, got {make!r}: {exc}")
    except ValueError:  # some callables made in C do not tell
        pass
    made = make(rest)
    if isinstance(made, Application):
        return made
    if not inspect.isawaitable(made):
        parser.error(f"{entry} must return a web.Application or an awaitable of one, got {made!r}")
    return _awaited(entry, made)


class _WrongEntryError(Exception):
    """What init_func promised turned out to be no application, once the event loop ran."""


async def _awaited(entry: str, made: Awaitable[object]) -> Application:
    app = await made
    if not isinstance(app, Application):
        raise _WrongEntryError(
            f"{entry} must return a web.Application or an awaitable of one, got an awaitable of {app!r}"
        )
    return app


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return port


def _proxies(text: str) -> ProxyProtocol:
    if text == "any":
        return True
    try:
        Trusted(text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"expected networks and 'unix', or 'any': {exc}") from exc
    return text.split(",")


def _finite_seconds(text: str) -> float:
    seconds = _seconds(text)
    if seconds == math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number of seconds, got {text!r}")
    return seconds


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text!r}")
    return seconds
