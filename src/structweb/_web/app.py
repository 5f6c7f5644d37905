"""The application: routes, middlewares, state, and what runs at its start and end."""

import logging
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Never, TypeVar, TypeVarTuple, overload

from structweb._server.log import web_logger
from structweb._server.notice import ShutdownNotice
from structweb._web.contexts import CleanupContextFactory
from structweb._web.dispatcher import UrlDispatcher
from structweb._web.domains import Domain, MaskDomain
from structweb._web.hints import whose
from structweb._web.keys import AppKey, NotAppKeyWarning
from structweb._web.lifespan import Lifespan, SubApplicationHook
from structweb._web.middleware import Middleware
from structweb._web.policy import INHERITED, Disconnect, Inherited, Policied, Policy, bounds_of
from structweb._web.resources import AbstractResource
from structweb._web.services import Service, ServiceHost
from structweb._web.signal import FrozenList, Signal
from structweb._web.subapps import MatchedSubAppResource, PrefixedSubAppResource

if TYPE_CHECKING:
    from structweb._web.request import Request
    from structweb._web.routedef import AbstractRouteDef
    from structweb._web.routes import AbstractRoute
    from structweb._web.streaming import StreamResponse

T = TypeVar("T")
D = TypeVar("D")
R = TypeVar("R", bound=AbstractResource)
Ts = TypeVarTuple("Ts")

# What aiohttp has, or had, and what to write instead.
_REMOVED_ARGUMENTS: Final[Mapping[str, str]] = {
    "loop": "there is no loop to pass: run_app(app, backend='asyncio' or 'trio') picks the backend",
    "debug": "pass debug=True to run_app(), AppRunner() or serve()",
    "router": "an application makes its own router: add routes to app.router",
}
_REMOVED_ATTRIBUTES: Final[Mapping[str, str]] = {
    "loop": "there is no loop: use app.start_soon() for background tasks and anyio.current_time() for time",
    "debug": "debug is a setting of the server: pass debug=True to run_app() or AppRunner()",
    "make_handler": "use web.AppRunner(app), or await task_group.start(web.serve, app)",
}


class Application(Policied, ServiceHost, MutableMapping[str | AppKey[Any], Any]):  # Any: each key has its own type
    """A web application, and a mapping of its state: ``app[key] = value``.

    Equal to itself only, and true also when it has no state.  `handler_args` are settings of the server that a
    runner merges over its own.

    The others hold for the routes below, unless a sub-application or a route says otherwise: `client_max_size` is how
    many bytes `Request.read` and the like take (1 MiB; 0 or None: no limit), `client_max_fields` the fields of a form
    (1000; 0 or None: no limit), `handler_timeout` the seconds a handler may take (no limit), `deadline_header` the header in
    which a client may ask for less (none).  `disconnect` says what a
    client's leaving does to a handler: "cancel" it or let it "finish"; None leaves it to the server.

    Raises TypeError for arguments that it does not have, ValueError for limits that make no sense.
    """

    def __init__(
        self,
        *,
        logger: logging.Logger = web_logger,
        middlewares: Iterable[Middleware] = (),
        handler_args: Mapping[str, Any] | None = None,  # Any: each setting has its own type
        client_max_size: int | Inherited | None = INHERITED,
        client_max_fields: int | Inherited | None = INHERITED,
        handler_timeout: float | Inherited | None = INHERITED,
        deadline_header: str | Inherited | None = INHERITED,
        disconnect: Disconnect | None = None,
        **unknown: Never,
    ) -> None:
        for name in unknown:
            hint = f": {_REMOVED_ARGUMENTS[name]}" if name in _REMOVED_ARGUMENTS else ""
            raise TypeError(f"Application() got an unexpected keyword argument {name!r}{hint}")
        #: Where the application's own code may log.
        self.logger = logger
        self._router = UrlDispatcher()
        self._middlewares: FrozenList[Middleware] = FrozenList(middlewares)
        self._handler_args = MappingProxyType(dict(handler_args or {}))
        self._policy = Policy(
            client_max_size=client_max_size,
            client_max_fields=client_max_fields,
            handler_timeout=handler_timeout,
            deadline_header=deadline_header,
            disconnect=disconnect,
        )
        self._state: dict[str | AppKey[Any], Any] = {}  # Any: see the class
        self._subapps: list[Application] = []
        self._pre_frozen = self._frozen = False
        self._lifespan: Lifespan | None = None
        self._on_response_prepare: Signal[Request, StreamResponse] = Signal(self)
        self._on_startup: Signal[Application] = Signal(self)
        self._on_shutdown: Signal[Application] = Signal(self)
        self._on_cleanup: Signal[Application] = Signal(self)
        self._cleanup_ctx: FrozenList[CleanupContextFactory] = FrozenList()
        self._services: FrozenList[Service] = FrozenList()

    def __init_subclass__(cls) -> None:
        warnings.warn(
            f"web.Application is not made for subclassing, got class {cls.__name__}: "
            "keep state in app[key] and write functions that set an application up",
            DeprecationWarning,
            stacklevel=2,
        )

    def __getattr__(self, name: str) -> Never:
        hint = f": {_REMOVED_ATTRIBUTES[name]}" if name in _REMOVED_ATTRIBUTES else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    if sys.flags.dev_mode:

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_") and name != "logger":
                warnings.warn(
                    f"web.Application has no attribute {name!r}: keep state in app[key]",
                    DeprecationWarning,
                    stacklevel=2,
                )
            super().__setattr__(name, value)

    # -- state -----------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return True

    @overload
    def __getitem__(self, key: AppKey[T]) -> T: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...  # Any: a str key says nothing of its value

    def __getitem__(self, key: str | AppKey[Any]) -> Any:  # Any: see the overloads
        return self._state[key]

    @overload
    def __setitem__(self, key: AppKey[T], value: T) -> None: ...

    @overload
    def __setitem__(self, key: str, value: Any) -> None: ...  # Any: as above

    def __setitem__(self, key: str | AppKey[Any], value: Any) -> None:  # Any: see the overloads
        self._warn_if_frozen()
        if not isinstance(key, AppKey):
            message = f"use a web.AppKey as key, so that type checkers know the value's type; got {key!r}"
            warnings.warn(message, NotAppKeyWarning, stacklevel=2)
        self._state[key] = value

    def __delitem__(self, key: str | AppKey[Any]) -> None:  # Any: keys of every type
        self._warn_if_frozen()
        del self._state[key]

    def __len__(self) -> int:
        return len(self._state)

    def __iter__(self) -> Iterator[str | AppKey[Any]]:  # Any: keys of every type
        return iter(self._state)

    @overload  # type: ignore[override]  # a Mapping knows nothing of typed keys
    def get(self, key: AppKey[T], default: None = None) -> T | None: ...

    @overload
    def get(self, key: AppKey[T], default: D) -> T | D: ...

    @overload
    def get(self, key: str, default: Any = None) -> Any: ...  # Any: a str key says nothing of its value

    def get(self, key: str | AppKey[Any], default: Any = None) -> Any:  # Any: see the overloads
        """Return the value of `key`, else `default`."""
        return self._state.get(key, default)

    def _warn_if_frozen(self) -> None:
        if self._frozen and (self._lifespan is None or self._lifespan.started):  # else it starts once more
            warnings.warn(
                "changing the state of a running application: set it before the start, or keep a mutable object in it",
                DeprecationWarning,
                stacklevel=3,
            )

    # -- freezing --------------------------------------------------------------------------------------------------

    @property
    def pre_frozen(self) -> bool:
        """Whether middlewares, routes, signals and clean-up contexts are fixed."""
        return self._pre_frozen

    def pre_freeze(self) -> None:
        """Fix middlewares, routes, signals, clean-up contexts and services, here and in sub-applications.  Idempotent."""
        if self._pre_frozen:
            return
        self._pre_frozen = True
        self._middlewares.freeze()
        self._router.freeze()
        self._on_response_prepare.freeze()
        self._cleanup_ctx.freeze()
        self._on_startup.freeze()
        self._on_shutdown.freeze()
        self._on_cleanup.freeze()
        self._services.freeze()
        for subapp in self._subapps:
            subapp.pre_freeze()

    @property
    def frozen(self) -> bool:
        """Whether the state is meant to be fixed as well."""
        return self._frozen

    def freeze(self) -> None:
        """Fix the state too: changing it then warns.  A runner does it after start-up.  Idempotent."""
        if self._frozen:
            return
        self.pre_freeze()
        self._frozen = True
        for subapp in self._subapps:
            subapp.freeze()

    # -- parts -----------------------------------------------------------------------------------------------------

    @property
    def router(self) -> UrlDispatcher:
        """The routes."""
        return self._router

    @property
    def middlewares(self) -> FrozenList[Middleware]:
        """The middlewares, the outermost first."""
        return self._middlewares

    @property
    def on_response_prepare(self) -> "Signal[Request, StreamResponse]":
        """Sent before the head of each response is written, when its headers are complete."""
        return self._on_response_prepare

    @property
    def on_startup(self) -> Signal["Application"]:
        """Sent at the start, after the clean-up contexts were entered."""
        return self._on_startup

    @property
    def on_shutdown(self) -> Signal["Application"]:
        """Sent when the server stops, while requests are still handled: end what would last, say websockets."""
        return self._on_shutdown

    @property
    def on_cleanup(self) -> Signal["Application"]:
        """Sent at the end, after the clean-up contexts were left.  Every receiver runs, whatever the others raise."""
        return self._on_cleanup

    @property
    def cleanup_ctx(self) -> FrozenList[CleanupContextFactory]:
        """Async generator functions of one `yield` (or functions that return async context managers).

        Called with the application; entered at the start in order, left at the end in reverse.
        """
        return self._cleanup_ctx

    @property
    def subapps(self) -> tuple["Application", ...]:
        """The sub-applications, in the order in which they were added."""
        return tuple(self._subapps)

    @property
    def handler_args(self) -> Mapping[str, Any]:  # Any: each setting has its own type
        """Settings of the server that a runner merges over its own."""
        return self._handler_args

    @property
    def client_max_size(self) -> int:
        """Bytes of a request body that are read as a whole, 0 for no limit; the default if none was given.

        A sub-application without one has that of the application around it; `Request.client_max_size` is what holds.
        """
        return bounds_of((self._policy,)).client_max_size

    @property
    def client_max_fields(self) -> int:
        """Fields of a form, 0 for no limit; otherwise as `client_max_size`."""
        return bounds_of((self._policy,)).client_max_fields

    # -- building --------------------------------------------------------------------------------------------------

    def add_routes(self, routes: "Iterable[AbstractRouteDef]") -> "list[AbstractRoute]":
        """Add the routes of a table, and return them."""
        return self._router.add_routes(routes)

    def add_subapp(self, prefix: str, subapp: "Application") -> PrefixedSubAppResource:
        """Serve `subapp` under `prefix`.

        Its signals are sent where this call stands among the receivers of this application's signals.  Raises TypeError
        for what is no str or no application, ValueError for an empty prefix, RuntimeError if either is frozen.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, got {prefix!r}")
        stripped = prefix.rstrip("/")
        if not stripped:
            raise ValueError(f"prefix must be more than '/', got {prefix!r} (in add_subapp)")
        return self._add_subapp(subapp, lambda: PrefixedSubAppResource(stripped, subapp))

    def add_domain(self, domain: str, subapp: "Application") -> MatchedSubAppResource:
        """Serve `subapp` to requests whose Host is `domain`; a ``*`` in it stands for one or more characters.

        Raises TypeError and ValueError for what is no domain, RuntimeError if either application is frozen.
        """
        if not isinstance(domain, str):
            raise TypeError(f"domain must be a str, got {domain!r}")
        rule = MaskDomain(domain) if "*" in domain else Domain(domain)
        return self._add_subapp(subapp, lambda: MatchedSubAppResource(rule, subapp))

    def _add_subapp(self, subapp: "Application", make_resource: Callable[[], R]) -> R:
        if not isinstance(subapp, Application):
            raise TypeError(f"a sub-application must be an Application, got {subapp!r}{whose(subapp)}")
        if subapp is self:
            raise ValueError(f"an application cannot be its own sub-application, got {subapp!r}")
        if self._frozen:
            raise RuntimeError(f"cannot add a sub-application to a frozen application, {self!r}")
        if subapp.frozen:
            raise RuntimeError(f"cannot add a frozen application, {subapp!r}")
        resource = make_resource()
        self._router.register_resource(resource)
        if subapp not in self._subapps:  # it may come under several domains, and lives once
            self._on_startup.append(SubApplicationHook(subapp, "on_startup"))
            self._on_shutdown.append(SubApplicationHook(subapp, "on_shutdown"))
            self._on_cleanup.append(SubApplicationHook(subapp, "on_cleanup"))
            self._subapps.append(subapp)
        subapp.pre_freeze()
        return resource

    # -- life ------------------------------------------------------------------------------------------------------

    def start_soon(self, func: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None) -> None:
        """Run ``func(*args)`` in the background, from now until the application ends.

        The task is cancelled, and waited for, before the clean-up contexts are left; by then no handler runs.  If it
        raises, the application stops with that error, when requests have had their time to finish.  Possible from start-up (on_startup, clean-up contexts) until
        clean-up; RuntimeError before and after.
        """
        if self._lifespan is None:
            raise RuntimeError(f"cannot start {func!r} in the background: {self!r} is not running")
        self._lifespan.start_soon(func, *args, name=name)

    @property
    def shutting_down(self) -> ShutdownNotice:
        """Truthy once the server was told to stop; ``await app.shutting_down.wait()`` returns when it is.

        For background tasks and probes; raises RuntimeError while the application is not running.
        """
        if self._lifespan is None:
            raise RuntimeError(f"{self!r} is not running: nothing shuts it down")
        return self._lifespan.notice

    async def startup(self) -> None:
        """Enter the clean-up contexts and send on_startup; `cleanup` undoes it.

        For applications without a runner (`Lifespan` is the same as a context manager).  Raises what a context or a
        receiver raised, after leaving the contexts that were entered.
        """
        if self._lifespan is not None:
            raise RuntimeError(f"{self!r} was started already")
        await Lifespan(self).__aenter__()

    async def shutdown(self) -> None:
        """Send on_shutdown."""
        await self._on_shutdown.send(self)

    async def cleanup(self) -> None:
        """Leave the clean-up contexts, last in first out, and send on_cleanup.

        In the task that called `startup`.  Every clean-up runs; one error is raised as itself, several as a
        `CleanupError`.  Does nothing if the application is not running.
        """
        if self._lifespan is not None:
            await self._lifespan.__aexit__(None, None, None)

    def join(self, lifespan: Lifespan) -> None:
        """Take part in `lifespan`; called by it.  Raises RuntimeError if the application is part of another one."""
        if self._lifespan is not None:
            raise RuntimeError(f"cannot start {self!r}: it is running already")
        self._lifespan = lifespan

    def part(self, lifespan: Lifespan) -> None:
        """Leave `lifespan`; called by it."""
        if self._lifespan is lifespan:
            self._lifespan = None

    def __call__(self) -> "Application":
        """Return the application itself, for servers that call a factory."""
        return self

    def __repr__(self) -> str:
        return f"<Application 0x{id(self):x}>"
