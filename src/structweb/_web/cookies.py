"""The cookies that a response sets."""

from abc import ABC, abstractmethod
from http.cookies import SimpleCookie
from typing import Never

from structweb._wire.cookies import EPOCH
from structweb._wire.cookies import set_cookie as write_cookie


class SentCookies(SimpleCookie):
    """Cookies that were sent: to look at.  Raises RuntimeError for changes, which nobody would see."""

    def __init__(self, cookies: SimpleCookie | None) -> None:
        super().__init__()
        self.update(cookies or {})

    def __setitem__(self, name: str, value: object) -> Never:
        self._refuse()

    def __delitem__(self, name: str) -> Never:
        self._refuse()

    def load(self, rawdata: object) -> Never:
        """Raise RuntimeError."""
        self._refuse()

    def _refuse(self) -> Never:
        raise RuntimeError("cookies cannot be changed after the head of their response has been sent")


class ResponseCookies(ABC):
    """The cookies of a response; they become header fields when it is prepared."""

    _cookies: SimpleCookie | None = None

    @abstractmethod
    def _check_unsent(self, what: str) -> None:
        """Raise RuntimeError if the head of the response has been sent."""

    @property
    def cookies(self) -> SimpleCookie:
        """The cookies that the response sets.  Changing them raises RuntimeError once the head has been sent."""
        try:
            self._check_unsent("cookies")
        except RuntimeError:
            return SentCookies(self._cookies)
        if self._cookies is None:
            self._cookies = SimpleCookie()
        return self._cookies

    def _cookie_lines(self) -> dict[str, str]:
        """Return the value of Set-Cookie for each cookie."""
        return {name: morsel.OutputString() for name, morsel in self._cookies.items()} if self._cookies else {}

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        expires: str | None = None,
        domain: str | None = None,
        max_age: int | str | None = None,
        path: str = "/",
        secure: bool | None = None,
        httponly: bool | None = None,
        version: str | None = None,
        samesite: str | None = None,
        partitioned: bool | None = None,
    ) -> None:
        """Set a cookie, or change it: attributes that are not given stay, but for Expires and Max-Age.

        Raises `http.cookies.CookieError` for a name that no cookie may have, RuntimeError once the head has been sent.
        """
        self._check_unsent("cookies")
        write_cookie(
            self.cookies,
            name,
            value,
            expires=expires,
            domain=domain,
            max_age=max_age,
            path=path,
            secure=secure,
            httponly=httponly,
            version=version,
            samesite=samesite,
            partitioned=partitioned,
        )

    def del_cookie(
        self,
        name: str,
        *,
        domain: str | None = None,
        path: str = "/",
        secure: bool | None = None,
        httponly: bool | None = None,
        samesite: str | None = None,
    ) -> None:
        """Tell the client to forget a cookie; `domain` and `path` must be those that it was set with."""
        self._check_unsent("cookies")
        self.cookies.pop(name, None)
        self.set_cookie(
            name,
            "",
            max_age=0,
            expires=EPOCH,
            domain=domain,
            path=path,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )
