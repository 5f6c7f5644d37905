"""From the request to its session, and from the session to the response."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from structweb._web.app import Application
from structweb._web.headers import vary_on
from structweb._web.http_exception import HTTPException
from structweb._web.keys import RequestKey
from structweb._web.middleware import Middleware, middleware
from structweb._web.request import Request
from structweb._web.routes import Handler
from structweb._web.streaming import StreamResponse
from structweb.sessions.session import Session
from structweb.sessions.storage import SESSION_KEY, STORAGE_KEY, AbstractStorage


class _Visit:
    """A request on its way through the middleware: copies of the request, which others hand on, share it."""

    __slots__ = ("active", "session", "storage")

    def __init__(self, storage: AbstractStorage) -> None:
        self.storage = storage
        #: What handlers got last.
        self.session: Session | None = None
        #: Whether a handler is at work, whose streams save the session before their heads go out.
        self.active = True


_VISIT: Final = RequestKey("structweb session visit", _Visit)


def setup(app: Application, storage: AbstractStorage) -> None:
    """Give the handlers of an application sessions: append the middleware, and have streams save them in time.

    Raises RuntimeError for a storage that is none.
    """
    app.middlewares.append(session_middleware(storage))
    app.on_response_prepare.append(_save_before_the_head)


def session_middleware(storage: AbstractStorage) -> Middleware:
    """Return a middleware that saves the session behind the handler, if it changed, also with an HTTP exception.

    Responses to requests whose session was asked for have ``Vary: Cookie``.
    A response that was sent before raises RuntimeError, if the session changed since.  Raises RuntimeError for a storage
    that is none.
    """
    if not isinstance(storage, AbstractStorage):
        raise RuntimeError(f"expected a session storage, got {storage!r}")

    @middleware
    async def sessions(request: Request, handler: Handler) -> StreamResponse:
        with _inside(request, storage):
            try:
                response = await handler(request)
            except HTTPException as exc:
                await _save(request, exc, storage)
                raise
            if not isinstance(response, StreamResponse):
                raise RuntimeError(f"expected a response from the handler, got {response!r}")
            await _save(request, response, storage)
            return response

    return sessions


@contextmanager
def _inside(request: Request, storage: AbstractStorage) -> Iterator[_Visit]:
    """Have the request's session be one of `storage`; behind it that of a storage around, of an outer application's."""
    outer = request.get(_VISIT)
    if outer is not None and outer.storage is storage:
        yield outer
        return
    hidden = request.pop(SESSION_KEY, None)
    request[STORAGE_KEY] = storage
    request[_VISIT] = visit = _Visit(storage)
    try:
        yield visit
    finally:
        visit.active = False
        if outer is not None:
            request[STORAGE_KEY] = outer.storage
            request[_VISIT] = outer
            request.pop(SESSION_KEY, None)
            if hidden is not None:
                request[SESSION_KEY] = hidden


async def get_session(request: Request) -> Session:
    """Return the session of a request; it is loaded once.

    Raises RuntimeError without the middleware, and for a storage that returns something else; `StorageUnavailable`
    (503) if the server that keeps it does not answer.
    """
    session = _session_of(request)
    if session is None:
        storage = _storage_of(request)
        loaded = _checked(await storage.load_session(request), storage)
        session = _session_of(request)  # another task of the handler may have come first
        if session is None:
            session = loaded
            _give(request, session)
    if not isinstance(session, Session):
        raise RuntimeError(f"expected a session in request[{SESSION_KEY!r}], got {session!r}")
    return session


async def new_session(request: Request) -> Session:
    """Give a request an empty session with a new identity: at login, say.  Raises what `get_session` raises.

    The record of the session that it takes the place of is deleted when this one is saved, if that was loaded.  It is
    saved even if nothing is put into it: then the client is told to forget its cookie.
    """
    storage = _storage_of(request)
    old = _session_of(request)
    session = _checked(await storage.new_session(), storage)
    if isinstance(old, Session) and old is not session:
        session._retired.extend(old._retired)
        if old.identity is not None and not old.new:
            session._retired.append(old.identity)
    if storage.load_cookie(request) is not None:
        session.changed()  # else the client would come back with the old one
    _give(request, session)
    return session


def _session_of(request: Request) -> Session | None:
    visit = request.get(_VISIT)
    return request.get(SESSION_KEY) if visit is None or visit.session is None else visit.session


def _give(request: Request, session: Session) -> None:
    request[SESSION_KEY] = session
    visit = request.get(_VISIT)
    if visit is not None:
        visit.session = session


def _storage_of(request: Request) -> AbstractStorage:
    storage = request.get(STORAGE_KEY)
    if not isinstance(storage, AbstractStorage):
        raise RuntimeError("there are no sessions here: call structweb.sessions.setup(app, storage) first")
    return storage


def _checked(session: object, storage: AbstractStorage) -> Session:
    if not isinstance(session, Session):
        raise RuntimeError(f"expected a Session from {storage!r}, got {session!r}")
    return session


async def _save(request: Request, response: StreamResponse, storage: AbstractStorage) -> None:
    session = _session_of(request)
    if not response.prepared:
        _tell_caches(request, response)
    if not isinstance(session, Session) or not session._changed:
        return
    if response.prepared:
        raise RuntimeError("Cannot save session data into prepared response: it changed after the head had been sent")
    await storage.save_session(request, response, session)
    session._changed = False
    morsel = response.cookies.get(storage.cookie_name)
    if morsel is not None and storage.cookie_params["secure"] is None and request.secure:
        morsel["secure"] = True


def _tell_caches(request: Request, response: StreamResponse) -> None:
    """Have caches not give others what was made of somebody's session."""
    if _session_of(request) is not None:
        vary_on(response.headers, "Cookie")


async def _save_before_the_head(request: Request, response: StreamResponse) -> None:
    _tell_caches(request, response)
    visit = request.get(_VISIT)
    session = _session_of(request)
    if visit is not None and visit.active and isinstance(session, Session) and session._changed:
        await _save_into_headers(request, response, visit.storage)


async def _save_into_headers(request: Request, response: StreamResponse, storage: AbstractStorage) -> None:
    # The head is complete but for what the receivers of on_response_prepare add: cookies are fields by now.
    carrier = StreamResponse()
    await _save(request, carrier, storage)
    for morsel in carrier.cookies.values():
        response.headers.add("Set-Cookie", morsel.OutputString())
