"""Answers taken apart by a strict reader of our own: every byte that a server sends has to be accounted for."""

import re
from typing import NamedTuple

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (\d{3}) ([ -~]*)")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\t -~\x80-\xff]*)")
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")
#: What differs from one second to the next.
_DATE = re.compile(rb"\r\nDate: [^\r]*")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(NamedTuple):
    """One response."""

    status: int
    version: str
    reason: str
    fields: dict[str, str]
    body: bytes
    #: False when the connection ended before the body did.
    complete: bool

    @property
    def closes(self) -> bool:
        """Whether nothing may follow."""
        option = self.fields.get("connection", "").lower()
        return option == "close" or (self.version == "1.0" and option != "keep-alive")


def undated(data: bytes) -> bytes:
    """Return answers without their Date fields."""
    return _DATE.sub(b"", data)


def take_apart(data: bytes, methods: list[str] | None = None) -> list[Answer]:
    """Return the responses in `data`, without 100s.  Fails for what is no response, and behind one that closes.

    `methods` are those of the requests, or answers name theirs in an X-Method field.
    """
    answers: list[Answer] = []
    rest = data
    while rest:
        if rest.startswith(CONTINUE):
            rest = rest[len(CONTINUE) :]
            continue
        assert not (answers and answers[-1].closes), f"behind the last answer: {rest!r}"
        asked = methods[len(answers)] if methods is not None else None
        answer, rest = _take_one(rest, asked)
        answers.append(answer)
    return answers


def _take_one(data: bytes, method: str | None) -> tuple[Answer, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"an incomplete head: {data!r}"
    status_line, *lines = head.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(status_line)
    assert found is not None, status_line
    fields: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        assert field is not None, line
        name = field[1].decode().lower()
        assert name not in fields, f"twice: {line!r}"
        fields[name] = field[2].decode("latin-1")
    status = int(found[2])
    method = fields.get("x-method", "GET") if method is None else method
    body, complete, rest = _take_body(rest, status, method, fields)
    return Answer(status, f"1.{found[1].decode()}", found[3].decode(), fields, body, complete), rest


def _take_body(data: bytes, status: int, method: str, fields: dict[str, str]) -> tuple[bytes, bool, bytes]:
    assert not ("content-length" in fields and "transfer-encoding" in fields), fields
    if method == "HEAD" or status in (204, 304):
        return b"", True, data
    if "content-length" in fields:
        length = int(fields["content-length"])
        return data[:length], len(data) >= length, data[length:]
    if fields.get("transfer-encoding") == "chunked":
        return _take_chunks(data)
    assert fields.get("connection", "close") == "close", fields
    return data, True, b""


def _take_chunks(data: bytes) -> tuple[bytes, bool, bytes]:
    body = b""
    while (found := _CHUNK.match(data)) is not None:
        size = int(found[1], 16)
        piece, data = data[found.end() : found.end() + size], data[found.end() + size :]
        body += piece
        if len(piece) < size or len(data) < 2:
            return body, False, b""
        assert data[:2] == b"\r\n", data
        data = data[2:]
        if size == 0:
            return body, True, data
    assert len(data) < 20, data  # the start of a chunk's line
    return body, False, b""
