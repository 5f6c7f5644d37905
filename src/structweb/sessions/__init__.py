"""User sessions: aiohttp_session's API, with storages in cookies, in memory, in Redis and in memcached."""

from structweb.sessions.memory import InMemoryStorage
from structweb.sessions.middleware import get_session, new_session, session_middleware, setup
from structweb.sessions.session import Session, SessionData
from structweb.sessions.signed import SignedCookieStorage
from structweb.sessions.simple import SimpleCookieStorage
from structweb.sessions.storage import SESSION_KEY, STORAGE_KEY, AbstractStorage, CookieParams, StorageUnavailable

__all__ = [
    "SESSION_KEY",
    "STORAGE_KEY",
    "AbstractStorage",
    "CookieParams",
    "InMemoryStorage",
    "Session",
    "SessionData",
    "SignedCookieStorage",
    "SimpleCookieStorage",
    "StorageUnavailable",
    "get_session",
    "new_session",
    "session_middleware",
    "setup",
]
