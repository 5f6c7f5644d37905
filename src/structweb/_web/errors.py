"""Exceptions that are responses, one class a status: raise one, and the client gets it."""

from collections.abc import Iterable

from yarl import URL

from structweb._web.headers import LooseHeaders

# The bases are names of this module, too: who imports an error finds its family beside it.
from structweb._web.http_exception import HTTPClientError as HTTPClientError  # noqa: PLC0414 -- see above
from structweb._web.http_exception import HTTPError as HTTPError  # noqa: PLC0414 -- see above
from structweb._web.http_exception import HTTPException as HTTPException  # noqa: PLC0414 -- see above
from structweb._web.http_exception import HTTPMove as HTTPMove  # noqa: PLC0414 -- see above
from structweb._web.http_exception import HTTPRedirection as HTTPRedirection  # noqa: PLC0414 -- see above
from structweb._web.http_exception import HTTPServerError as HTTPServerError  # noqa: PLC0414 -- see above
from structweb._web.http_exception import HTTPSuccessful as HTTPSuccessful  # noqa: PLC0414 -- see above


class HTTPOk(HTTPSuccessful):
    """200: it went well."""

    status_code = 200


class HTTPCreated(HTTPSuccessful):
    """201: something was made."""

    status_code = 201


class HTTPAccepted(HTTPSuccessful):
    """202: it will be done later."""

    status_code = 202


class HTTPNonAuthoritativeInformation(HTTPSuccessful):
    """203: a proxy changed the content."""

    status_code = 203


class HTTPNoContent(HTTPSuccessful):
    """204: it went well, and there is nothing to show."""

    status_code = 204
    empty_body = True


class HTTPResetContent(HTTPSuccessful):
    """205: it went well: clear the form."""

    status_code = 205
    empty_body = True


class HTTPPartialContent(HTTPSuccessful):
    """206: part of the content, as asked for."""

    status_code = 206


class HTTPMultipleChoices(HTTPMove):
    """300: there are several; the location is the preferred one."""

    status_code = 300


class HTTPMovedPermanently(HTTPMove):
    """301: it is elsewhere for good; clients may turn POST into GET."""

    status_code = 301


class HTTPFound(HTTPMove):
    """302: it is elsewhere for now; clients may turn POST into GET."""

    status_code = 302


class HTTPSeeOther(HTTPMove):
    """303: the answer is elsewhere, to be fetched with GET."""

    status_code = 303


class HTTPNotModified(HTTPRedirection):
    """304: the client's copy is still good."""

    status_code = 304
    empty_body = True


class HTTPUseProxy(HTTPMove):
    """305: only to be reached through a proxy; out of use."""

    status_code = 305


class HTTPTemporaryRedirect(HTTPMove):
    """307: it is elsewhere for now; the method stays."""

    status_code = 307


class HTTPPermanentRedirect(HTTPMove):
    """308: it is elsewhere for good; the method stays."""

    status_code = 308


class HTTPBadRequest(HTTPClientError):
    """400: the request makes no sense."""

    status_code = 400


class HTTPUnauthorized(HTTPClientError):
    """401: the client must tell who it is."""

    status_code = 401


class HTTPPaymentRequired(HTTPClientError):
    """402: it costs something."""

    status_code = 402


class HTTPForbidden(HTTPClientError):
    """403: the client may not."""

    status_code = 403


class HTTPNotFound(HTTPClientError):
    """404: there is nothing here."""

    status_code = 404


class HTTPMethodNotAllowed(HTTPClientError):
    """405: there is something here, but not for that method."""

    status_code = 405

    def __init__(
        self,
        method: str,
        allowed_methods: Iterable[str],
        *,
        headers: LooseHeaders | None = None,
        reason: str | None = None,
        body: object = None,
        text: str | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(headers=headers, reason=reason, body=body, text=text, content_type=content_type)
        #: The methods that there are.
        self.allowed_methods: set[str] = set(allowed_methods)
        #: The method of the request, upper-cased.
        self.method: str = method.upper()
        self.headers["Allow"] = ",".join(sorted(self.allowed_methods))


class HTTPNotAcceptable(HTTPClientError):
    """406: not to be had in a form that the client accepts."""

    status_code = 406


class HTTPProxyAuthenticationRequired(HTTPClientError):
    """407: the client must tell the proxy who it is."""

    status_code = 407


class HTTPRequestTimeout(HTTPClientError):
    """408: the request took too long to arrive."""

    status_code = 408


class HTTPConflict(HTTPClientError):
    """409: something else has changed meanwhile."""

    status_code = 409


class HTTPGone(HTTPClientError):
    """410: there was something here, and will not be again."""

    status_code = 410


class HTTPLengthRequired(HTTPClientError):
    """411: the request must have a Content-Length."""

    status_code = 411


class HTTPPreconditionFailed(HTTPClientError):
    """412: a condition of the request does not hold."""

    status_code = 412


class HTTPRequestEntityTooLarge(HTTPClientError, ValueError):
    """413: the body is too large."""

    status_code = 413

    def __init__(
        self,
        max_size: float,
        actual_size: float = 0,
        *,
        headers: LooseHeaders | None = None,
        reason: str | None = None,
        body: object = None,
        text: str | None = None,
        content_type: str | None = None,
    ) -> None:
        if text is None and body is None:
            text = f"Maximum request body size {max_size} exceeded."
        super().__init__(headers=headers, reason=reason, body=body, text=text, content_type=content_type)
        #: The limit in bytes, and what is known of the size: 0 for nothing.
        self.max_size = max_size
        self.actual_size = actual_size


class HTTPRequestURITooLong(HTTPClientError):
    """414: the target of the request is too long."""

    status_code = 414


class HTTPUnsupportedMediaType(HTTPClientError):
    """415: the body is in a format that is not understood."""

    status_code = 415


class HTTPRequestRangeNotSatisfiable(HTTPClientError):
    """416: the content has no such range."""

    status_code = 416


class HTTPExpectationFailed(HTTPClientError):
    """417: what Expect asks for cannot be met."""

    status_code = 417


class HTTPMisdirectedRequest(HTTPClientError):
    """421: this server does not answer for that host."""

    status_code = 421


class HTTPUnprocessableEntity(HTTPClientError):
    """422: the body is well-formed and makes no sense."""

    status_code = 422


class HTTPFailedDependency(HTTPClientError):
    """424: another request, on which this one depends, failed."""

    status_code = 424


class HTTPUpgradeRequired(HTTPClientError):
    """426: only to be had over another protocol."""

    status_code = 426


class HTTPPreconditionRequired(HTTPClientError):
    """428: the request must be a conditional one."""

    status_code = 428


class HTTPTooManyRequests(HTTPClientError):
    """429: the client asks too often."""

    status_code = 429


class HTTPRequestHeaderFieldsTooLarge(HTTPClientError):
    """431: the header of the request is too large."""

    status_code = 431


class HTTPUnavailableForLegalReasons(HTTPClientError):
    """451: the law forbids it, on demand of whoever `link` names."""

    status_code = 451

    def __init__(
        self,
        link: str | URL | None,
        *,
        headers: LooseHeaders | None = None,
        reason: str | None = None,
        body: object = None,
        text: str | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(headers=headers, reason=reason, body=body, text=text, content_type=content_type)
        self._link = URL(link) if link else None
        if self._link is not None:
            self.headers["Link"] = f'<{self._link}>; rel="blocked-by"'

    @property
    def link(self) -> URL | None:
        """The URL of who demanded it; None if that is not told."""
        return self._link


class HTTPInternalServerError(HTTPServerError):
    """500: the server has a bug."""

    status_code = 500


class HTTPNotImplemented(HTTPServerError):
    """501: the server cannot do that."""

    status_code = 501


class HTTPBadGateway(HTTPServerError):
    """502: the server behind this one sent nonsense."""

    status_code = 502


class HTTPServiceUnavailable(HTTPServerError):
    """503: not now; perhaps later."""

    status_code = 503


class HTTPGatewayTimeout(HTTPServerError):
    """504: the server behind this one did not answer in time."""

    status_code = 504


class HTTPVersionNotSupported(HTTPServerError):
    """505: the server does not speak that version of HTTP."""

    status_code = 505


class HTTPVariantAlsoNegotiates(HTTPServerError):
    """506: content negotiation goes in circles."""

    status_code = 506


class HTTPInsufficientStorage(HTTPServerError):
    """507: there is no room to store it."""

    status_code = 507


class HTTPNotExtended(HTTPServerError):
    """510: the request lacks an extension that is needed."""

    status_code = 510


class HTTPNetworkAuthenticationRequired(HTTPServerError):
    """511: the client must log in to its network first."""

    status_code = 511
