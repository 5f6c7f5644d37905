"""What every storage has: the cookie and its attributes, and the form in which a session is kept."""

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from email.utils import formatdate
from types import EllipsisType
from typing import Any, Final, TypedDict

from structweb._web.errors import HTTPServiceUnavailable
from structweb._web.keys import RequestKey
from structweb._web.request import Request
from structweb._web.streaming import StreamResponse
from structweb.sessions.session import Session, SessionData

#: Where a request has its session.
SESSION_KEY: Final = RequestKey("SESSION_KEY", Session)

#: Browsers take no larger cookie, name and attributes included (RFC 6265 section 6.1).
COOKIE_LIMIT: Final = 4096

log: Final = logging.getLogger("structweb.sessions")

Encoder = Callable[[object], str]
Decoder = Callable[[str], Any]  # Any: what json.loads returns


class StorageUnavailable(HTTPServiceUnavailable):
    """The server that keeps the sessions does not answer: 503.  What it failed with is the cause, and is logged."""


class CookieParams(TypedDict):
    """The attributes of the cookie."""

    domain: str | None
    max_age: int | None
    path: str
    secure: bool | None
    httponly: bool
    samesite: str | None


class StorageOptions(TypedDict, total=False):
    """What every storage takes."""

    cookie_name: str
    domain: str | None
    max_age: int | None
    path: str
    secure: bool | None
    httponly: bool
    samesite: str | None
    encoder: Encoder
    decoder: Decoder


class AbstractStorage(ABC):
    """Loads and saves sessions.

    `max_age` is in seconds.  With `secure` None, the cookie is Secure where the request came over https (also by a
    trusted proxy), and not otherwise.  `encoder` and `decoder` make text of a session and back.
    """

    def __init__(
        self,
        *,
        cookie_name: str = "AIOHTTP_SESSION",
        domain: str | None = None,
        max_age: int | None = None,
        path: str = "/",
        secure: bool | None = None,
        httponly: bool = True,
        samesite: str | None = "Lax",
        encoder: Encoder = json.dumps,
        decoder: Decoder = json.loads,
    ) -> None:
        self._cookie_name = cookie_name
        self._max_age = max_age
        self._encoder = encoder
        self._decoder = decoder
        self._cookie_params = CookieParams(
            domain=domain, max_age=max_age, path=path, secure=secure, httponly=httponly, samesite=samesite
        )

    @property
    def cookie_name(self) -> str:
        """The name of the cookie."""
        return self._cookie_name

    @property
    def max_age(self) -> int | None:
        """The `max_age` of sessions that have none of their own."""
        return self._max_age

    @property
    def cookie_params(self) -> CookieParams:
        """The attributes of the cookie."""
        return self._cookie_params

    async def new_session(self) -> Session:
        """Return an empty session."""
        return self._fresh()

    @abstractmethod
    async def load_session(self, request: Request) -> Session:
        """Return the session of a request: a new one where there is none that can be read."""

    @abstractmethod
    async def save_session(self, request: Request, response: StreamResponse, session: Session) -> None:
        """Keep a session, and have the response set its cookie."""

    def load_cookie(self, request: Request) -> str | None:
        """Return the cookie of a request."""
        return request.cookies.get(self._cookie_name)

    def save_cookie(
        self, response: StreamResponse, cookie_data: str, *, max_age: int | EllipsisType | None = ...
    ) -> None:
        """Set the cookie, for `max_age` seconds, or delete it if there is nothing to hold.

        It is the `max_age` of the storage unless one is given; with None the browser keeps it as long as it runs.
        A cookie that is larger than browsers take is set all the same, with a warning in the log.
        """
        params = self._cookie_params.copy()
        if not cookie_data:
            response.del_cookie(
                self._cookie_name,
                domain=params["domain"],
                path=params["path"],
                secure=params["secure"],
                httponly=params["httponly"],
                samesite=params["samesite"],
            )
            return
        if not isinstance(max_age, EllipsisType):
            params["max_age"] = max_age
        expires = None if params["max_age"] is None else formatdate(time.time() + params["max_age"], usegmt=True)
        response.set_cookie(self._cookie_name, cookie_data, expires=expires, **params)
        size = len(response.cookies[self._cookie_name].OutputString())
        if size > COOKIE_LIMIT:
            log.warning(
                "The session cookie %s has %d bytes: browsers drop it over %d, and keep the old one",
                self._cookie_name,
                size,
                COOKIE_LIMIT,
            )

    def _fresh(self) -> Session:
        return Session(None, data=None, new=True, max_age=self._max_age)

    def _get_session_data(self, session: Session) -> SessionData:
        return {} if session.empty else {"created": session.created, "session": session._mapping}

    def _decode(self, text: str) -> SessionData | None:
        """Return what `text` says, None if that is no session."""
        try:
            data = self._decoder(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict) or not isinstance(data.get("session", {}), Mapping):
            return None
        if not isinstance(data.get("created", 0), int):
            return None
        known: SessionData = {name: data[name] for name in ("created", "session") if name in data}  # type: ignore[assignment]  # checked above
        return known


#: Where a request has its storage.
STORAGE_KEY: Final = RequestKey[AbstractStorage]("STORAGE_KEY")
