"""What a client has received, taken apart: complete responses, and perhaps the beginning of one more.

h11 reads it as a client would.  It tells whether a connection was used as HTTP has it: each response complete before
the next one begins, and nothing but the end behind one that was cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import h11

#: The request that asks whether a connection can still be used.
PROBE: Final = "/.structweb-still-usable"
#: Its answer, which no application gives.
USABLE: Final = b"structweb: this connection is usable"
# A response may be 101, which h11 takes only where it was asked for.
_FIELDS: Final = [("Host", "test"), ("Connection", "upgrade"), ("Upgrade", "websocket")]


class HalfResponseError(AssertionError):
    """The client cannot tell where a response ends: it was cut, and something follows; or what follows is no response."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One response as its client has read it."""

    #: 0 if not so much as the head has come.
    status: int
    body: bytes
    complete: bool
    #: Bytes that it took.
    size: int


def probe() -> bytes:
    """Return the bytes of the request that asks."""
    return f"GET {PROBE} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()


def read_response(method: str, data: bytes) -> Reading:
    """Read the first response in `data`, to a request with `method`; behind `data` the connection has ended.

    Raises HalfResponseError for bytes that are no response.
    """
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(data) + 1)
    client.send(h11.Request(method=method, target="*" if method == "OPTIONS" else "/", headers=_FIELDS))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    status, body, ended = 0, bytearray(), False
    while True:
        try:
            event = client.next_event()
            if event is h11.NEED_DATA and not ended:
                ended = True
                client.receive_data(b"")
                continue
        except h11.RemoteProtocolError as exc:
            if ended:  # the end of the connection, where more was promised
                return Reading(status, bytes(body), complete=False, size=len(data))
            raise HalfResponseError(f"these bytes are no response to {method}: {data[:200]!r} ({exc})") from exc
        match event:
            case h11.Response():
                status = event.status_code
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                return Reading(status, bytes(body), complete=True, size=len(data) - len(client.trailing_data[0]))
            case h11.InformationalResponse(status_code=101):
                return Reading(101, b"", complete=True, size=len(data))  # another protocol has the rest
            case h11.PAUSED | h11.NEED_DATA | h11.ConnectionClosed():
                return Reading(status, bytes(body), complete=False, size=len(data))


def check_conversation(methods: Sequence[str], received: bytes, *, probed: bool) -> int:
    """Return where the answer to the probe begins in what a client has `received`, its length if there is none.

    `methods` are those of the requests that were handled, in order; with `probed`, the last of them is the probe.
    Raises HalfResponseError when a response is cut and something follows it, or when bytes follow the last one.
    """
    start, cut = 0, False
    for number, method in enumerate(methods, 1):
        if start == len(received):
            break  # the connection ended before this one
        reading = read_response(method, received[start:])
        last = probed and number == len(methods)
        if last and not (reading.complete and reading.status == 200 and reading.body == USABLE):
            raise HalfResponseError(f"the next request on the connection was answered {received[start:][:200]!r}")
        if last:
            return start
        if USABLE in reading.body:
            raise HalfResponseError(
                f"a response was cut, and the next one became a part of it: {reading.body[-200:]!r}"
            )
        start += reading.size
        cut = not reading.complete
    if start < len(received):
        raise HalfResponseError(f"nobody asked for {received[start:][:200]!r}")
    if probed and cut:
        raise HalfResponseError("a response was cut, and its connection used again")
    return start
