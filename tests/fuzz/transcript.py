"""What the wire says to a stream of bytes, as plain values that can be compared."""

from collections.abc import Iterable
from random import Random

import h11

from structweb._wire.events import Head, Refusal
from structweb._wire.express import Express
from structweb._wire.http1 import Http1
from structweb._wire.limits import Limits

Said = tuple[object, ...]

TINY = Limits(request_line=40, field=64, fields=6)
ROOMY = Limits()


def describe(head: Head) -> Said:
    """Return everything a head tells."""
    block = head.block
    return (
        "head",
        head.method,
        head.target,
        tuple(head.version),
        head.keep_alive,
        block.raw,
        block.content_length,
        block.chunked,
        block.keep_alive,
        block.host,
        block.expect,
        block.upgrade,
    )


def transcript(
    pieces: Iterable[bytes], limits: Limits, *, express: bool, eof: bool = False, accept_upgrades: bool = False
) -> list[Said]:
    """Feed `pieces` one by one, read all there is after each of them, and return what came out."""
    wire = Http1(limits, express=express)
    said: list[Said] = []
    reader = _Reader(wire, said, accept_upgrades=accept_upgrades)
    try:
        for piece in pieces:
            wire.feed(piece)
            reader.read()
        if eof:
            wire.feed_eof()
            reader.read()
    except Refusal as refusal:
        said.append(("refusal", refusal.status, refusal.message))
    except Exception as exc:  # noqa: BLE001  # whatever it is, it must not come out of a wire
        said.append(("bug", repr(exc)))
    else:
        if reader.upgraded:
            said.append(("handed over", wire.hand_over()))
    said.append(("left", wire.buffered, wire.head_started, wire.body_done))
    return said


class _Reader:
    """A server that reads every request and its body, then the next."""

    def __init__(self, wire: Http1, said: list[Said], *, accept_upgrades: bool) -> None:
        self.wire = wire
        self.said = said
        self.accept_upgrades = accept_upgrades
        self.head: Head | None = None
        self.body = b""
        self.open = True
        self.upgraded = False

    def read(self) -> None:
        wire = self.wire
        while self.open:
            if self.head is None:
                self.head = wire.next_head()
                if self.head is None:
                    return
                self.said.append(describe(self.head))
            try:
                while data := wire.next_data():
                    self.body += data
            except Refusal:
                self.said.append(("partial", self.body))
                raise
            if data is None:
                return
            self.said.append(("end", self.body, wire.trailers))
            self.body = b""
            if not self.head.keep_alive:
                self.open = False
            elif self.accept_upgrades and self.head.block.upgrade is not None:
                self.open = False
                self.upgraded = True
            else:
                self.head = None
                wire.next_cycle()


def split(rng: Random, data: bytes) -> list[bytes]:
    """Return `data` in random pieces."""
    if len(data) < 400 and rng.random() < 0.2:
        return [data[index : index + 1] for index in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 2, 5))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def difference(data: bytes, seed: int = 0) -> str | None:
    """Return how the ways to read `data` differ, or None when they agree, as they must.

    In one piece and in random pieces, with the lane and without; and if the lane takes the first head, h11 alone must
    read the same one.
    """
    rng = Random(seed)
    limits = TINY if rng.random() < 0.2 else ROOMY
    eof, accept = rng.random() < 0.5, rng.random() < 0.5
    pieces = split(rng, data)
    expected = transcript([data], limits, express=False, eof=eof, accept_upgrades=accept)
    if bugs := [words for words in expected if words[0] == "bug"]:
        return f"h11, whole: {bugs}"
    for name, given, express in (("lane", [data], True), ("lane, split", pieces, True), ("h11, split", pieces, False)):
        found = transcript(given, limits, express=express, eof=eof, accept_upgrades=accept)
        if found != expected:
            return f"{name}: {found}\nh11, whole: {expected}\npieces: {given}\n{limits}, {eof=}, {accept=}"
    return _h11_difference(data, limits)


def _h11_difference(data: bytes, limits: Limits) -> str | None:
    lane = Express(limits)
    try:
        head = lane.take(data, 0)
    except Exception as exc:  # noqa: BLE001  # as above
        return f"lane: {exc!r}"
    if head is None:
        return None
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        return f"lane: {head}, h11: {exc}"
    if not isinstance(event, h11.Request):
        return f"lane: {head}, h11: {event}"
    said = (head.method.encode(), head.target.encode(), [tuple(field) for field in head.block.raw], data[lane.end :])
    read = (event.method, event.target, event.headers.raw_items(), connection.trailing_data[0])
    return None if said == read else f"lane: {said}\nh11 alone: {read}"


def minimal(data: bytes, seed: int) -> bytes:
    """Return a stream as short as can be found that still makes a difference."""
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if difference(shorter, seed) is not None:
                data = shorter
            else:
                at += size
        size //= 2
    return data
