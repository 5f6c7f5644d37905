"""Multipart bodies to send: `MultipartWriter`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode
from uuid import uuid4

from structweb._server.log import web_logger
from structweb._web.headers import CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH
from structweb._web.part import CONTENT_TRANSFER_ENCODING, BodyPartReader
from structweb._web.payload import (
    Bytes,
    JsonPayload,
    Order,
    Payload,
    PayloadWriter,
    StringPayload,
    get_payload,
    payload_type,
)
from structweb._wire.part_coding import deflater, transfer_encode

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~\w]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Bytes that base64 makes one line of.
_BASE64_LINE: Final = 57
_PIECE: Final = 2**16

Part = tuple[Payload, str, str]


@payload_type(BodyPartReader, order=Order.try_first)
class BodyPartReaderPayload(Payload):
    """A part that was received, sent on as it arrives, decoded."""

    def __init__(self, value: BodyPartReader, *args: Any, **kwargs: Any) -> None:  # Any: as Payload takes them
        super().__init__(value, *args, **kwargs)
        names = {"name": value.name, "filename": value.filename}
        given = {key: name for key, name in names.items() if name is not None}
        if given and CONTENT_DISPOSITION not in self.headers:
            self.set_content_disposition("attachment", True, "utf-8", **given)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Raise TypeError: the part has to be awaited."""
        raise TypeError("a part that is being received cannot be decoded: write it")

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Raise TypeError: the part may be as large as its sender likes."""
        raise TypeError("a part that is being received is not kept in memory: write it")

    async def write(self, writer: PayloadWriter) -> None:
        """Write what arrives."""
        part: BodyPartReader = self._value
        self._consumed = True
        while chunk := await part.read_chunk(_PIECE):
            async for piece in part.decode_iter(chunk):
                await writer.write(piece)


class MultipartPayloadWriter:
    """Compresses what is written, and encodes that for the transfer, once that is enabled; passes it on otherwise."""

    def __init__(self, writer: PayloadWriter) -> None:
        self._writer = writer
        self._stream: Any = None  # Any: the type of zlib.compressobj() has no public name
        self._transfer_encoding = ""
        self._held = b""

    def enable_encoding(self, encoding: str) -> None:
        """Encode in ``base64`` or ``quoted-printable``."""
        self._transfer_encoding = encoding

    def enable_compression(self, encoding: str = "deflate") -> None:
        """Compress with ``gzip`` or ``deflate``."""
        self._stream = deflater(encoding)

    async def write(self, chunk: Bytes, /) -> None:
        """Take a piece of the part."""
        data = bytes(chunk)
        await self._send(data if self._stream is None else self._stream.compress(data))

    async def write_eof(self) -> None:
        """Write what was held back.  Does not end what it writes to."""
        if self._stream is not None:
            await self._send(self._stream.flush())
        if self._held:
            await self._writer.write(transfer_encode(self._held, "base64"))
            self._held = b""

    async def _send(self, data: bytes) -> None:
        encoding = self._transfer_encoding
        if encoding == "base64":
            data = self._held + data
            end = len(data) - len(data) % _BASE64_LINE
            data, self._held = data[:end], data[end:]
        if data:
            await self._writer.write(transfer_encode(data, encoding) if encoding else data)


class _Collector:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, data: Bytes, /) -> None:
        self.pieces.append(bytes(data))


class MultipartWriter(Payload):
    """A multipart body of the parts that are appended.

    As the body of a response it is sent part after part.  A part whose headers have Content-Encoding ``gzip`` or ``deflate``,
    or Content-Transfer-Encoding ``base64`` or ``quoted-printable``, is encoded so; forms (`subtype` ``form-data``) have
    neither.  Raises ValueError for a boundary that is not ASCII, has control characters, or more than 70 bytes.
    """

    _autoclose = True

    def __init__(self, subtype: str = "mixed", boundary: str | None = None) -> None:
        boundary = uuid4().hex if boundary is None else boundary
        if not boundary.isascii():
            raise ValueError(f"boundary should contain ASCII only chars, got {boundary!r}")
        if _CONTROL.search(boundary) or not 1 <= len(boundary) <= 70:
            raise ValueError(f"boundary must have 1 to 70 characters, no control characters, got {boundary!r}")
        self._boundary = boundary.encode()
        value = boundary
        if not _TOKEN.fullmatch(boundary):
            value = '"' + boundary.replace("\\", "\\\\").replace('"', '\\"') + '"'
        super().__init__(None, content_type=f"multipart/{subtype}; boundary={value}")
        self._parts: list[Part] = []
        self._is_form_data = subtype == "form-data"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing: the block only shows what belongs together."""

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __bool__(self) -> bool:
        return True

    @property
    def boundary(self) -> str:
        """What stands between the parts."""
        return self._boundary.decode()

    @property
    def consumed(self) -> bool:
        """Whether it cannot be written again, or a part of it cannot."""
        return self._consumed or any(part.consumed for part, _, _ in self._parts)

    # -- parts -----------------------------------------------------------------------------------------------------

    def append(self, obj: Any, headers: Mapping[str, str] | None = None) -> Payload:  # Any: what the registry knows
        """Append a part made of `obj`, and return its payload.  Raises TypeError for a type that is not registered."""
        if isinstance(obj, Payload):
            obj.headers.update(headers or {})
            return self.append_payload(obj)
        try:
            payload = get_payload(obj, headers=headers)
        except LookupError:
            raise TypeError(f"cannot make a part of {obj!r}: no payload type is registered for it") from None
        return self.append_payload(payload)

    def append_payload(self, payload: Payload) -> Payload:
        """Append a part, and return it.  Raises RuntimeError for an encoding that is not known."""
        headers = payload.headers
        encoding = transfer_encoding = ""
        if self._is_form_data:
            # RFC 7578 sections 4.7 and 4.8.
            refused = {CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TRANSFER_ENCODING} & headers.keys()
            if refused:
                raise AssertionError(f"parts of a form must not have {', '.join(sorted(refused))}")
            if CONTENT_DISPOSITION not in headers:
                payload.set_content_disposition("form-data", name=f"section-{len(self._parts)}")
        else:
            encoding = headers.get(CONTENT_ENCODING, "").lower()
            if encoding not in ("", "identity", "gzip", "deflate"):
                raise RuntimeError(f"unknown content encoding: {encoding}")
            transfer_encoding = headers.get(CONTENT_TRANSFER_ENCODING, "").lower()
            if transfer_encoding not in ("", "binary", "base64", "quoted-printable"):
                raise RuntimeError(f"unknown content transfer encoding: {transfer_encoding}")
            encoding = "" if encoding == "identity" else encoding
            transfer_encoding = "" if transfer_encoding == "binary" else transfer_encoding
            if payload.size is not None and not encoding and not transfer_encoding:
                headers[CONTENT_LENGTH] = str(payload.size)
        self._parts.append((payload, encoding, transfer_encoding))
        return payload

    def append_json(self, obj: Any, headers: Mapping[str, str] | None = None) -> Payload:  # Any: JSON has many types
        """Append `obj` as JSON."""
        return self.append_payload(JsonPayload(obj, headers=headers))

    def append_form(
        self, obj: Sequence[tuple[str, str]] | Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Payload:
        """Append fields as an urlencoded form."""
        data = urlencode(list(obj.items()) if isinstance(obj, Mapping) else obj, doseq=True)
        return self.append_payload(
            StringPayload(data, headers=headers, content_type="application/x-www-form-urlencoded")
        )

    # -- sending ---------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int | None:
        """The length in bytes; None if that of some part is not known, or it is encoded."""
        total = len(self._boundary) + 6
        for part, encoding, transfer_encoding in self._parts:
            size = part.size
            if size is None or encoding or transfer_encoding:
                return None
            total += len(self._head_of(part)) + size + 2
        return total

    def _head_of(self, part: Payload) -> bytes:
        """Return the boundary and the header before a part.  Raises ValueError for control characters in it."""
        lines = [f"{name}: {value}" for name, value in part.headers.items()]
        for line in lines:
            if _CONTROL.search(line):
                raise ValueError(f"headers of a part must not have control characters, got {line!r}")
        return b"--%b\r\n%b\r\n\r\n" % (self._boundary, "\r\n".join(lines).encode("utf-8", "surrogateescape"))

    async def write(self, writer: PayloadWriter, close_boundary: bool = True) -> None:
        """Write part after part, and the last boundary unless more is to come (``multipart/x-mixed-replace``)."""
        for part, encoding, transfer_encoding in self._parts:
            await writer.write(self._head_of(part))
            if encoding or transfer_encoding:
                encoded = MultipartPayloadWriter(writer)
                if encoding:
                    encoded.enable_compression(encoding)
                encoded.enable_encoding(transfer_encoding)
                await part.write(encoded)
                await encoded.write_eof()
            else:
                await part.write(writer)
            await writer.write(b"\r\n")
        if close_boundary:
            await writer.write(b"--%b--\r\n" % self._boundary)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return everything that `write` would write."""
        collector = _Collector()
        await self.write(collector)
        return b"".join(collector.pieces)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the parts as text, as they are without encodings, and no last boundary: for a look at it."""
        return "".join(
            self._head_of(part).decode(encoding, errors) + part.decode(encoding, errors) for part, _, _ in self._parts
        )

    async def close(self) -> None:
        """Close every part, whatever becomes of the others."""
        self._consumed = True
        cancelled: BaseException | None = None
        for part, _, _ in self._parts:
            try:
                await part.close()
            except Exception:  # noqa: BLE001 - the others have to be closed, too
                web_logger.exception("Error closing a part of a multipart body: %r", part)
            except BaseException as exc:  # noqa: BLE001 - the same: a cancellation, mostly, of a clean-up that waits
                cancelled = cancelled or exc
        if cancelled is not None:
            raise cancelled
