"""Sessions as plain JSON in their cookie."""

from structweb.sessions.sealed import SealedCookieStorage


class SimpleCookieStorage(SealedCookieStorage):
    """Keeps a session in its cookie as plain JSON: whoever has the cookie can read it and make another.  For tests."""

    def _seal(self, text: str) -> str:
        return text

    def _open(self, cookie: str) -> str | None:
        return cookie
