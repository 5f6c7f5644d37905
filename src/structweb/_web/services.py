"""Services: tasks of an application that are supervised, from its start-up until after its last request.

What a service does when it ends is a matter of its `restart` and its `critical`:

- It returns: that was its work, unless `restart` is "always".
- It raises: with `restart` it is started again, after a pause that grows from crash to crash.  Without, or when a
  critical one has crashed `Backoff.attempts` times in a row, it has failed.
- It has failed: a critical service stops the application, and its error comes out; another one is logged.
"""

import inspect
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, overload

import anyio
from anyio.abc import TaskStatus

from structweb._server.firewall import is_ending, unwrapped
from structweb._web.background import stray
from structweb._web.failures import fatal_in, reraise
from structweb._web.signal import FrozenList

if TYPE_CHECKING:
    from structweb._web.app import Application

#: A function without arguments, or of the application; with `task_status`, start-up waits until it is ready.
ServiceFunction = Callable[..., Awaitable[object]]
Restart = Literal["never", "on-failure", "always"]
F = TypeVar("F", bound=ServiceFunction)

logger = logging.getLogger("structweb.web")

RESTARTS: Final = ("never", "on-failure", "always")
_ARGUMENT_KINDS: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ServiceState(StrEnum):
    """Where the life of a service stands; each value is a word for people."""

    WAITING = "waiting"
    #: Running, and not ready yet.
    STARTING = "starting"
    RUNNING = "running"
    #: Pausing before its next run.
    BACKING_OFF = "backing off"
    #: It has returned.
    FINISHED = "finished"
    #: It has crashed, and is not started again.
    FAILED = "failed"
    #: It was ended with its application.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long a service pauses before it is started again."""

    #: Seconds of the first pause.
    initial: float = 1.0
    #: What each pause in a row is multiplied with.
    factor: float = 2.0
    #: Seconds that no pause exceeds.
    maximum: float = 60.0
    #: The part of each pause that is left to chance, 0 to 1: services that fell together do not rise together.
    jitter: float = 0.5
    #: Seconds after which a run counts as healthy: the next pause is the first one again.
    healthy: float = 60.0
    #: Crashes in a row after which a critical service has failed.  Others are never given up.
    attempts: int = 5
    #: Where chance comes from: returns numbers from 0 to 1.
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if not (0 <= self.initial <= self.maximum and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"expected 0 <= initial <= maximum, factor >= 1 and 0 <= jitter <= 1, got {self!r}")
        if not (self.attempts >= 1 and self.healthy >= 0):
            raise ValueError(f"attempts must be 1 or more, and healthy 0 or more, got {self!r}")

    def pauses(self) -> Iterator[float]:
        """Yield the pauses of one row, without an end."""
        pause = self.initial
        while True:
            yield pause * (1 - self.jitter * self.random())
            pause = min(self.maximum, pause * self.factor)


class _Readiness(TaskStatus[object]):
    """What a service calls when it is ready, in one of its runs."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self.called = False

    def started(self, value: object = None) -> None:
        if self.called:
            raise RuntimeError(f"service {self._service.name!r} called task_status.started() twice")
        self.called = True
        self._service.declare_ready()


class Service:
    """A supervised task of an application, made by `Application.service`; its attributes are for health checks."""

    def __init__(
        self,
        func: ServiceFunction,
        app: "Application",
        name: str,
        restart: Restart,
        backoff: Backoff,
        *,
        critical: bool,
    ) -> None:
        self.app = app
        self.name = name
        self.restart: Restart = restart
        self.critical = critical
        #: Where it stands.
        self.state: ServiceState = ServiceState.WAITING
        #: How often it was started again.
        self.restarts: int = 0
        #: What it raised last, if it ever did.
        self.last_error: Exception | None = None
        self._func = func
        self._backoff = backoff
        self._takes_app, self._tells = _arguments(func, name)
        self._ready = anyio.Event()

    def __repr__(self) -> str:
        return f"<Service {self.name!r} {self.state}>"

    def reset(self) -> None:
        """Forget an earlier life of the application; called by its lifespan."""
        self.state, self.restarts, self.last_error = ServiceState.WAITING, 0, None
        self._ready = anyio.Event()

    def declare_ready(self) -> None:
        """Say that it does its work; called through ``task_status.started()``."""
        self.state = ServiceState.RUNNING
        self._ready.set()

    async def wait_ready(self) -> None:
        """Wait until it is ready, or is no reason to wait any longer."""
        await self._ready.wait()
        await anyio.lowlevel.checkpoint_if_cancelled()  # it may have failed, and that cancels who waits

    async def run(self) -> None:
        """Run it, again and again if it has to be, until it has ended for good; raise what a critical one failed with."""
        backoff = self._backoff
        pauses, crashes = backoff.pauses(), 0
        try:
            while True:
                began = anyio.current_time()
                error = await self._run_once()
                if anyio.current_time() - began >= backoff.healthy:
                    pauses, crashes = backoff.pauses(), 0
                crashes += error is not None
                if self._is_over(error, crashes):
                    return
                pause = next(pauses)
                logger.log(
                    logging.ERROR if error else logging.INFO,
                    "Service %s %s, it starts again in %.3g s",
                    self.name,
                    "crashed" if error else "returned",
                    pause,
                    exc_info=error,
                )
                self.state = ServiceState.BACKING_OFF
                if not self.critical:
                    self._ready.set()
                await anyio.sleep(pause)
                self.restarts += 1
        finally:
            if self.state not in (ServiceState.FINISHED, ServiceState.FAILED):
                self.state = ServiceState.STOPPED
            self._ready.set()

    def _is_over(self, error: Exception | None, crashes: int) -> bool:
        """Tell whether a run was the last one; raise the error of a critical service that has failed."""
        ending = is_ending()
        if error is None:
            if self.restart == "always" and not ending:
                return False
            self.state = ServiceState.STOPPED if ending else ServiceState.FINISHED
            return True
        if not ending and self.restart != "never" and not (self.critical and crashes >= self._backoff.attempts):
            return False
        self.state = ServiceState.FAILED
        if self.critical:
            reraise(error)
        logger.error("Service %s failed", self.name, exc_info=error)
        return True

    async def _run_once(self) -> Exception | None:
        """Run the function; return what it raised."""
        self.state = ServiceState.STARTING
        readiness = _Readiness(self)
        extra = {"task_status": readiness} if self._tells else {}
        if not self._tells:
            self.declare_ready()
        try:
            await self._func(*((self.app,) if self._takes_app else ()), **extra)
            if self._tells and not readiness.called:
                raise RuntimeError(f"service {self.name!r} returned without a call of task_status.started()")
        except GeneratorExit:  # pragma: no cover - collected unfinished, after its loop has closed
            raise
        except BaseException as exc:  # noqa: BLE001 - supervision: whatever it is, it is this service's
            self.last_error = error = self._error_in(exc)
            return error
        return None

    def _error_in(self, exc: BaseException) -> Exception:
        """Return the error in `exc`; raise it again if it concerns the application, as its cancellation does."""
        if fatal_in(exc) is not None:
            raise exc
        error: BaseException | None = exc
        if is_ending() and isinstance(exc, BaseExceptionGroup):
            error = exc.split(anyio.get_cancelled_exc_class())[1]
        error = None if error is None else unwrapped(error)
        if error is None or (is_ending() and isinstance(error, anyio.get_cancelled_exc_class())):
            raise exc
        return error if isinstance(error, Exception) else stray(f"service {self.name}", error)


class ServiceHost(ABC):
    """What has services: an application."""

    _services: FrozenList[Service]

    @property
    @abstractmethod
    def subapps(self) -> "tuple[Application, ...]":
        """The sub-applications."""

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of the application and, behind them, those of its sub-applications."""
        found = dict.fromkeys(self._services)
        for subapp in self.subapps:
            found.update(dict.fromkeys(subapp.services))
        return tuple(found)

    @overload
    def service(
        self,
        func: F,
        *,
        restart: Restart = "never",
        backoff: Backoff = ...,
        critical: bool = True,
        name: str | None = None,
    ) -> F: ...

    @overload
    def service(
        self,
        func: None = None,
        *,
        restart: Restart = "never",
        backoff: Backoff = ...,
        critical: bool = True,
        name: str | None = None,
    ) -> Callable[[F], F]: ...

    def service(
        self,
        func: F | None = None,
        *,
        restart: Restart = "never",
        backoff: Backoff = Backoff(),
        critical: bool = True,
        name: str | None = None,
    ) -> F | Callable[[F], F]:
        """Run `func` in the background from start-up until after the last handler has ended; as a decorator, too.

        It is called without arguments, or with the application if it takes an argument.  Start-up waits for a `func`
        that has a `task_status` until it calls ``task_status.started()``, as `anyio.abc.TaskGroup.start` does.

        `restart` says when it is run again: "never", "on-failure" (it raised) or "always" (it returned, too); `backoff`
        how long it pauses before that.  A `critical` service that has failed for good stops the application: requests
        finish within the shutdown timeout, clean-ups run, and its error comes out.  Without `critical` it is logged,
        and restarted without an end.  `name` is its function's name unless you say otherwise.

        Services start one after the other, behind all contexts and on_startup receivers, and are ended in reverse,
        before any context is left.  RuntimeError once the application is frozen.
        """
        if func is None:
            return lambda func: self.service(func, restart=restart, backoff=backoff, critical=critical, name=name)
        if restart not in RESTARTS:
            raise ValueError(f"restart must be one of {', '.join(map(repr, RESTARTS))}, got {restart!r} (in service)")
        if not isinstance(backoff, Backoff):
            raise TypeError(f"backoff must be a web.Backoff, got {backoff!r} (in service)")
        name = name or _name(func)
        if self._services.frozen:
            raise RuntimeError(f"cannot add service {name!r}: {self!r} is frozen")
        if any(service.name == name for service in self._services):
            raise ValueError(f"{self!r} has a service {name!r} already: give this one another name")
        app = cast("Application", self)  # the one kind of host there is
        self._services.append(Service(func, app, name, restart, backoff, critical=critical))
        return func


def _name(func: ServiceFunction) -> str:
    inner: Any = func  # Any: a partial, maybe of a partial
    while hasattr(inner, "func"):
        inner = inner.func
    return getattr(inner, "__name__", type(inner).__name__)


def _arguments(func: ServiceFunction, name: str) -> tuple[bool, bool]:
    """Tell whether `func` needs an argument, and whether it takes `task_status`; TypeError if it is no service."""
    if not callable(func):
        raise TypeError(f"a service must be an async function, got {func!r}")
    parameters = dict(inspect.signature(func).parameters)
    tells = parameters.pop("task_status", None) is not None
    needed = [one.name for one in parameters.values() if one.default is one.empty and one.kind in _ARGUMENT_KINDS]
    if len(needed) > 1:
        raise TypeError(f"service {name!r} must take no more than the application, got {needed}: use functools.partial")
    return bool(needed), tells
