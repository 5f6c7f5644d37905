"""The names that applications are written with: ``from structweb import web``."""

from typing import TYPE_CHECKING

from structweb._server.access_log import (
    AbstractAccessLogger,
    AccessLogger,
    KeyMethod,
)
from structweb._server.config import ServerConfig
from structweb._server.native import run_native
from structweb._server.reasons import CancelReason
from structweb._server.report import ConnectionRecord, ShutdownReport, StepRecord
from structweb._web.app import Application
from structweb._web.content import (
    PayloadAccessError,
    RequestPayloadError,
    StreamReader,
)
from structweb._web.cors import cors_middleware
from structweb._web.csrf import csrf_middleware
from structweb._web.dispatcher import (
    ResourcesView,
    RouteOptions,
    RoutesView,
    UrlDispatcher,
)
from structweb._web.domains import (
    AbstractRuleMatching,
    Domain,
    MaskDomain,
)
from structweb._web.errors import (
    HTTPAccepted,
    HTTPBadGateway,
    HTTPBadRequest,
    HTTPConflict,
    HTTPCreated,
    HTTPExpectationFailed,
    HTTPFailedDependency,
    HTTPForbidden,
    HTTPFound,
    HTTPGatewayTimeout,
    HTTPGone,
    HTTPInsufficientStorage,
    HTTPInternalServerError,
    HTTPLengthRequired,
    HTTPMethodNotAllowed,
    HTTPMisdirectedRequest,
    HTTPMovedPermanently,
    HTTPMultipleChoices,
    HTTPNetworkAuthenticationRequired,
    HTTPNoContent,
    HTTPNonAuthoritativeInformation,
    HTTPNotAcceptable,
    HTTPNotExtended,
    HTTPNotFound,
    HTTPNotImplemented,
    HTTPNotModified,
    HTTPOk,
    HTTPPartialContent,
    HTTPPaymentRequired,
    HTTPPermanentRedirect,
    HTTPPreconditionFailed,
    HTTPPreconditionRequired,
    HTTPProxyAuthenticationRequired,
    HTTPRequestEntityTooLarge,
    HTTPRequestHeaderFieldsTooLarge,
    HTTPRequestRangeNotSatisfiable,
    HTTPRequestTimeout,
    HTTPRequestURITooLong,
    HTTPResetContent,
    HTTPSeeOther,
    HTTPServiceUnavailable,
    HTTPTemporaryRedirect,
    HTTPTooManyRequests,
    HTTPUnauthorized,
    HTTPUnavailableForLegalReasons,
    HTTPUnprocessableEntity,
    HTTPUnsupportedMediaType,
    HTTPUpgradeRequired,
    HTTPUseProxy,
    HTTPVariantAlsoNegotiates,
    HTTPVersionNotSupported,
)
from structweb._web.event_source import EventSourceResponse, sse_response
from structweb._web.failures import CleanupError
from structweb._web.files import FileResponse
from structweb._web.forms import FormError
from structweb._web.http_exception import (
    HTTPClientError,
    HTTPError,
    HTTPException,
    HTTPMove,
    HTTPRedirection,
    HTTPServerError,
    HTTPSuccessful,
)
from structweb._web.keys import (
    AppKey,
    ChainMapProxy,
    NotAppKeyWarning,
    RequestKey,
    ResponseKey,
)
from structweb._web.matching import (
    AbstractMatchInfo,
    AbstractRouter,
    MatchInfoError,
    UrlMappingMatchInfo,
)
from structweb._web.middleware import (
    middleware,
    normalize_path_middleware,
)
from structweb._web.multipart import CharsetFieldError, NotMultipartError
from structweb._web.patterns import ROUTE_RE
from structweb._web.proxies import trusted_proxies
from structweb._web.readiness import readiness
from structweb._web.request import (
    BaseRequest,
    Request,
)
from structweb._web.resources import (
    AbstractResource,
    DynamicResource,
    PlainResource,
    Resource,
)
from structweb._web.response import (
    Response,
    json_bytes_response,
    json_response,
)
from structweb._web.routedef import (
    AbstractRouteDef,
    RouteDef,
    RouteTableDef,
    StaticDef,
    delete,
    get,
    head,
    options,
    patch,
    post,
    put,
    route,
    static,
    view,
)
from structweb._web.routes import (
    HTTP_METHOD_RE,
    AbstractRoute,
    ResourceRoute,
    SystemRoute,
)
from structweb._web.run import (
    run_app,
    serve,
)
from structweb._web.runner import (
    AppRunner,
    BaseRunner,
    GracefulExit,
    ServerRunner,
)
from structweb._web.server import Server
from structweb._web.services import (
    Backoff,
    Service,
    ServiceState,
)
from structweb._web.settings import (
    ConnectionOptions,
    RunnerOptions,
    ServerOptions,
)
from structweb._web.signal import Signal
from structweb._web.sites import (
    BaseSite,
    NamedPipeSite,
    SockSite,
    TCPSite,
    UnixSite,
)
from structweb._web.static import StaticOptions, StaticResource
from structweb._web.streaming import StreamResponse
from structweb._web.subapps import (
    MatchedSubAppResource,
    PrefixedSubAppResource,
    PrefixResource,
)
from structweb._web.uploads import FileField
from structweb._web.view import (
    AbstractView,
    View,
)
from structweb._web.websocket import WebSocketResponse
from structweb._web.websocket_messages import WebSocketReady, WSMsgType
from structweb._wire.codings import ContentCoding
from structweb._wire.multipart import MultipartError
from structweb._wire.part_coding import UnknownEncodingError
from structweb._wire.proxy_protocol import ProxyHeader

if not TYPE_CHECKING:  # a checker would take any name for one of the module's
    from structweb._web.absent import of_web as __getattr__  # noqa: F401 - Python calls it

__all__ = [
    "HTTP_METHOD_RE",
    "ROUTE_RE",
    "AbstractAccessLogger",
    "AbstractMatchInfo",
    "AbstractResource",
    "AbstractRoute",
    "AbstractRouteDef",
    "AbstractRouter",
    "AbstractRuleMatching",
    "AbstractView",
    "AccessLogger",
    "AppKey",
    "AppRunner",
    "Application",
    "Backoff",
    "BaseRequest",
    "BaseRunner",
    "BaseSite",
    "CancelReason",
    "ChainMapProxy",
    "CharsetFieldError",
    "CleanupError",
    "ConnectionOptions",
    "ConnectionRecord",
    "ContentCoding",
    "Domain",
    "DynamicResource",
    "EventSourceResponse",
    "FileField",
    "FileResponse",
    "FormError",
    "GracefulExit",
    "HTTPAccepted",
    "HTTPBadGateway",
    "HTTPBadRequest",
    "HTTPClientError",
    "HTTPConflict",
    "HTTPCreated",
    "HTTPError",
    "HTTPException",
    "HTTPExpectationFailed",
    "HTTPFailedDependency",
    "HTTPForbidden",
    "HTTPFound",
    "HTTPGatewayTimeout",
    "HTTPGone",
    "HTTPInsufficientStorage",
    "HTTPInternalServerError",
    "HTTPLengthRequired",
    "HTTPMethodNotAllowed",
    "HTTPMisdirectedRequest",
    "HTTPMove",
    "HTTPMovedPermanently",
    "HTTPMultipleChoices",
    "HTTPNetworkAuthenticationRequired",
    "HTTPNoContent",
    "HTTPNonAuthoritativeInformation",
    "HTTPNotAcceptable",
    "HTTPNotExtended",
    "HTTPNotFound",
    "HTTPNotImplemented",
    "HTTPNotModified",
    "HTTPOk",
    "HTTPPartialContent",
    "HTTPPaymentRequired",
    "HTTPPermanentRedirect",
    "HTTPPreconditionFailed",
    "HTTPPreconditionRequired",
    "HTTPProxyAuthenticationRequired",
    "HTTPRedirection",
    "HTTPRequestEntityTooLarge",
    "HTTPRequestHeaderFieldsTooLarge",
    "HTTPRequestRangeNotSatisfiable",
    "HTTPRequestTimeout",
    "HTTPRequestURITooLong",
    "HTTPResetContent",
    "HTTPSeeOther",
    "HTTPServerError",
    "HTTPServiceUnavailable",
    "HTTPSuccessful",
    "HTTPTemporaryRedirect",
    "HTTPTooManyRequests",
    "HTTPUnauthorized",
    "HTTPUnavailableForLegalReasons",
    "HTTPUnprocessableEntity",
    "HTTPUnsupportedMediaType",
    "HTTPUpgradeRequired",
    "HTTPUseProxy",
    "HTTPVariantAlsoNegotiates",
    "HTTPVersionNotSupported",
    "KeyMethod",
    "MaskDomain",
    "MatchInfoError",
    "MatchedSubAppResource",
    "MultipartError",
    "NamedPipeSite",
    "NotAppKeyWarning",
    "NotMultipartError",
    "PayloadAccessError",
    "PlainResource",
    "PrefixResource",
    "PrefixedSubAppResource",
    "ProxyHeader",
    "Request",
    "RequestKey",
    "RequestPayloadError",
    "Resource",
    "ResourceRoute",
    "ResourcesView",
    "Response",
    "ResponseKey",
    "RouteDef",
    "RouteOptions",
    "RouteTableDef",
    "RoutesView",
    "RunnerOptions",
    "Server",
    "ServerConfig",
    "ServerOptions",
    "ServerRunner",
    "Service",
    "ServiceState",
    "ShutdownReport",
    "Signal",
    "SockSite",
    "StaticDef",
    "StaticOptions",
    "StaticResource",
    "StepRecord",
    "StreamReader",
    "StreamResponse",
    "SystemRoute",
    "TCPSite",
    "UnixSite",
    "UnknownEncodingError",
    "UrlDispatcher",
    "UrlMappingMatchInfo",
    "View",
    "WSMsgType",
    "WebSocketReady",
    "WebSocketResponse",
    "cors_middleware",
    "csrf_middleware",
    "delete",
    "get",
    "head",
    "json_bytes_response",
    "json_response",
    "middleware",
    "normalize_path_middleware",
    "options",
    "patch",
    "post",
    "put",
    "readiness",
    "route",
    "run_app",
    "run_native",
    "serve",
    "sse_response",
    "static",
    "trusted_proxies",
    "view",
]
