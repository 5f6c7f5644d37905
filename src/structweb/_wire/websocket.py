"""One WebSocket after its handshake as pure state: bytes go in, whole messages come out; messages in, bytes out."""

from enum import Enum
from typing import Final

from wsproto.connection import CLIENT, SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Event as WsprotoEvent
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from structweb._wire.websocket_assembly import Assembly
from structweb._wire.websocket_deflate import DeflateParameters
from structweb._wire.websocket_events import (
    GONE,
    NO_CODE,
    Binary,
    Close,
    ClosedError,
    Event,
    More,
    Ping,
    Pong,
    Text,
    WebSocketError,
)
from structweb._wire.websocket_guard import Guard
from structweb._wire.websocket_lane import BINARY, COMPRESSED, LONGEST_HEADER, TEXT, Lane, frame_size, plain_frame
from structweb._wire.websocket_limits import WebSocketLimits

__all__ = [
    "Binary",
    "Close",
    "ClosedError",
    "ConnectionState",
    "Event",
    "More",
    "Ping",
    "Pong",
    "Text",
    "WebSocketError",
    "WebSocketLimits",
    "WebSocketWire",
]

#: Codes that a close frame may carry (RFC 6455 section 7.4 and what was registered since), below 3000.
_SENDABLE: Final = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))
_CONTROL: Final = 125
_NAMES: Final[dict[type[WsprotoEvent], str]] = {
    TextMessage: "a text message",
    BytesMessage: "a binary message",
    WsprotoPing: "a ping",
    WsprotoPong: "a pong",
    CloseConnection: "a close frame",
}
# Looking a member up in its enum takes 0.1 us on CPython 3.11, several times a message.
_OPEN: Final = ConnectionState.OPEN
_LIVE: Final = (_OPEN, ConnectionState.LOCAL_CLOSING)

_Bytes = bytes | bytearray | memoryview


# Frames to read without an event, two rounds each in the lane's company.  Measured: the fragments without payload that
# fit in one read hold a loop for 0.6 s, so many of them for 3 ms; a turn for the others costs a thousandth of that.
_ROUNDS: Final = 256


class _Input(Enum):
    """What becomes of the peer's bytes."""

    OPEN = "they are read"
    ENDING = "there will be no more"
    OVER = "they no longer count"


_INPUT_OPEN: Final = _Input.OPEN
_INPUT_OVER: Final = _Input.OVER


class WebSocketWire:
    """One side of a WebSocket.

    Call `feed` with what the peer sends, then `next_event` until it returns None; where it says `More`, others want
    their turn.  After a `Close`, answer with `close(event.code)` unless yours was sent; after a WebSocketError, send
    `close(error.code, error.reason)`; then end the connection.  Pings are yours to answer.  What `text`, `binary`,
    `ping`, `pong`, `close` and `frame` return must be sent in the order of the calls.
    """

    __slots__ = (
        "_assembly",
        "_between",
        "_connection",
        "_data",
        "_guard",
        "_header",
        "_input",
        "_lane",
        "_left",
        "_masked",
        "_start",
        "drained",
        "plain",
    )

    def __init__(
        self,
        *,
        client: bool = False,
        limits: WebSocketLimits,
        deflate: DeflateParameters | None = None,
        express: bool = True,
        decode_text: bool = True,
    ) -> None:
        self._guard = Guard(limits, deflate, client=client, decode_text=decode_text)
        self._connection = Connection(CLIENT if client else SERVER, [self._guard])
        lane = Lane(limits, client=client, decode_text=decode_text, codec=self._guard.codec)
        self._lane = lane if express else None
        self._masked = client
        #: Whether a message, while the WebSocket is open, is sent as the frame that `server_frame` makes of it.
        self.plain: Final = express and deflate is None and not client
        self._input = _Input.OPEN
        # What nobody has taken yet is _data[_start:].  One piece from the peer is kept as it came, without a copy.
        self._data: bytes | bytearray = b""
        self._start = 0
        #: Whether the next frame may be the lane's: no message is in progress, and wsproto holds no byte.
        self._between = express
        #: The frame that wsproto is reading: its bytes still to come; the bytes of its header, while that is incomplete.
        self._left = 0
        self._header = b""
        self._assembly = Assembly(self._guard, decode_text=decode_text)
        #: Whether `next_event` has nothing to say before `feed` or `feed_eof` is called; False may be wrong.
        self.drained: bool = True

    @property
    def state(self) -> ConnectionState:
        """OPEN, LOCAL_CLOSING (our close frame was sent), REMOTE_CLOSING (theirs came), CLOSED (both, or they are gone)."""
        return self._connection.state

    @property
    def buffered(self) -> int:
        """How many bytes were fed and not yet handed out, the parts of an unfinished message among them."""
        return len(self._data) - self._start + (self._guard.size if self._assembly.begun else 0)

    def hungry(self, most: int) -> bool:
        """Tell whether the peer may still be sending, and less than `most` bytes of its wait for `next_event`."""
        return self._input is _INPUT_OPEN and len(self._data) - self._start < most

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer, at any time.  What comes behind its close frame, or behind an error, is dropped."""
        held = self._data
        if self._input is _INPUT_OVER:
            return
        self.drained = False
        if self._start == len(held):
            self._data = data
        elif isinstance(held, bytearray):
            del held[: self._start]
            held += data
        else:
            joined = bytearray(memoryview(held)[self._start :])
            joined += data
            self._data = joined
        self._start = 0

    def feed_whole(self, data: bytes) -> Text | Binary | None:
        """Take what a read gave, b"" for the end; return the message that it is, or None: then ask `next_event`.

        It is `feed` and `next_event` for what comes most: one frame that is a message, in one piece.
        """
        if self.drained and self._between and self._lane is not None:  # so it holds nothing, and is not over
            event = self._lane.only(data)
            if event is not None:
                return event
        if data:
            self.feed(data)
        else:
            self.feed_eof()
        return None

    def feed_eof(self) -> None:
        """Note that the peer ended its side: without its close frame, the last event is ``Close(1006)``."""
        if self._input is _Input.OPEN:
            self._input = _Input.ENDING
            self.drained = False

    def next_event(self) -> Event | More | None:
        """Return the next event, or None: it needs more bytes, or there is nothing more to come.

        `More` is no event of the peer's: it may come behind many frames that together are no message yet.

        Raises WebSocketError, once: nothing comes behind it.
        """
        lane = self._lane
        if lane is not None and self._between:
            data, start = self._data, self._start
            if start < len(data):
                event = lane.take(data, start)
                if event is not None:
                    self._start = end = lane.end
                    if end == len(data):
                        self._data, self._start, self.drained = b"", 0, self._input is _INPUT_OPEN
                    return event
            elif self._input is _INPUT_OPEN:
                # A silent WebSocket must not keep the last piece that it sent, which may be a large one.
                self._data, self._start, self.drained = b"", 0, True
                return None
        return self._ask_wsproto()

    def _ask_wsproto(self) -> Event | More | None:
        lane = self._lane
        for _ in range(_ROUNDS):
            if self._input is _Input.OVER:
                return None
            spoken = next(self._connection.events(), None)
            if spoken is not None:
                event = self._translate(spoken)
                if event is not None:
                    return event
            elif self._start == len(self._data):
                self._data, self._start = b"", 0
                break
            elif lane is not None and self._between and lane.waits(self._data, self._start):
                break
            else:
                self._advance()
        else:
            return More()
        if self._input is _Input.ENDING:
            self._end()
            self._connection.receive_data(None)
            return Close(GONE)
        return None

    def _advance(self) -> None:
        """Give wsproto the next bytes; with a lane, no further than to the end of their frame."""
        data, start = self._data, self._start
        end = len(data)
        if self._lane is not None:
            self._between = False
            if not self._left:
                header = self._header + data[start : start + LONGEST_HEADER]
                size = frame_size(header)
                if size is None:
                    self._header = bytes(header)
                else:
                    self._left = size - len(self._header)
                    self._header = b""
            if self._left:
                end = min(start + self._left, end)
                self._left -= end - start
        self._start = end
        self._connection.receive_data(bytes(data[start:end]))

    def _translate(self, spoken: WsprotoEvent) -> Event | None:
        event: Event | None
        match spoken:
            case TextMessage():
                event = self._assembly.add_text(spoken)
            case BytesMessage():
                event = self._assembly.add_bytes(spoken)
            case WsprotoPing(payload):
                event = Ping(payload)
            case WsprotoPong(payload):
                event = Pong(payload)
            case CloseConnection(code, reason):
                self._end()
                if self._connection.state in _LIVE:  # not the peer's words, but wsproto's about the peer
                    raise WebSocketError(int(code), self._guard.words or reason or "protocol error")
                event = Close(1014 if self._guard.bad_gateway else int(code), reason or "")
            case _:  # pragma: no cover  # after a handshake, wsproto has no others
                raise AssertionError(f"unexpected event of wsproto: {spoken!r}")
        self._between = self._lane is not None and not self._left and not self._assembly.begun
        return event

    def _end(self) -> None:
        self._input = _Input.OVER
        self._between = False
        self._data = b""
        self._start = 0
        self._assembly.begun = False

    def text(self, data: str | _Bytes, *, compress: bool | int | None = None) -> bytes:
        """Return the frame of a text message.  Bytes must be UTF-8: ValueError.

        `compress`: False or 0 sends it as it is, 9 to 15 compresses it for itself in a window of so many bits.
        Without permessage-deflate nothing is compressed.  Raises ClosedError once a close frame was sent or received.
        """
        if isinstance(data, str):
            payload = data.encode()
        else:
            payload = _as_bytes(data)
            payload.decode()
        if compress is not None:
            _check_window(compress)
        if self._lane is not None:
            return self._lane_frame(TextMessage, TEXT, payload, compress)
        return self._send_message(TextMessage(payload.decode()), compress)

    def binary(self, data: _Bytes, *, compress: bool | int | None = None) -> bytes:
        """Return the frame of a binary message; as for `text`."""
        payload = data if isinstance(data, bytes) else _as_bytes(data)
        if compress is not None:
            _check_window(compress)
        if self._lane is not None:
            return self._lane_frame(BytesMessage, BINARY, payload, compress)
        return self._send_message(BytesMessage(payload), compress)

    def ping(self, data: str | _Bytes = b"") -> bytes:
        """Return a ping.  Raises ValueError for more than 125 bytes."""
        return self._send(WsprotoPing(_control(data)))

    def pong(self, data: str | _Bytes = b"") -> bytes:
        """Return a pong.  Raises ValueError for more than 125 bytes."""
        return self._send(WsprotoPong(_control(data)))

    def close(self, code: int = 1000, reason: str | _Bytes = "") -> bytes:
        """Return our close frame; 1005 makes one without code and reason.

        A reason is cut to the 123 bytes it may have.  Raises ValueError for a code that no close frame may carry,
        ClosedError if ours was sent already, or the peer is gone.
        """
        if code == NO_CODE:
            return self._send(CloseConnection(CloseReason.NO_STATUS_RCVD))
        if code not in _SENDABLE and not 3000 <= code <= 4999:
            raise ValueError(f"close code must be one that RFC 6455 lets a frame carry, got {code!r}")
        return self._send(CloseConnection(code, reason if isinstance(reason, str) else _as_bytes(reason).decode()))

    def frame(self, data: str | _Bytes, opcode: int, *, compress: bool | int | None = None) -> bytes:
        """Return a frame by its opcode: 1 text, 2 binary, 8 close (code and reason as bytes), 9 ping, 10 pong."""
        payload = data.encode() if isinstance(data, str) else _as_bytes(data)
        match opcode:
            case 1:
                return self.text(payload, compress=compress)
            case 2:
                return self.binary(payload, compress=compress)
            case 8:
                return self.close(int.from_bytes(payload[:2], "big"), payload[2:]) if payload else self.close(NO_CODE)
            case 9:
                return self.ping(payload)
            case 10:
                return self.pong(payload)
        raise ValueError(f"opcode must be 1, 2, 8, 9 or 10: a message is one frame here, got {opcode!r}")

    def _lane_frame(self, kind: type[WsprotoEvent], first: int, payload: bytes, compress: bool | int | None) -> bytes:
        if self._connection.state is not _OPEN:
            raise self._closed(kind)
        codec = self._guard.codec
        if codec is not None and compress != 0:
            deflated = codec.deflate(payload, True if compress is None else compress)
            if deflated is not None:
                return plain_frame(first | COMPRESSED, deflated, masked=self._masked)
        return plain_frame(first, payload, masked=self._masked)

    def _send_message(self, message: TextMessage | BytesMessage, compress: bool | int | None) -> bytes:
        self._guard.compress = True if compress in (None, True) else compress
        return self._send(message)

    def _send(self, event: WsprotoEvent) -> bytes:
        try:
            return self._connection.send(event)
        except LocalProtocolError as exc:
            raise self._closed(type(event)) from exc

    def _closed(self, kind: type[WsprotoEvent]) -> ClosedError:
        return ClosedError(f"cannot send {_NAMES[kind]}: the WebSocket is {self._connection.state.name}")


def _as_bytes(data: _Bytes) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"data must be bytes-like, got {type(data).__name__}")


def _check_window(compress: bool | int) -> None:
    if compress is not True and compress != 0 and not 9 <= compress <= 15:
        raise ValueError(f"compress must be a bool, None, or the bits of a window, 9 to 15, got {compress!r}")


def _control(data: str | _Bytes) -> bytes:
    payload = data.encode() if isinstance(data, str) else _as_bytes(data)
    if len(payload) > _CONTROL:
        raise ValueError(f"a control frame holds at most {_CONTROL} bytes, got {len(payload)}")
    return payload
