"""A web server with aiohttp.web's API on structured concurrency, for asyncio and trio.

``from structweb import web`` is what applications begin with.
"""

# Nothing here may load an event loop: the wire's tests run where none is installed.
from structweb._server.departures import ClientConnectionResetError
from structweb._server.version import __version__
from structweb._web.content import IncompleteReadError, LineTooLong, StreamReader
from structweb._web.keys import ChainMapProxy
from structweb._wire.conditional import ETag
from structweb._wire.events import HttpVersion, HttpVersion10, HttpVersion11

__all__ = [
    "ChainMapProxy",
    "ClientConnectionResetError",
    "ETag",
    "HttpVersion",
    "HttpVersion10",
    "HttpVersion11",
    "IncompleteReadError",
    "LineTooLong",
    "StreamReader",
    "__version__",
]
