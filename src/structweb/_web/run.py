"""The programs' ways in: `serve` for a task group, and `run_app`, which starts the event loop itself."""

import builtins
import inspect
import logging
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final, Literal, Unpack

import anyio
from anyio.abc import TaskStatus

from structweb._server.access_log import AbstractAccessLogger, AccessLogger
from structweb._server.firewall import unwrapped
from structweb._server.listeners import BACKLOG
from structweb._server.log import access_logger
from structweb._web.app import Application
from structweb._web.failures import reraise
from structweb._web.hints import add_hint, whose
from structweb._web.lifespan import CLEANUP_TIMEOUT
from structweb._web.runner import AppRunner, GracefulExit
from structweb._web.settings import ConnectionOptions, ServerOptions, check_names
from structweb._web.sites import BaseSite, ProxyProtocol, SockSite, TCPSite, UnixSite

#: As aiohttp's run_app: outlives a proxy that reuses connections for 60 seconds.
KEEPALIVE: Final = 75.0

Hosts = str | Iterable[str]
Path = str | os.PathLike[str]
Paths = Path | Iterable[Path]
Sockets = socket.socket | Iterable[socket.socket]
#: An application, or what makes one.
AppSource = Application | Awaitable[Application] | Callable[[], Application | Awaitable[Application]]


async def serve(
    app: AppSource,
    *,
    host: Hosts | None = None,
    port: int | None = None,
    path: Paths | None = None,
    sock: Sockets | None = None,
    shutdown_timeout: float = 60.0,
    drain_delay: float = 0.0,
    cleanup_timeout: float = CLEANUP_TIMEOUT,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int = BACKLOG,
    handle_signals: bool = False,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    proxy_protocol: ProxyProtocol = False,
    task_status: TaskStatus[AppRunner] = anyio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerOptions],
) -> None:
    """Serve `app` until cancelled, then shut down gracefully, for `shutdown_timeout` seconds at most.

    ``runner = await tg.start(web.serve, app)`` returns once it listens; ``runner.addresses`` tells where.  Arguments
    go into a partial: ``await tg.start(partial(web.serve, app, port=0))``.  They mean what they mean to `run_app`.
    Raises what start-up raised, as it was raised, with nothing left open.
    """
    options = {"keepalive_timeout": KEEPALIVE, **options}
    paths = _several("path", path, str, os.PathLike)
    socks = _several("sock", sock, socket.socket)
    hosts = _tcp_hosts(host, port, elsewhere=path is not None or sock is not None)
    application = await _application(app)
    async with AppRunner(
        application,
        handle_signals=handle_signals,
        shutdown_timeout=shutdown_timeout,
        drain_delay=drain_delay,
        cleanup_timeout=cleanup_timeout,
        **options,
    ) as runner:
        sites: list[BaseSite] = [
            TCPSite(
                runner,
                name,
                port,
                ssl_context=ssl_context,
                backlog=backlog,
                reuse_address=reuse_address,
                reuse_port=reuse_port,
                proxy_protocol=proxy_protocol,
            )
            for name in hosts
        ]
        sites += [
            UnixSite(runner, one, ssl_context=ssl_context, backlog=backlog, proxy_protocol=proxy_protocol)
            for one in paths
        ]
        sites += [
            SockSite(runner, one, ssl_context=ssl_context, backlog=backlog, proxy_protocol=proxy_protocol)
            for one in socks
        ]
        if not sites:
            raise ValueError(f"there is nowhere to listen, got host={host!r}, path={path!r}, sock={sock!r}")
        for site in sites:
            await site.start()
        task_status.started(runner)
        await anyio.sleep_forever()


def run_app(
    app: AppSource,
    *,
    host: Hosts | None = None,
    port: int | None = None,
    path: Paths | None = None,
    sock: Sockets | None = None,
    shutdown_timeout: float = 60.0,
    drain_delay: float = 0.0,
    cleanup_timeout: float = CLEANUP_TIMEOUT,
    keepalive_timeout: float | None = KEEPALIVE,
    ssl_context: ssl.SSLContext | None = None,
    print: Callable[..., object] | None = builtins.print,
    backlog: int = BACKLOG,
    access_log_class: type[AbstractAccessLogger] = AccessLogger,
    access_log_format: str = AccessLogger.LOG_FORMAT,
    access_log: logging.Logger | None = access_logger,
    handle_signals: bool = True,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    proxy_protocol: ProxyProtocol = False,
    backend: Literal["asyncio", "trio"] = "asyncio",
    backend_options: Mapping[str, Any] | None = None,  # Any: each backend has its own
    loop: None = None,
    **options: Unpack[ConnectionOptions],
) -> None:
    """Serve `app` until SIGINT or SIGTERM, shut down gracefully, and return.  A second signal ends the shutdown at once.

    `app` is an Application or makes one: a coroutine object, or a callable without arguments, ``async def`` or plain.
    `host`, `path` and `sock` each name one place to listen, or several.  TCP is among them if no other is, or if
    `host` or `port` is given: without `host` on all interfaces, without `port` on 8080 (8443 with `ssl_context`).
    With `proxy_protocol` each of them is for proxies only, as `TCPSite` has it.
    Told to stop, it goes on serving for `drain_delay` seconds before anything else, see `BaseRunner`.  Each step of
    clean-up has `cleanup_timeout` seconds, see `AppRunner`.
    When the server listens it says so through `print`; None says nothing.

    `backend_options` are those of `anyio.run`: ``{"use_uvloop": True}``.  `options` are `ConnectionOptions`.
    Raises what start-up raised, as it was raised, with nothing left open.
    """
    try:
        if loop is not None:
            raise TypeError(f"run_app() takes no loop: it starts its own on backend='asyncio' or 'trio', got {loop!r}")
        check_names(options, "run_app()")
        _check_backend(backend, backend_options or {})
        if _debugging(backend, backend_options or {}, options):
            options["debug"] = True
            _show(access_log)
        main = partial(
            serve,
            app,
            host=host,
            port=port,
            path=path,
            sock=sock,
            shutdown_timeout=shutdown_timeout,
            drain_delay=drain_delay,
            cleanup_timeout=cleanup_timeout,
            ssl_context=ssl_context,
            backlog=backlog,
            handle_signals=handle_signals,
            reuse_address=reuse_address,
            reuse_port=reuse_port,
            proxy_protocol=proxy_protocol,
            task_status=_Banner(print),
            keepalive_timeout=keepalive_timeout,
            access_log_class=access_log_class,
            access_log_format=access_log_format,
            access_log=access_log,
            **options,
        )
        _run(main, backend, backend_options)
    finally:
        if inspect.iscoroutine(app):
            app.close()  # nothing to do if it ran; else it would complain that nobody awaited it


def _run(main: Callable[[], Awaitable[None]], backend: str, backend_options: Mapping[str, object] | None) -> None:
    """Run `main` in an event loop of its own, and return normally when it was asked to stop."""

    async def serve_until_exit() -> BaseException | None:
        try:
            await main()
        except BaseException as exc:
            error = unwrapped(exc)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                # In any task, it ends asyncio's loop on the spot, and this one ends while the loop is being closed: what
                # it raised then would be logged as never retrieved.
                return error
            if isinstance(exc, Exception):
                add_hint(error)
            raise
        return None

    guarded = serve_until_exit
    if backend == "trio":
        # Trio raises KeyboardInterrupt between any two instructions, of set-up and clean-up too.  Guarded, the main task
        # gets it where it waits, as asyncio's does.
        from trio.lowlevel import enable_ki_protection  # imported when it is used: it takes its time

        guarded = enable_ki_protection(serve_until_exit)
    try:
        error = anyio.run(guarded, backend=backend, backend_options=dict(backend_options or {}))
        if error is not None:
            raise error
    except (GracefulExit, KeyboardInterrupt):
        pass
    except BaseExceptionGroup as group:
        error = unwrapped(group)
        if not isinstance(error, GracefulExit | KeyboardInterrupt):
            reraise(error)


class _Banner(TaskStatus[AppRunner]):
    """Tells people where the server listens, as soon as it does."""

    def __init__(self, print: Callable[..., object] | None) -> None:
        # A log collector or a test behind a pipe waits for the line: it must not lie in a buffer.
        self._print = partial(print, flush=True) if print is builtins.print else print

    def started(self, value: AppRunner | None = None) -> None:
        if self._print is not None and value is not None:
            names = ", ".join(sorted(site.name for site in value.sites))
            self._print(f"======== Running on {names} ========\n(Press CTRL+C to quit)")


async def _application(app: AppSource) -> Application:
    """Return the application that `app` is or makes."""
    made: object = app
    if not isinstance(made, Application) and not inspect.isawaitable(made) and callable(made):
        made = made()
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, Application):
        source = "" if made is app else f" from {app!r}"
        raise TypeError(
            f"expected a web.Application, or a coroutine or callable that makes one, got {made!r}{source}{whose(made)}"
        )
    return made


def _tcp_hosts(host: Hosts | None, port: int | None, *, elsewhere: bool) -> Iterable[str | None]:
    """Return the hosts to listen on; None in it stands for all interfaces."""
    if host is None:
        return [None] if port is not None or not elsewhere else []
    return _several("host", host, str)


def _several(name: str, given: object, *kinds: type[Any]) -> list[Any]:  # Any: of one of the kinds
    """Return the places that were given as one, as several, or as None.  Raises TypeError for what is none."""
    if given is None:
        return []
    places = [given] if isinstance(given, kinds) or not isinstance(given, Iterable) else list(given)
    for place in places:
        if not isinstance(place, kinds):
            named = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{name} must be one or several of type {named}, got {given!r}")
    return places


def _check_backend(backend: object, backend_options: Mapping[str, object]) -> None:
    if backend not in ("asyncio", "trio"):
        raise LookupError(f"backend must be 'asyncio' or 'trio', got {backend!r}")
    if backend == "asyncio" and backend_options.get("use_uvloop"):
        try:
            import_module("uvloop")
        except ImportError as exc:
            raise ImportError("use_uvloop needs uvloop: pip install 'structweb[uvloop]'") from exc


def _debugging(backend: str, backend_options: Mapping[str, object], options: ConnectionOptions) -> bool:
    """Tell whether the server, or asyncio, runs in debug mode."""
    if "debug" in options:
        return bool(options["debug"])
    asyncio_debugs = sys.flags.dev_mode or (
        not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))
    )
    return backend == "asyncio" and bool(backend_options.get("debug", asyncio_debugs))


def _show(access_log: logging.Logger | None) -> None:
    """Let the default access log appear on stderr, unless somebody has configured it."""
    if access_log is not access_logger:
        return
    if access_log.level == logging.NOTSET:
        access_log.setLevel(logging.DEBUG)
    if not access_log.hasHandlers():
        access_log.addHandler(logging.StreamHandler())
