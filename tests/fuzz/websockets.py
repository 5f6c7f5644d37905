"""What a WebSocket wire says to a stream of bytes, with the lane and without, in one piece and in many."""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from wsproto.connection import CLIENT, SERVER, Connection
from wsproto.events import BytesMessage, Ping, TextMessage
from wsproto.events import Event as WsprotoEvent

from structweb._wire.websocket import (
    Binary,
    ClosedError,
    Event,
    More,
    Text,
    WebSocketError,
    WebSocketLimits,
    WebSocketWire,
)
from structweb._wire.websocket_deflate import DeflateParameters
from structweb._wire.websocket_lane import Lane
from tests.fuzz.frames import KEYS, LARGE_SIZES, PING, SIZES, FrameStream, cut, frame
from tests.fuzz.transcript import Said, split

TINY = WebSocketLimits(message=200, frame=150, fragments=4)
ROOMY = WebSocketLimits()


class Setting(NamedTuple):
    """How a wire is made, and what happens to it."""

    client: bool
    decode_text: bool
    limits: WebSocketLimits
    deflate: DeflateParameters | None
    #: Whether it sends its close frame first.
    closing: bool
    eof: bool


def setting(rng: Random) -> Setting:
    """Return a random setting."""
    deflate = DeflateParameters(
        client_no_context_takeover=rng.random() < 0.3, server_no_context_takeover=rng.random() < 0.3
    )
    return Setting(
        client=rng.random() < 0.3,
        decode_text=rng.random() < 0.8,
        limits=_limits(rng),
        deflate=deflate if rng.random() < 0.4 else None,
        closing=rng.random() < 0.1,
        eof=rng.random() < 0.5,
    )


def _limits(rng: Random) -> WebSocketLimits:
    chance = rng.random()
    if chance < 0.15:
        return TINY
    if chance < 0.7:
        return ROOMY
    sizes = [*SIZES[1:], *LARGE_SIZES, None]
    return WebSocketLimits(
        message=rng.choice(sizes), frame=rng.choice((None, *sizes)), fragments=rng.choice((1, 2, 3, 9, None))
    )


def stream(seed: int) -> tuple[Setting, bytes]:
    """Return the setting and the bytes of a seed."""
    rng = Random(seed)
    chosen = setting(rng)
    deflate, limits = chosen.deflate, chosen.limits
    peer_forgets = deflate is not None and (
        deflate.server_no_context_takeover if chosen.client else deflate.client_no_context_takeover
    )
    sizes = [
        limit + more for limit in (limits.message, limits.frame) if limit and limit < 1 << 17 for more in (-1, 0, 1)
    ]
    frames = FrameStream(
        rng,
        client=chosen.client,
        deflate=deflate is not None,
        forgets=peer_forgets and rng.random() < 0.9,
        sizes=sizes,
    )
    return chosen, frames.read()


def transcript(
    pieces: Iterable[bytes], chosen: Setting, *, express: bool, whole: bool = False, late: Random | None = None
) -> list[Said]:
    """Feed `pieces` one by one, read all there is after each of them, and return what came out.

    `whole`: as a server does it, which asks of each piece whether it is a message, and believes that it is `drained`.
    `late`: only so much is read after each piece as this says, as when a handler is busy.
    """
    wire = WebSocketWire(
        client=chosen.client,
        limits=chosen.limits,
        deflate=chosen.deflate,
        express=express,
        decode_text=chosen.decode_text,
    )
    said: list[Said] = []
    if chosen.closing:
        wire.close(1001)
    try:
        for piece in pieces:
            message = wire.feed_whole(piece) if whole and piece else wire.feed(piece)
            if message is not None:
                said.append(_say(message))
            _read(wire, said, whole=whole, most=None if late is None else late.choice((0, 0, 1, 2)))
        if chosen.eof:
            wire.feed_eof()
        _read(wire, said, whole=whole)
    except WebSocketError as error:
        said.append(("error", *_blame(error, chosen)))
    except Exception as exc:  # noqa: BLE001  # whatever it is, it must not come out of a wire
        said.append(("bug", repr(exc)))
    said.append(("state", wire.state))
    if not chosen.client:  # a client's frames have random keys
        try:
            said.append(("answer", wire.text("x", compress=False)))
        except ClosedError as error:
            said.append(("closed", str(error)))
    return said


def _blame(error: WebSocketError, chosen: Setting) -> tuple[int, str]:
    """Return what of an error cannot depend on the pieces.

    A wrong byte of a text has its place in its piece; and if a compressed message is wrong and too long as well, a large
    piece shows the latter first.
    """
    if chosen.deflate is not None and error.code == 1009:
        return 1007, ""
    return error.code, error.reason if error.code != 1007 else ""


def read(wire: WebSocketWire, data: bytes, step: int | None = None) -> list[Event]:
    """Feed `data` in pieces of `step` bytes, read all there is after each of them, and return it."""
    events: list[Event] = []
    for at in range(0, len(data), step or len(data)):
        wire.feed(data[at : at + (step or len(data))])
        while (event := wire.next_event()) is not None:
            if not isinstance(event, More):
                events.append(event)
    return events


def _read(wire: WebSocketWire, said: list[Said], *, whole: bool, most: int | None = None) -> None:
    while most != 0 and not (whole and wire.drained) and (event := wire.next_event()) is not None:
        if not isinstance(event, More):
            said.append(_say(event))
        most = None if most is None else most - 1


def _say(event: Event) -> Said:
    return (type(event).__name__, *(getattr(event, name) for name in event.__slots__))


def difference(data: bytes, chosen: Setting, seed: int = 0) -> str | None:
    """Return how the ways to read `data` differ, or None when they agree, as they must.

    In one piece and in random pieces, with the lane and without; and what the lane takes first, wsproto alone reads, too.
    """
    rng = Random(seed)
    pieces, edged = split(rng, data), cut(rng, data)
    expected = transcript([data], chosen, express=False)
    if bugs := [words for words in expected if words[0] == "bug"]:
        return f"wsproto, whole: {bugs}"
    for name, given, express, whole, late in (
        ("lane", [data], True, False, False),
        ("lane, split", pieces, True, False, False),
        ("lane, split, as a server reads", pieces, True, True, False),
        ("lane, cut at edges", edged, True, False, False),
        ("lane, cut at edges, as a server reads", edged, True, True, False),
        ("lane, cut at edges, as a busy server reads", edged, True, True, True),
        ("wsproto, split", pieces, False, False, False),
        ("wsproto, cut at edges, as a busy server reads", edged, False, True, True),
    ):
        found = transcript(given, chosen, express=express, whole=whole, late=Random(seed) if late else None)
        if found != expected:
            return f"{name}: {found}\nwsproto, whole: {expected}\npieces: {given}\n{chosen}"
    return _wsproto_difference(data, chosen)


def _wsproto_difference(data: bytes, chosen: Setting) -> str | None:
    """Compare the first message of the lane with wsproto alone, without our guard; a ping behind it must be read."""
    lane = Lane(chosen.limits, client=chosen.client, decode_text=True)
    try:
        taken = lane.take(data, 0)
    except Exception as exc:  # noqa: BLE001  # as above
        return f"lane: {exc!r}"
    alone_in_its_piece = lane.only(data)
    if taken is None:
        return None if alone_in_its_piece is None else f"lane: {alone_in_its_piece}, but not at the start of more"
    if alone_in_its_piece not in (None, taken) or (alone_in_its_piece is not None and lane.end != len(data)):
        return f"lane: {taken}, {lane.end} of {len(data)} bytes\nin one: {alone_in_its_piece}"
    connection = Connection(CLIENT if chosen.client else SERVER)
    connection.receive_data(data[: lane.end] + frame(PING, b"?", key=None if chosen.client else KEYS[1]))
    alone = list(connection.events())
    message: WsprotoEvent = TextMessage(taken.data) if isinstance(taken, Text) else BytesMessage(taken.data)
    assert isinstance(taken, Text | Binary)
    return None if alone == [message, Ping(b"?")] else f"lane: {taken}\nwsproto alone: {alone}"


def minimal(data: bytes, chosen: Setting, seed: int) -> bytes:
    """Return a stream as short as can be found that still makes a difference."""
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if difference(shorter, chosen, seed) is not None:
                data = shorter
            else:
                at += size
        size //= 2
    return data
