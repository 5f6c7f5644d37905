"""One request answered: resolve it, run the middlewares and the handler, turn errors into responses, log the line.

What an error becomes, the first rule that fits:

* cancellation, KeyboardInterrupt and SystemExit pass: no response, and the connection ends; 444 in the access log
* after the head of a response: logged, and the connection is cut, so that the client sees that something is missing
* the client's own leaving: DEBUG, and 499 in the access log
* an HTTP exception is a response; a malformed or stalled body (`Refusal`) is answered with its status
* TimeoutError: 504 without a body
* everything else: logged, and 500

An error that leaves a task group alone counts as itself.
"""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from inspect import isawaitable
from time import perf_counter
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

import anyio

from structweb._server.access_log import AbstractAccessLogger
from structweb._server.crew import Crew
from structweb._server.exchange import Exchange
from structweb._server.firewall import unwrapped
from structweb._server.reasons import CancelReason
from structweb._server.writing import Stage
from structweb._web.app import Application
from structweb._web.composing import bound_route, compose_lineage, compose_unmatched
from structweb._web.crash import crash_page
from structweb._web.entourage import log_failures
from structweb._web.errors import (
    HTTPBadRequest,
    HTTPException,
    HTTPRequestHeaderFieldsTooLarge,
    HTTPRequestTimeout,
    HTTPRequestURITooLong,
)
from structweb._web.hints import add_hint, whence
from structweb._web.matching import MatchInfoError, UrlMappingMatchInfo
from structweb._web.request import BaseRequest, Request
from structweb._web.response import Response
from structweb._web.routes import Handler
from structweb._web.settings import Settings, settings_from
from structweb._web.streaming import StreamResponse
from structweb._web.target import split_path
from structweb._wire.events import Refusal

R = TypeVar("R", bound=BaseRequest)

#: Seconds for the answer to what a task of a request raised, behind a cancellation that ends the connection.
FAREWELL: Final = 1.0

#: What a low-level server calls for each request.
BareRequestHandler: TypeAlias = Callable[[BaseRequest], Awaitable[StreamResponse] | StreamResponse]

# The statuses of the wire.
_REFUSALS: Final[Mapping[int, type[HTTPException]]] = {
    error.status_code: error
    for error in (HTTPBadRequest, HTTPRequestTimeout, HTTPRequestURITooLong, HTTPRequestHeaderFieldsTooLarge)
}
# What reads in the access log where the server ended the connection without an answer, as in nginx.
_NO_RESPONSE: Final = 444
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Unanswered(NamedTuple):
    """What the access log is told of an exchange whose response did not come to its end."""

    #: What was sent; 499 if the client left before that, 444 if the server ended the connection before.
    status: int
    #: Bytes sent nevertheless.
    body_length: int
    headers: Mapping[str, str] = _NO_HEADERS


def _has_prepare_receivers(app: Application) -> bool:
    return bool(app.on_response_prepare) or any(map(_has_prepare_receivers, app.subapps))


async def _join(crew: Crew, answer: object) -> None:
    """Wait for the tasks of a request, and raise what they raised: then `answer` is not going to be sent."""
    try:
        await crew.join()
    except BaseException:
        if isinstance(answer, StreamResponse):
            await answer._discard()
        raise


async def dismissed(crew: Crew) -> ExceptionGroup[Exception] | None:
    """End the tasks of a request; return what the first of them raised.  KeyboardInterrupt and SystemExit go on."""
    try:
        await crew.dismiss()
    except ExceptionGroup as group:
        return group
    return None


def _refusal_error(refusal: Refusal) -> HTTPException:
    """Return the HTTP exception that says what was wrong with a malformed request."""
    return _REFUSALS.get(refusal.status, HTTPBadRequest)(text=refusal.message)


class AnsweringHandler(ABC, Generic[R]):
    """Answers exchanges: `Engine` takes one as its handler.  Subclasses say where requests and responses come from."""

    __slots__ = ("_access_logger", "_auto_decompress", "_debug", "_logger")

    def __init__(self, settings: Settings) -> None:
        self._access_logger = settings.access_logger
        self._logger = settings.logger
        self._auto_decompress = settings.auto_decompress
        self._debug = settings.debug

    @abstractmethod
    def make_request(self, exchange: Exchange) -> R:
        """Return the request of an exchange."""

    @abstractmethod
    def handle(self, request: R, exchange: Exchange) -> Awaitable[object]:
        """Return what to await for the response: a StreamResponse, unless a handler made a mistake."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one exchange."""
        access_logger = self._access_logger
        began = None if access_logger is None or not access_logger.enabled else perf_counter()
        request = self.make_request(exchange)
        response: StreamResponse | None = None
        try:
            answer = await self.handle(request, exchange)
            if exchange.crew is not None:
                await _join(exchange.crew, answer)
            # The first test answers for most: StreamResponse is an abstract mapping, and asking those takes a while.
            if answer.__class__ is Response or (
                isinstance(answer, StreamResponse) and not isinstance(answer, HTTPException)
            ):
                response = answer
            else:
                response = self._in_place_of(answer, request)
            await response._send(request)
            if exchange.crew is not None:
                await exchange.crew.join()  # what receivers of on_response_prepare have spawned
        except Exception as exc:  # noqa: BLE001 - the rules above: each has its answer, nothing is lost
            if exchange.crew is not None:
                await self._dismiss(exchange.crew, exchange)
            response = await self._failed(request, exchange, exc)
        except BaseException:  # a cancellation, mostly
            if exchange.crew is not None:
                response = await self._struck(request, exchange, exchange.crew)
            raise
        finally:
            request._finish()
            if access_logger is not None and began is not None:
                self._log(access_logger, request, exchange, response, perf_counter() - began)

    async def _failed(self, request: R, exchange: Exchange, exc: Exception) -> StreamResponse | None:
        """Answer what a handler raised; return the response, or None if none could be sent.

        Its tasks have ended; who spawns others meanwhile (a receiver of on_response_prepare) has them waited for, too.
        """
        exchange.begin_tasks_anew()
        error = unwrapped(exc)
        if not isinstance(error, HTTPException):
            add_hint(error)
        if self._gone_or_cut(exchange, error):
            return None
        response = self._response_to(error, request, exchange)
        if exchange.peer_gone:
            return None
        try:
            await response._send(request)
            if exchange.crew is not None:
                await exchange.crew.join()
        except Exception as again:  # of the response itself, or of an on_response_prepare receiver
            await self._end_tasks(exchange)
            if not self._gone_or_cut(exchange, again):
                self._logger.exception("Error answering a request from %s", request.remote)
                await self._last_resort(exchange)
            return None
        except BaseException:
            await self._end_tasks(exchange)
            raise
        return response

    async def _end_tasks(self, exchange: Exchange) -> None:
        """End the tasks of a request that can only be cut now, and refuse others, for which nobody would wait."""
        if exchange.crew is None:
            exchange.spawn_no_more()
        else:
            await self._dismiss(exchange.crew, exchange)

    async def _dismiss(self, crew: Crew, exchange: Exchange) -> None:
        """End the tasks of a request that failed without their doing."""
        if crew.needed:
            why = exchange.cancel_reason or CancelReason.SIBLING_ERROR
            self._logger.debug("Tasks cancelled, %s (%r)", why.value, exchange.head)
        failure = await dismissed(crew)
        if failure is not None:
            log_failures(failure, exchange, self._logger)

    async def _struck(self, request: R, exchange: Exchange, crew: Crew) -> StreamResponse | None:
        """End the tasks of a request that was cancelled; if one of them was why, answer what it raised."""
        failure = await dismissed(crew)
        if failure is None:
            return None
        with anyio.move_on_after(FAREWELL, shield=True):  # the connection ends anyway; a stalled peer loses the answer
            return await self._failed(request, exchange, failure)
        return None

    def _gone_or_cut(self, exchange: Exchange, error: BaseException) -> bool:
        """Tell whether there is nobody left to answer, or no room for an answer any more; log it."""
        if isinstance(error, ConnectionError) and (exchange.peer_gone or exchange.websocket_closing):
            self._logger.debug("The client left during %r", exchange.head, exc_info=error)
            return True
        if exchange.stage is not Stage.OPEN and isinstance(error, Refusal):
            # The client's fault: it must not be able to fill the log with tracebacks.
            self._logger.warning(
                "Malformed body behind %r, the connection is cut, its response had begun: %s",
                exchange.head,
                error.message,
            )
            return True
        if exchange.crash_websocket():
            self._logger.error("Error in the WebSocket of %r, it is closed with 1011", exchange.head, exc_info=error)
            return True
        if exchange.stage is not Stage.OPEN:
            self._logger.error(
                "Error after the response to %r had begun, the connection is cut", exchange.head, exc_info=error
            )
            return True
        return False

    def _response_to(self, error: BaseException, request: R, exchange: Exchange) -> StreamResponse:
        if isinstance(error, HTTPException):
            error.__traceback__ = None  # from here on it is a response; its frames would keep each other alive
            return error
        exchange.keep_alive = False
        if isinstance(error, Refusal):
            return Response(status=error.status, text=error.message)
        if isinstance(error, TimeoutError):
            self._logger.debug("The handler of %r ran out of time", exchange.head, exc_info=error)
            return Response(status=504)
        self._logger.error("Error handling a request from %s", request.remote, exc_info=error)
        text, content_type = crash_page(error, accept=request.headers.get("Accept", ""), debug=self._debug)
        return Response(status=500, text=text, content_type=content_type)

    def _log_refusal(self, request: R, refusal: Refusal) -> None:
        # Other protocols and scans of the port are everyday noise; a client that has spoken HTTP before is in trouble.
        level = logging.DEBUG if refusal.foreign else logging.WARNING
        self._logger.log(level, "Malformed request from %s: %d %s", request.remote, refusal.status, refusal.message)

    def _in_place_of(self, answer: object, request: R) -> StreamResponse:
        if isinstance(answer, HTTPException):
            warnings.warn(f"raise {type(answer).__name__} instead of returning it", DeprecationWarning, stacklevel=1)
            return answer
        if answer is None:
            self._logger.error("Missing return statement on request handler (%s %s)", request.method, request.path)
        else:
            self._logger.error("Web-handler should return a response instance, got %r%s", answer, whence(answer))
        return Response(status=500, text="500: Internal Server Error")

    async def _last_resort(self, exchange: Exchange) -> None:
        """Answer 500 with nothing that could fail again: no signals, no headers of anybody's."""
        exchange.keep_alive = False
        text, content_type = crash_page(None, accept="", debug=False)
        fields = (("Content-Type", f"{content_type}; charset=utf-8"),)
        with suppress(ConnectionError):  # the client left after all
            await exchange.respond(500, "Internal Server Error", fields, text.encode())

    def _log(
        self,
        access_logger: AbstractAccessLogger,
        request: R,
        exchange: Exchange,
        response: StreamResponse | None,
        seconds: float,
    ) -> None:
        status = exchange.status or _NO_RESPONSE
        try:
            if response is None or response.status != status:
                access_logger.log(request, Unanswered(status, exchange.bytes_sent), seconds)
            else:
                access_logger.log(request, response, seconds)
        except Exception:
            self._logger.exception("Error in the access logger %r", access_logger)


class WebHandler(AnsweringHandler[Request]):
    """Answers requests with `app`: its router, its middlewares, its handlers.

    Made when the application has started.  The middlewares of each route are composed at its first request.
    """

    __slots__ = ("_app", "_hooked", "_match", "_max_fields", "_max_size", "_unmatched")

    def __init__(self, app: Application, settings: Settings | None = None) -> None:
        super().__init__(settings or settings_from({}, "WebHandler()"))
        app.pre_freeze()
        self._app = app
        self._match = app.router.match
        self._max_size = app.client_max_size
        self._max_fields = app.client_max_fields
        self._hooked = _has_prepare_receivers(app)
        self._unmatched: dict[tuple[Application, ...], Handler] = {}

    def make_request(self, exchange: Exchange) -> Request:
        """Return the request of an exchange, with the application's limits."""
        request = Request(exchange, client_max_size=self._max_size, client_max_fields=self._max_fields)
        if not self._auto_decompress:
            request._auto_decompress = False
        return request

    def handle(self, request: Request, exchange: Exchange) -> Awaitable[object]:
        """Return what to await for the response."""
        head = exchange.head
        if head.block.expect is None and exchange.refusal is None:
            target = head.target
            if "?" in target or "#" in target:
                target = split_path(target)
            match_info = self._match(head.method, target)
            if match_info is not None:
                match_info.add_app(self._app)
                request._match_info = match_info
                request._has_prepare_hook = self._hooked
                exchange.route = lineage = match_info.lineage
                return (lineage.composed or compose_lineage(lineage))(request)
        return self._handle_the_unusual(request, exchange)

    async def _handle_the_unusual(self, request: Request, exchange: Exchange) -> object:
        """Handle what is refused, matches nothing, has to be awaited for a match, or expects something."""
        app = self._app
        if exchange.refusal is not None:
            self._log_refusal(request, exchange.refusal)
            match_info: UrlMappingMatchInfo = MatchInfoError(_refusal_error(exchange.refusal))
        else:
            match_info = await app.router.resolve(request)
        match_info.add_app(app)
        match_info.freeze()
        request._match_info = match_info
        if match_info.http_exception is not None:
            handler = self._unmatched.get(match_info.apps)
            if handler is None:
                handler = self._unmatched[match_info.apps] = compose_unmatched(match_info.apps)
            return await handler(request)
        if exchange.head.block.expect is not None:
            bound_route(match_info.lineage, request)
            response = await match_info.expect_handler(request)
            if response is not None:
                return response
        exchange.route = lineage = match_info.lineage
        return await (lineage.composed or compose_lineage(lineage))(request)


class BareHandler(AnsweringHandler[BaseRequest]):
    """Answers requests with one handler for all of them; refused ones are answered without it."""

    __slots__ = ("_handler", "_request_factory")

    def __init__(
        self, handler: BareRequestHandler, request_factory: Callable[[Exchange], BaseRequest], settings: Settings
    ) -> None:
        super().__init__(settings)
        self._handler = handler
        self._request_factory = request_factory

    def make_request(self, exchange: Exchange) -> BaseRequest:
        """Return what the request factory makes."""
        request = self._request_factory(exchange)
        if not self._auto_decompress:
            request._auto_decompress = False
        return request

    async def handle(self, request: BaseRequest, exchange: Exchange) -> object:
        """Call the handler."""
        if exchange.refusal is not None:
            self._log_refusal(request, exchange.refusal)
            raise _refusal_error(exchange.refusal)
        answer = self._handler(request)
        return await answer if isawaitable(answer) else answer
