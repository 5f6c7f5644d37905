"""Cancels a piece of code at every place where it can be cancelled, one after the other, and looks what is left.

A *scene* sets the stage: an async context manager that makes fresh state, yields what is to be cancelled (an async
function, or a `Visit`: a request to an application), and checks behind its ``yield`` what has to hold whatever
happened.  Each case runs the scene in an event loop of its own.  Where a case fails, the exception says in a note which
one it was.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NamedTuple

import anyio

from structweb._server.exchange import Exchange
from structweb._server.lifecycle import Engine
from structweb._web.app import Application
from structweb._web.handling import WebHandler
from structweb._web.lifespan import Lifespan
from structweb._web.request import Request
from structweb._web.settings import ServerOptions, settings_from
from structweb._wire.limits import Phase
from structweb.testing.clock import BACKENDS, virtual_backend
from structweb.testing.conversation import PROBE, USABLE, check_conversation, probe
from structweb.testing.leaks import no_leaks
from structweb.testing.pipes import ClientEnd, memory_pipe
from structweb.testing.stepping import NEWS, Checkpoints, tasks_stepped

#: Seconds, mostly virtual ones, that a case may take.
PATIENCE: Final = 3600.0
#: Checkpoints after which something is taken for endless.
MANY: Final = 1000


@dataclass(eq=False, slots=True)
class Visit:
    """A request to `app`, over a connection in memory, from a client that reads what comes; for one case."""

    app: Application
    #: The bytes that the client sends.
    request: bytes = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    #: Settings of the server.
    options: ServerOptions = field(default_factory=ServerOptions)
    #: All that the client has received from the application.
    answer: bytearray = field(default_factory=bytearray)


@dataclass(eq=False, slots=True)
class Moment:
    """What a cause may lay its hands on, at the checkpoint where it strikes."""

    #: Around the function, or around the connection of a visit.
    scope: anyio.CancelScope
    #: The client's end of the visit's connection.
    client: ClientEnd | None = None
    #: The request under way.
    exchange: Exchange | None = None
    #: Begins the shutdown of the server, with no time left for requests.
    shut_down: Callable[[], None] | None = None
    #: Ends the time of the handler of a visit.
    limit: anyio.CancelScope | None = None

    def arrived(self) -> bool:
        """Tell whether the news of what was done has come to where the function waits."""
        return self.scope.cancel_called or (self.limit is not None and self.limit.cancel_called)


@dataclass(frozen=True, slots=True)
class Cause:
    """A way to be cancelled: `strike` brings it about, without awaiting anything.

    It returns False where it cannot: then this is no case of it.
    """

    name: str
    strike: Callable[[Moment], object]


def _cancel(moment: Moment) -> None:
    moment.scope.cancel()


def _leave(moment: Moment) -> None:
    if moment.client is not None:
        moment.client.close()


def _reset(moment: Moment) -> None:
    if moment.client is not None:
        moment.client.reset()


def _shut_down(moment: Moment) -> None:
    if moment.shut_down is not None:
        moment.shut_down()


def _run_out_of_time(moment: Moment) -> bool:
    exchange = moment.exchange
    limit = moment.limit if exchange is None or exchange.time_limit is None else exchange.time_limit
    if limit is None:
        return False
    moment.limit = limit
    limit.deadline = anyio.current_time()
    return True


#: The surroundings are cancelled (or a deadline passes); for functions.
CANCELLATION: Final = Cause("cancellation", _cancel)
#: The client closes its connection; for visits, as those below.
DISCONNECT: Final = Cause("disconnect", _leave)
#: The handler's time is up: that of its `handler_timeout` or `deadline_header`, or one around it and its middlewares.
DEADLINE: Final = Cause("deadline", _run_out_of_time)
#: The connection breaks, and what was on its way is lost.
RESET: Final = Cause("reset", _reset)
#: The server shuts down, and its patience is over.
SHUTDOWN: Final = Cause("shutdown", _shut_down)

Scene = Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[object]] | Visit]]


class Case(NamedTuple):
    """One run that was cancelled."""

    backend: str
    cause: str
    checkpoint: int
    #: Where it waited: file, line and function.
    where: str

    def __str__(self) -> str:
        return f"{self.cause} at checkpoint {self.checkpoint} on {self.backend}, at {self.where}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What `cancel_everywhere` has done: `len` of it is the number of cases."""

    name: str
    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.cases)

    def __str__(self) -> str:
        parts = dict.fromkeys((case.cause, case.backend) for case in self.cases)
        counts = {part: sum((case.cause, case.backend) == part for case in self.cases) for part in parts}
        summary = ", ".join(f"{number} x {cause} on {backend}" for (cause, backend), number in counts.items())
        return f"{self.name}: {len(self)} cases of cancellation ({summary or 'it never waits'})"


def cancel_everywhere(
    scene: Scene,
    *,
    causes: Iterable[Cause] = (),
    backends: Iterable[str] = BACKENDS,
    virtual: bool = True,
    most: int | None = None,
    say: Callable[[str], object] = print,
) -> Sweep:
    """Run `scene` again and again, and cancel what it yields at checkpoint 1, 2, 3 ... until it runs through.

    A checkpoint is where the function, or a task that it has started, waits; for a `Visit`, where its handler does, with
    its middlewares and the sending of its response.  Each of the `causes` has its turn on each of the `backends`: for a
    function `CANCELLATION`, for a visit `DISCONNECT`, `DEADLINE` and `SHUTDOWN`, unless you say otherwise.  After every
    case, and in the run that goes through, the scene's own check has to hold, the connection has to have ended or to be
    usable (the next request on it is answered, and no response is cut in front of another one), and nothing may be left
    (`no_leaks`).  An exception of the function is a failure, too.

    Cases run on virtual time; ``virtual=False`` is for what uses worker threads.  `most` ends the sweep after so many
    checkpoints: for what has no end but cancellation.  Returns, and prints through `say`, the number of cases.
    """
    given = tuple(causes)
    cases = [case for backend in backends for case in _cases(scene, given, backend, virtual, most)]
    sweep = Sweep(getattr(scene, "__name__", repr(scene)), tuple(cases))
    say(str(sweep))
    return sweep


def _cases(scene: Scene, given: tuple[Cause, ...], backend: str, virtual: bool, most: int | None) -> Iterator[Case]:
    """Run the cases of one backend, and yield them."""
    for index in count():
        for checkpoint in count(1):
            run = _Run(scene, given, index, checkpoint)
            run.start(backend, virtual=virtual)
            if run.counter.where is None:
                break
            case = Case(backend, run.cause.name, checkpoint, run.counter.where)
            if run.struck:
                yield case
            if checkpoint == most:
                break
            if checkpoint == MANY and most is None:
                raise RuntimeError(f"{case}: it seems to have no end; with most={MANY} that is no mistake")
        if index + 1 == len(run.causes):
            return


class _Run:
    """One run of a scene."""

    def __init__(self, scene: Scene, given: tuple[Cause, ...], index: int, checkpoint: int) -> None:
        self.causes = given
        self.counter = Checkpoints(checkpoint, self._strike, self._arrived)
        self._scene = scene
        self._index = index
        self._checkpoint = checkpoint
        self._moment: Moment | None = None
        #: Whether the cause could do what it is there for.
        self.struck = False

    @property
    def cause(self) -> Cause:
        """The cause whose turn it is; known once the scene has said what its subject is."""
        return self.causes[self._index]

    def start(self, backend: str, *, virtual: bool) -> None:
        """Run it in a loop of its own; an exception gets a note that tells which case it was."""
        options: dict[str, Any] = virtual_backend(backend)[1] if virtual else {}  # Any: each backend has its own
        try:
            with no_leaks():
                anyio.run(self._play, backend=backend, backend_options=options)
        except BaseException as exc:
            where = self.counter.where
            if where is None:
                exc.add_note(f"cancel_everywhere: on {backend}, in the run that was not cancelled")
            else:
                exc.add_note(f"cancel_everywhere: {Case(backend, self.cause.name, self._checkpoint, where)}")
            raise

    async def _play(self) -> None:
        async with no_leaks():
            with tasks_stepped(), anyio.fail_after(PATIENCE):
                async with self._scene() as subject:
                    if isinstance(subject, Visit):
                        self.causes = self.causes or (DISCONNECT, DEADLINE, SHUTDOWN)
                        await self._visit(subject)
                    else:
                        self.causes = self.causes or (CANCELLATION,)
                        with anyio.CancelScope() as scope:
                            self._moment = Moment(scope)
                            await self.counter.run(subject)

    def _strike(self) -> None:
        if self._moment is not None:
            self.struck = self.cause.strike(self._moment) is not False

    def _arrived(self) -> bool:
        return self._moment is None or self._moment.arrived()

    async def _visit(self, visit: Visit) -> None:
        settings = settings_from(visit.options, "Visit()")
        answer, begun, closing = _TimedHandler(visit.app, settings), anyio.Event(), anyio.Event()
        client, server = memory_pipe()
        methods: list[str] = []
        ends: list[anyio.Event] = []
        probed = False

        async def stepped(exchange: Exchange) -> None:
            nonlocal probed
            methods.append(exchange.head.method)
            if exchange.head.target == PROBE:
                probed = True
                await exchange.respond(200, "OK", (), USABLE)
                return
            self._moment = moment = Moment(exchange.cancel_scope, client, exchange, closing.set)
            token = _moment.set(moment)
            ends.append(end := anyio.Event())
            begun.set()
            try:
                await self.counter.run(lambda: answer(exchange))
            finally:
                _moment.reset(token)
                end.set()

        async with (
            Lifespan(visit.app),
            Engine(stepped, settings.connections) as engine,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_shut_down_when_told, engine, visit.app, closing)
            async with anyio.create_task_group() as conversation:
                conversation.start_soon(engine.serve_stream, server)
                conversation.start_soon(_converse, client, visit)
                await begun.wait()
                for end in ends:  # of pipelined requests, there are more meanwhile
                    await end.wait()
                    await _idle(engine)
                await _ask_again(client, engine)
                await client.send_eof()  # the server closes, and what is on its way to the client arrives
            closing.set()
        del visit.answer[check_conversation(methods, bytes(visit.answer), probed=probed) :]


_moment: ContextVar[Moment] = ContextVar("structweb.testing.everywhere")


class _TimedHandler(WebHandler):
    """Handles requests as ever, within a time that has no end but the one that a cause makes."""

    async def handle(self, request: Request, exchange: Exchange) -> object:
        with anyio.fail_after(math.inf) as limit:
            moment = _moment.get()
            moment.limit = limit
            try:
                return await super().handle(request, exchange)
            finally:
                if not limit.cancel_called:
                    moment.limit = None  # from here on it could do nothing
        raise AssertionError  # for type checkers: `fail_after` lets nothing go


async def _ask_again(client: ClientEnd, engine: Engine) -> None:
    """Send the next request on the connection, whatever has become of it."""
    if all(each.websocket is None for each in engine.connections):
        try:
            await client.send(probe())
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # it has ended


async def _idle(engine: Engine) -> None:
    """Give a pipelined request its chance: wait until its handler waits for something, or none is left."""
    for _ in range(NEWS):
        if all(each.phase is Phase.IDLE for each in engine.connections):
            break
        await anyio.lowlevel.checkpoint()


async def _shut_down_when_told(engine: Engine, app: Application, closing: anyio.Event) -> None:
    """Shut the server down when it is time."""
    await closing.wait()
    await engine.shutdown(0, on_shutdown=app.shutdown)


async def _converse(client: ClientEnd, visit: Visit) -> None:
    """Send the request, and read until either side ends the connection."""

    async def send() -> None:
        try:
            await client.send(visit.request)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the answer came before all of it was taken, or a cause has struck

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        try:
            while True:
                visit.answer += await client.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        tasks.cancel_scope.cancel()
