"""Cross-origin resource sharing (the Fetch standard, section 3.2): which pages of other origins may read what is answered."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from multidict import istr

from structweb._web.errors import HTTPForbidden
from structweb._web.headers import VARY, vary_on
from structweb._web.middleware import Middleware
from structweb._web.origins import ORIGIN, OriginList, Origins
from structweb._web.response import Response
from structweb._web.routes import Handler
from structweb._web.streaming import StreamResponse

if TYPE_CHECKING:
    from structweb._web.request import Request

_ALLOW_CREDENTIALS: Final = istr("Access-Control-Allow-Credentials")
_ALLOW_HEADERS: Final = istr("Access-Control-Allow-Headers")
_ALLOW_METHODS: Final = istr("Access-Control-Allow-Methods")
_ALLOW_ORIGIN: Final = istr("Access-Control-Allow-Origin")
_EXPOSE_HEADERS: Final = istr("Access-Control-Expose-Headers")
_MAX_AGE: Final = istr("Access-Control-Max-Age")
_REQUEST_METHOD: Final = istr("Access-Control-Request-Method")

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Cors:
    """The middleware that `cors_middleware` makes; a class, so that preflights find those of routes."""

    __middleware_version__: ClassVar[int] = 1

    def __init__(
        self, origins: OriginList | None, shared: dict[istr, str], preflight: dict[istr, str], *, credentials: bool
    ) -> None:
        self._origins = origins
        self._shared = shared
        self._preflight = preflight
        self._credentials = credentials

    async def __call__(self, request: "Request", handler: Handler) -> StreamResponse:
        """Answer a preflight; have every other response say who may read it."""
        if is_preflight(request):
            return (await innermost(request) or self).answer(request)
        origin = request.headers.get(ORIGIN)
        request._finish_with(lambda response: self._share(response, origin))
        return await handler(request)

    def answer(self, request: "Request") -> StreamResponse:
        """Return the answer to a preflight.  Raises HTTPForbidden if its origin is not allowed."""
        origin = request.headers[ORIGIN]
        if not self._allows(origin):
            raise HTTPForbidden(text=f"CORS: the origin {origin[:100]!r} is not allowed", headers={VARY: "Origin"})
        response = Response(status=204, headers=self._preflight)
        self._allow(response, origin)
        return response

    def _allows(self, origin: str) -> bool:
        return self._origins is None or origin in self._origins

    def _allow(self, response: StreamResponse, origin: str) -> None:
        headers = response.headers
        headers[_ALLOW_ORIGIN] = "*" if self._origins is None else origin
        if self._credentials:
            headers[_ALLOW_CREDENTIALS] = "true"
        if self._origins is not None:
            vary_on(response.headers, "Origin")

    def _share(self, response: StreamResponse, origin: str | None) -> None:
        if self._origins is not None:
            # Also where nothing else is added: caches must not answer others with that.
            vary_on(response.headers, "Origin")
        # For everybody there is no Vary, so all must have it: a cache may answer any page with any of them.
        allowed = self._origins is None or (origin is not None and origin in self._origins)
        if allowed and _ALLOW_ORIGIN not in response.headers:
            self._allow(response, origin or "*")
            response.headers.extend(self._shared)


def is_preflight(request: "Request") -> bool:
    """Tell whether a browser asks what it may send to the path, on behalf of a page of another origin."""
    asked = request.headers
    # Browsers send no body with it; a request whose body was read could not be resolved again.
    return request.method == "OPTIONS" and _REQUEST_METHOD in asked and ORIGIN in asked and not request.body_exists


async def innermost(request: "Request") -> Cors | None:
    """Return the innermost `Cors` around the request that a preflight announces; None if there is none."""
    root = request.match_info.apps[0]
    found = await root.router.resolve(request.clone(method=request.headers[_REQUEST_METHOD]))
    around = [*root.middlewares, *(each for app in found.apps for each in app.middlewares), *found.route.middlewares]
    return next((each for each in reversed(around) if isinstance(each, Cors)), None)


def cors_middleware(
    origins: Origins,
    *,
    methods: Iterable[str] = ("GET", "HEAD", "POST"),
    headers: Iterable[str] = (),
    expose: Iterable[str] = (),
    credentials: bool = False,
    max_age: int | None = None,
) -> Middleware:
    """Make a middleware that allows pages of other origins to read what is answered, as the Fetch standard has it.

    `origins` lists them: strings just as browsers send them (``"https://example.org"``), compiled patterns that match
    all of one; or it is ``"*"``, everybody.  `methods` and request `headers` are what pages may send beyond the simplest
    requests, `expose` the response headers that they may read beyond the plainest; each a list, or ``"*"`` for all (of
    request headers, all but Authorization).  With `credentials` they may send cookies; that excludes every ``"*"``.
    `max_age` is for how many seconds browsers may remember this; None leaves it to them (5 seconds).

    It fits an application, a sub-application and a route; of several, the innermost counts.  It answers preflights
    (OPTIONS with Access-Control-Request-Method) itself, whether or not there is a route for OPTIONS: 204, or 403 for
    other origins.  What else is answered has the fields, errors too, and ``Vary: Origin``; unless for everybody: then
    requests without an Origin are told, too, since caches may answer others with it.  An
    Access-Control-Allow-Origin of a handler's own stays.  Put it before what refuses requests without credentials:
    preflights have none.

    Other origins' requests are handled, unless they need a preflight: see `csrf_middleware`.  Raises ValueError for what
    is no origin, method or header name, for ``"*"`` together with `credentials`, and for a `max_age` that is no whole
    number from 0 on; TypeError for a string in place of a list.
    """
    lists = {
        "methods": [method.upper() for method in _tokens("methods", methods)],
        "headers": _tokens("headers", headers),
        "expose": _tokens("expose", expose),
    }
    everybody = isinstance(origins, str) and origins == "*"
    wild = ["origins"] * everybody + [name for name, names in lists.items() if "*" in names]
    if credentials and wild:
        raise ValueError(f"credentials exclude '*', got it for {', '.join(wild)}: list what is allowed")
    if max_age is not None and (type(max_age) is not int or max_age < 0):
        raise ValueError(f"max_age must be a whole number of seconds from 0 on, or None, got {max_age!r}")
    preflight = {_ALLOW_METHODS: ", ".join(lists["methods"]), _ALLOW_HEADERS: ", ".join(lists["headers"])}
    if max_age is not None:
        preflight[_MAX_AGE] = str(max_age)
    return Cors(
        None if everybody else OriginList(origins, "origins"),
        {_EXPOSE_HEADERS: ", ".join(lists["expose"])} if lists["expose"] else {},
        {name: value for name, value in preflight.items() if value},
        credentials=credentials,
    )


def _tokens(what: str, names: Iterable[str] | Literal["*"]) -> list[str]:
    if isinstance(names, str) and names != "*":
        raise TypeError(f"{what} must be a list of names or '*', got {names!r}")
    tokens = list(names)
    for name in tokens:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{what} must be names of letters, digits and !#$%&'*+-.^_`|~, got {name!r}")
    return tokens
