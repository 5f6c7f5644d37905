"""Names that programs import from aiohttp and that are not here: what to use instead.

For `__getattr__` of the packages.  A name of the tables is an AttributeError, as any other, so ``hasattr`` can tell; but
of an AttributeError, ``from structweb import ClientSession`` would keep the name and drop the hint.  It asks through
importlib first, which gets an ImportError.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Final, Never

_CLIENT: Final = (
    "structweb has no HTTP client: that of aiohttp works beside it on asyncio, httpx on asyncio and trio; "
    "structweb.testing has one for tests, and its errors"
)
_WORKER: Final = (
    "one process for each core, behind a proxy or with structweb serve --reuse-port; see docs/how-to/deploy.md"
)
_AUTH: Final = "base64 reads and writes what stands behind 'Basic ' in Authorization; aiohttp deprecated the class"
_MSG_TYPE: Final = "WSMsgType has its members, in capital letters"
_QUEUE: Final = "there are no queues of bytes here: request.content has readers and iterators, anyio has memory streams"

# Those that begin with Client and Trace are the client's, too.
_OF_THE_CLIENT: Final = (
    "AddrInfoType",
    "AsyncResolver",
    "BaseConnector",
    "ConnectionTimeoutError",
    "ContentTypeError",
    "CookieJar",
    "DefaultResolver",
    "DigestAuthMiddleware",
    "DummyCookieJar",
    "Fingerprint",
    "InvalidURL",
    "InvalidUrlClientError",
    "InvalidUrlRedirectClientError",
    "NamedPipeConnector",
    "NonHttpUrlClientError",
    "NonHttpUrlRedirectClientError",
    "RedirectClientError",
    "RequestInfo",
    "ServerConnectionError",
    "ServerDisconnectedError",
    "ServerFingerprintMismatch",
    "ServerTimeoutError",
    "SocketFactoryType",
    "SocketTimeoutError",
    "TCPConnector",
    "ThreadedResolver",
    "TooManyRedirects",
    "UnixConnector",
    "UploadAbortedError",
    "UploadTracker",
    "WSServerHandshakeError",
    "client",
    "client_exceptions",
    "connector",
    "cookiejar",
    "request",
    "resolver",
    "tracing",
)
_TOP: Final[Mapping[str, str]] = {
    **dict.fromkeys(_OF_THE_CLIENT, _CLIENT),
    "BasicAuth": _AUTH,
    "encode_basic_auth": _AUTH,
    "DataQueue": _QUEUE,
    "FlowControlDataQueue": _QUEUE,
    "EofStream": "reading returns b'' at the end of a body",
    "streamer": "web.Response(body=...) takes an async generator",
    "GunicornWebWorker": _WORKER,
    "GunicornUVLoopWebWorker": _WORKER,
    "MsgType": _MSG_TYPE,
    "abc": "structweb has AbstractView and AbstractAccessLogger, structweb.web AbstractRouter and AbstractMatchInfo",
    "log": 'logging.getLogger("structweb.access"), "structweb.server", "structweb.web"',
    "set_zlib_backend": "bodies are compressed by the zlib of Python, and by what the extras brotli and zstd install",
    "pytest_plugin": "structweb.testing.plugin has the fixtures",
    "test_utils": "structweb.testing has its names",
    **dict.fromkeys(("formdata", "http", "multipart", "payload", "streams"), "structweb itself has its names"),
}
_WEB: Final[Mapping[str, str]] = {
    "MsgType": _MSG_TYPE,
    "RequestHandler": "request.transport, request.get_extra_info() and the settings of the server have what it had",
}


def _lookup(module: str, hint_of: Callable[[str], str | None]) -> Callable[[str], Never]:
    def get(name: str) -> Never:
        hint = hint_of(name)
        if hint is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        text = f"{module} has no {name}: {hint}"
        # _handle_fromlist of importlib, which stands behind `from package import name`, passes other errors on.
        if sys._getframe(1).f_globals.get("__name__") == "importlib._bootstrap":
            raise ImportError(text, name=module)
        raise AttributeError(text, name=name)

    return get


def _of_the_top(name: str) -> str | None:
    if name.startswith("web_"):
        return "structweb.web has the names of aiohttp's modules web_..."
    if name.startswith(("Client", "Trace")):
        return _CLIENT
    return _TOP.get(name)


of_structweb: Final = _lookup("structweb", _of_the_top)
of_web: Final = _lookup("structweb.web", _WEB.get)
