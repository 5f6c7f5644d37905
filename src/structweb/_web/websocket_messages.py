"""What a WebSocket's messages are: types, codes, and the message itself, by aiohttp's names."""

import json
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple

from structweb._wire.websocket_events import WebSocketError

__all__ = ["WSCloseCode", "WSMessage", "WSMessageTypeError", "WSMsgType", "WebSocketError", "WebSocketReady"]


class WSMsgType(IntEnum):
    """The type of a message: those of RFC 6455, and what else `receive` has to tell."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
    #: This side has begun to close.
    CLOSING = 0x100
    #: There is nothing more to come.
    CLOSED = 0x101
    #: It broke; `data` is the exception.
    ERROR = 0x102

    text = TEXT
    binary = BINARY
    ping = PING
    pong = PONG
    close = CLOSE
    closing = CLOSING
    closed = CLOSED
    error = ERROR


class WSCloseCode(IntEnum):
    """Why a WebSocket was closed (RFC 6455 section 7.4.1, and the registry)."""

    OK = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    #: Never sent: the connection went without a close frame.
    ABNORMAL_CLOSURE = 1006
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


class WSMessage(NamedTuple):
    """A message that was received.

    `data` by `type`: str for TEXT (bytes with ``decode_text=False``), bytes for BINARY, PING and PONG, the close code
    for CLOSE (with the reason in `extra`), an exception for ERROR, else None.
    """

    type: WSMsgType
    data: Any  # Any: depends on the type
    extra: str | None

    def json(self, *, loads: Callable[[Any], Any] = json.loads) -> Any:  # Any: JSON has values of many types
        """Return what `data` is as JSON."""
        return loads(self.data)


class WSMessageTypeError(TypeError):
    """A message of another type came than was asked for."""


class WebSocketReady(NamedTuple):
    """Whether a request is a WebSocket handshake that can be accepted, and the subprotocol it would have."""

    ok: bool
    protocol: str | None

    def __bool__(self) -> bool:
        return self.ok


def unexpected(message: WSMessage, expected: WSMsgType) -> WSMessageTypeError:
    """Return the error for a message of another type than was asked for."""
    return WSMessageTypeError(
        f"expected a message of type {expected!r}, got {message.type!r} with {message.data!r:.100}"
    )


#: Behind one of these comes nothing more.
LAST: Final = frozenset((WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED))


async def unless_last(coming: Awaitable[WSMessage]) -> WSMessage:
    """Return a message that is awaited, unless it says that nothing more comes: then an iteration ends."""
    message = await coming
    if message.type in LAST:
        raise StopAsyncIteration
    return message


def expected(message: WSMessage, expected: WSMsgType) -> Any:  # Any: what the type has for data
    """Return the data of a message, which must be of a type; raise what broke the WebSocket."""
    if message.type is expected:
        return message.data
    if message.type is WSMsgType.ERROR:
        raise message.data
    raise unexpected(message, expected)
