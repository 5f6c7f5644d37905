"""Responses that are raised: the base classes of the HTTP exceptions."""

import warnings
from typing import ClassVar, Final

from yarl import URL

from structweb._web.headers import LooseHeaders
from structweb._web.response import Response
from structweb._wire.status import REASON_PHRASES

# What ties a response to a connection.
_SENDING: Final = ("_exchange", "_stage")


class HTTPException(Response, Exception):
    """The base of all of them: a response that can be raised.

    Subclasses have a `status_code`.  The body is "404: Not Found" and the like, unless told otherwise.
    """

    #: The status of the response; -1 in classes that are only bases.
    status_code: ClassVar[int] = -1
    #: Whether the response has no body unless one is given.
    empty_body: ClassVar[bool] = False

    def __init__(
        self,
        *,
        headers: LooseHeaders | None = None,
        reason: str | None = None,
        body: object = None,
        text: str | None = None,
        content_type: str | None = None,
    ) -> None:
        if body is not None:
            warnings.warn("body is deprecated for HTTP exceptions: give text", DeprecationWarning, stacklevel=2)
        elif text is None and not self.empty_body:
            text = f"{self.status_code}: {REASON_PHRASES.get(self.status_code, '') if reason is None else reason}"
        Response.__init__(
            self,
            status=self.status_code,
            headers=headers,
            reason=reason,
            body=body,
            text=text,
            content_type=content_type,
        )
        Exception.__init__(self, self._reason)

    def __reduce__(self) -> tuple[object, ...]:
        state = {name: value for name, value in self.__dict__.items() if name not in _SENDING}
        return _unpickle, (type(self), self.args), state


def _unpickle(cls: type[HTTPException], args: tuple[object, ...]) -> HTTPException:
    return cls.__new__(cls, *args)


class HTTPError(HTTPException):
    """The base of those with a status from 400 to 599."""


class HTTPRedirection(HTTPException):
    """The base of those with a status from 300 to 399."""


class HTTPSuccessful(HTTPException):
    """The base of those with a status from 200 to 299."""


class HTTPClientError(HTTPError):
    """The base of those with a status from 400 to 499: the client's fault."""


class HTTPServerError(HTTPError):
    """The base of those with a status from 500 to 599: the server's fault."""


class HTTPMove(HTTPRedirection):
    """The base of those that send the client to another URL.  Raises ValueError for an empty location."""

    def __init__(
        self,
        location: str | URL,
        *,
        headers: LooseHeaders | None = None,
        reason: str | None = None,
        body: object = None,
        text: str | None = None,
        content_type: str | None = None,
    ) -> None:
        if not location:
            raise ValueError(f"{type(self).__name__} needs a location to send the client to, got {location!r}")
        super().__init__(headers=headers, reason=reason, body=body, text=text, content_type=content_type)
        self.headers["Location"] = str(URL(location))
        #: Where the client is sent to, as given.
        self.location = location
