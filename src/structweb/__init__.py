"""A web server with aiohttp.web's API on structured concurrency, for asyncio and trio.

``from structweb import web`` is what applications begin with.
"""

# Nothing here may load an event loop: the wire's tests run where none is installed.
from typing import TYPE_CHECKING

from structweb import hdrs
from structweb._server.access_log import AbstractAccessLogger
from structweb._server.departures import ClientConnectionResetError
from structweb._server.version import __version__
from structweb._web.content import EMPTY_PAYLOAD, IncompleteReadError, LineTooLong, StreamReader
from structweb._web.file_payload import (
    BufferedReaderPayload,
    BytesIOPayload,
    IOBasePayload,
    StringIOPayload,
    TextIOPayload,
)
from structweb._web.formdata import FormData
from structweb._web.keys import ChainMapProxy
from structweb._web.multipart import MultipartReader
from structweb._web.multipart_writer import BodyPartReaderPayload, MultipartPayloadWriter, MultipartWriter
from structweb._web.part import BodyPartReader
from structweb._web.payload import (
    PAYLOAD_REGISTRY,
    AsyncIterablePayload,
    BytesPayload,
    JsonBytesPayload,
    JsonPayload,
    Order,
    Payload,
    StringPayload,
    get_payload,
    payload_type,
    register_payload,
)
from structweb._web.view import AbstractView
from structweb._web.websocket_messages import WebSocketError, WSCloseCode, WSMessage, WSMessageTypeError, WSMsgType
from structweb._wire.conditional import ETag
from structweb._wire.disposition import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    content_disposition_filename,
    parse_content_disposition,
)
from structweb._wire.events import HttpVersion, HttpVersion10, HttpVersion11

if not TYPE_CHECKING:  # a checker would take any name for one of the module's
    from structweb._web.absent import of_structweb as __getattr__  # noqa: F401 - Python calls it

__all__ = [
    "EMPTY_PAYLOAD",
    "PAYLOAD_REGISTRY",
    "AbstractAccessLogger",
    "AbstractView",
    "AsyncIterablePayload",
    "BadContentDispositionHeader",
    "BadContentDispositionParam",
    "BodyPartReader",
    "BodyPartReaderPayload",
    "BufferedReaderPayload",
    "BytesIOPayload",
    "BytesPayload",
    "ChainMapProxy",
    "ClientConnectionResetError",
    "ETag",
    "FormData",
    "HttpVersion",
    "HttpVersion10",
    "HttpVersion11",
    "IOBasePayload",
    "IncompleteReadError",
    "JsonBytesPayload",
    "JsonPayload",
    "LineTooLong",
    "MultipartPayloadWriter",
    "MultipartReader",
    "MultipartWriter",
    "Order",
    "Payload",
    "StreamReader",
    "StringIOPayload",
    "StringPayload",
    "TextIOPayload",
    "WSCloseCode",
    "WSMessage",
    "WSMessageTypeError",
    "WSMsgType",
    "WebSocketError",
    "__version__",
    "content_disposition_filename",
    "get_payload",
    "hdrs",
    "parse_content_disposition",
    "payload_type",
    "register_payload",
]
