"""Sessions that live in their cookie, closed against those who carry it."""

from abc import abstractmethod

from structweb._web.request import Request
from structweb._web.streaming import StreamResponse
from structweb.sessions.session import Session
from structweb.sessions.storage import AbstractStorage, log


class SealedCookieStorage(AbstractStorage):
    """Keeps a session in its cookie, in a form that only this storage can make."""

    async def load_session(self, request: Request) -> Session:
        """Return the session in the cookie; a new one, with a warning in the log, if the cookie cannot be read."""
        cookie = self.load_cookie(request)
        if not cookie:
            return self._fresh()
        text = self._open(cookie)
        data = None if text is None else self._decode(text)
        if data is None:
            log.warning("The session cookie %s cannot be read: a new session begins", self.cookie_name)
            return self._fresh()
        return Session(None, data=data, new=False, max_age=self.max_age)

    async def save_session(self, request: Request, response: StreamResponse, session: Session) -> None:
        """Put the session into the cookie; delete the cookie of one that is empty."""
        cookie = "" if session.empty else self._seal(self._encoder(self._get_session_data(session)))
        self.save_cookie(response, cookie, max_age=session.max_age)

    @abstractmethod
    def _seal(self, text: str) -> str:
        """Return the cookie's value for a text."""

    @abstractmethod
    def _open(self, cookie: str) -> str | None:
        """Return the text in a cookie's value; None if it was not made here, or too long ago."""
