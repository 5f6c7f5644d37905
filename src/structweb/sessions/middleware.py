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

#: Whether a handler is at work, whose streams save the session before their heads go out.
_ACTIVE: Final = RequestKey("structweb session active", bool)


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
def _inside(request: Request, storage: AbstractStorage) -> Iterator[None]:
    """Have the request's session be one of `storage`; behind it that of a storage around, of an outer application's."""
    outer = request.get(STORAGE_KEY)
    hidden = request.pop(SESSION_KEY, None) if outer is not storage else None
    request[STORAGE_KEY] = storage
    active = request.get(_ACTIVE, False)
    request[_ACTIVE] = True
    try:
        yield
    finally:
        if outer is not None and outer is not storage:
            request[STORAGE_KEY] = outer
            request.pop(SESSION_KEY, None)
            if hidden is not None:
                request[SESSION_KEY] = hidden
        request[_ACTIVE] = active


async def get_session(request: Request) -> Session:
    """Return the session of a request; it is loaded once.

    Raises RuntimeError without the middleware, and for a storage that returns something else; `StorageUnavailable`
    (503) if the server that keeps it does not answer.
    """
    session = request.get(SESSION_KEY)
    if session is None:
        storage = _storage_of(request)
        session = request[SESSION_KEY] = _checked(await storage.load_session(request), storage)
    if not isinstance(session, Session):
        raise RuntimeError(f"expected a session in request[{SESSION_KEY!r}], got {session!r}")
    return session


async def new_session(request: Request) -> Session:
    """Give a request an empty session with a new identity: at login, say.  Raises what `get_session` raises.

    The record of the session that it takes the place of is deleted when this one is saved, if that was loaded.  It is
    saved even if nothing is put into it: then the client is told to forget its cookie.
    """
    storage = _storage_of(request)
    old = request.get(SESSION_KEY)
    session = _checked(await storage.new_session(), storage)
    if isinstance(old, Session) and old is not session:
        session._retired.extend(old._retired)
        if old.identity is not None and not old.new:
            session._retired.append(old.identity)
    if storage.load_cookie(request) is not None:
        session.changed()  # else the client would come back with the old one
    request[SESSION_KEY] = session
    return session


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
    session = request.get(SESSION_KEY)
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
    if SESSION_KEY in request:
        vary_on(response.headers, "Cookie")


async def _save_before_the_head(request: Request, response: StreamResponse) -> None:
    _tell_caches(request, response)
    storage = request.get(STORAGE_KEY)
    if not request.get(_ACTIVE) or not isinstance(storage, AbstractStorage):
        return
    session = request.get(SESSION_KEY)
    if isinstance(session, Session) and session._changed:
        await _save_into_headers(request, response, storage)


async def _save_into_headers(request: Request, response: StreamResponse, storage: AbstractStorage) -> None:
    # The head is complete but for what the receivers of on_response_prepare add: cookies are fields by now.
    carrier = StreamResponse()
    await _save(request, carrier, storage)
    for morsel in carrier.cookies.values():
        response.headers.add("Set-Cookie", morsel.OutputString())
