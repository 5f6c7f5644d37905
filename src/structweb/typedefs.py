"""The types that annotations of handlers, middlewares and helpers are written with."""

import json
import os
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from yarl import URL, Query

from structweb._web.headers import LooseHeaders
from structweb._web.middleware import Middleware
from structweb._web.response import JSONBytesEncoder, JSONEncoder
from structweb._web.routes import Handler

__all__ = [
    "DEFAULT_JSON_DECODER",
    "DEFAULT_JSON_ENCODER",
    "Byteish",
    "Handler",
    "JSONBytesEncoder",
    "JSONDecoder",
    "JSONEncoder",
    "LooseHeaders",
    "Middleware",
    "PathLike",
    "Query",
    "RawHeaders",
    "StrOrURL",
]

Byteish: TypeAlias = bytes | bytearray | memoryview
JSONDecoder: TypeAlias = Callable[[str], Any]  # Any: JSON has values of many types
PathLike: TypeAlias = "str | os.PathLike[str]"
RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]
StrOrURL: TypeAlias = str | URL

DEFAULT_JSON_ENCODER: Final[JSONEncoder] = json.dumps
DEFAULT_JSON_DECODER: Final[JSONDecoder] = json.loads
