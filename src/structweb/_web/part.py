"""One part of a multipart body: `BodyPartReader`."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Self

from multidict import istr

from structweb._web.content import MAX_LINE, LineTooLong
from structweb._web.headers import CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE
from structweb._wire.decoders import CodingError, Decoder
from structweb._wire.disposition import parameter_of, read_disposition
from structweb._wire.media_type import parse_media_type
from structweb._wire.multipart import MultipartError, MultipartParser
from structweb._wire.part_coding import part_decoder, transfer_decode, whole_length
from structweb._wire.urlencoded import parse_form

CONTENT_TRANSFER_ENCODING: Final = istr("Content-Transfer-Encoding")
_DECODED_PIECE: Final = 2**16
# Bytes that are decoded in a row though nothing comes out: empty frames of zstd are 8 bytes, and each takes microseconds.
_FED: Final = 2**14


async def let_others_run() -> None:
    """Give other tasks a turn."""
    from anyio.lowlevel import checkpoint  # readers are importable where no event loop is installed

    await checkpoint()


class _Pieces(AsyncIterator[bytes]):
    """Gives pieces with a checkpoint behind each.  Needs no closing, unlike an async generator that is left half-way."""

    __slots__ = ("_begun", "_pieces")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._begun = False

    async def __anext__(self) -> bytes:
        if self._begun:
            await let_others_run()
        self._begun = True
        while (piece := next(self._pieces, None)) == b"":
            await let_others_run()
        if piece is None:
            raise StopAsyncIteration
        return piece


class PartContent:
    """The bytes of one part, as they arrive; at its end once the reader has gone on to the next part."""

    __slots__ = ("_done", "_feed", "_parser")

    def __init__(self, parser: MultipartParser, feed: Callable[[], Awaitable[None]]) -> None:
        self._parser = parser
        self._feed = feed
        self._done = False

    def at_eof(self) -> bool:
        """Tell whether everything was read."""
        return self._done

    async def readany(self) -> bytes:
        """Return what has arrived; wait for something if nothing has.  b"" at the end of the part."""
        return await self.read(2**16)

    async def read(self, n: int) -> bytes:
        """Return at most `n` bytes, as soon as there are some.  b"" at the end of the part."""
        if self._done:
            return b""
        parser = self._parser
        while (data := parser.next_data(n)) is None:
            await self._feed()
        self._done = not data
        return data

    async def drop(self) -> None:
        """Read and forget what is left."""
        while await self.readany():
            pass


class BodyPartReader:
    """One part of a multipart body, read as it arrives.

    Every method that reads raises `MultipartError` (a ValueError, answered with 400) for a malformed part, and what reading
    the body raises.
    """

    #: Bytes that `read_chunk` returns at most, unless told otherwise.
    chunk_size = 8192

    def __init__(
        self,
        boundary: bytes,
        headers: Mapping[str, str],
        content: PartContent,
        *,
        subtype: str = "mixed",
        default_charset: str | None = None,
        max_decompress_size: int = _DECODED_PIECE,
        client_max_size: int = sys.maxsize,
        max_size_error_cls: type[Exception] = ValueError,
    ) -> None:
        self.headers = headers
        self._boundary = boundary
        self._content = content
        self._default_charset = default_charset
        self._is_form_data = subtype == "form-data"
        self._max_decompress_size = max_decompress_size
        self._client_max_size = client_max_size
        self._max_size_error_cls = max_size_error_cls
        self._length = None if self._is_form_data else self._declared_length()
        self._received = 0
        # Read and not returned yet.
        self._held = b""
        self._at_eof = False
        self._decoder: Decoder | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} filename={self.filename!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.next()
        if data is None:
            raise StopAsyncIteration
        return data

    async def next(self) -> bytes | None:
        """Return the whole rest of the part; None at its end."""
        return await self.read() or None

    def _declared_length(self) -> int | None:
        text = self.headers.get(CONTENT_LENGTH)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise MultipartError(f"bad Content-Length of a part: expected digits, got {text[:40]!r}")
        return int(text)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _receive(self, size: int) -> bytes:
        """Return at most `size` bytes as they arrive, b"" at the end of the part."""
        data = await self._content.read(size)
        self._received += len(data)
        length = self._length
        if length is not None and (self._received > length or (not data and self._received < length)):
            raise MultipartError(f"a part with Content-Length: {length} has {'more' if data else 'fewer'} bytes")
        return data

    async def read_chunk(self, size: int = chunk_size) -> bytes:
        """Return at most `size` bytes, as soon as there are some; b"" at the end of the part.

        Of parts in base64 or quoted-printable, each chunk can be decoded on its own, and `size` counts as 4 at least.
        Raises ValueError for a size below 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        encoding = self._transfer_encoding
        size = max(size, 4) if encoding else size
        while True:
            if self._held:
                data, self._held = self._held, b""
            else:
                data = await self._receive(size)
            if not data:
                self._at_eof = True
                self._finish_decoding(self._decoder)
                return b""
            end = whole_length(data[:size], encoding) if encoding else min(size, len(data))
            if end:
                self._held = data[end:]
                return data[:end]
            more = await self._receive(size)
            if not more or len(data) >= size:
                self._held = more
                return data
            self._held = data + more

    async def read(self, *, decode: bool = False) -> bytes:
        """Return the whole rest of the part, decoded if `decode`.

        Raises `max_size_error_cls` for more than `client_max_size` bytes, before more than that is kept.
        """
        data = bytearray()
        while chunk := await self.read_chunk(self.chunk_size):
            self._add(data, chunk)
        if not decode:
            return bytes(data)
        decoded = bytearray()
        for piece in self._decoded_whole(bytes(data)):
            self._add(decoded, piece)
            await let_others_run()
        return bytes(decoded)

    def _add(self, data: bytearray, piece: bytes) -> None:
        if len(data) + len(piece) > self._client_max_size:
            raise self._max_size_error_cls(self._client_max_size)
        data += piece

    async def readline(self) -> bytes:
        r"""Return the next line with its ``\n``, or what is left at the end; b"" at the end of the part.

        Raises `LineTooLong` for more than 256 KiB.
        """
        line = bytearray()
        while (chunk := self._held or await self._receive(self.chunk_size)) and len(line) <= MAX_LINE:
            self._held = b""
            end = chunk.find(b"\n") + 1
            if end:
                line += chunk[:end]
                self._held = chunk[end:]
                break
            line += chunk
        if len(line) > MAX_LINE:
            raise LineTooLong(bytes(line[:100]), MAX_LINE)
        self._at_eof = not line
        return bytes(line)

    async def release(self) -> None:
        """Read and forget what is left of the part."""
        self._held = b""
        while await self._receive(_DECODED_PIECE):
            pass
        self._at_eof = True

    def at_eof(self) -> bool:
        """Tell whether the part was read to its end: reading it returned b"", or its reader went on to the next one."""
        return self._at_eof or (not self._held and self._content.at_eof())

    async def text(self, *, encoding: str | None = None) -> str:
        """Return the rest of the part decoded, as text in `encoding`, else in the charset that `get_charset` tells.

        Raises LookupError for a charset that is not known, UnicodeDecodeError for bytes that are not text in it.
        """
        return (await self.read(decode=True)).decode(encoding or self.get_charset("utf-8"))

    async def json(self, *, encoding: str | None = None) -> Any:  # Any: JSON has values of many types
        """Return the rest of the part as JSON, None if it is empty.  Raises ValueError for what is no JSON."""
        data = await self.read(decode=True)
        return json.loads(data.decode(encoding or self.get_charset("utf-8"))) if data else None

    async def form(self, *, encoding: str | None = None) -> list[tuple[str, str]]:
        """Return the rest of the part as the pairs of an urlencoded form.

        Raises ValueError for bytes that are not text in `encoding`, else in the charset that `get_charset` tells.
        """
        data = await self.read(decode=True)
        charset = encoding or self.get_charset("utf-8")
        try:
            return parse_form(data, charset, 0)
        except UnicodeDecodeError:
            raise ValueError(f"data cannot be decoded with {charset} encoding") from None

    # -- decoding --------------------------------------------------------------------------------------------------

    @cached_property
    def _transfer_encoding(self) -> str:
        return self.headers.get(CONTENT_TRANSFER_ENCODING, "").strip().lower()

    def _new_decoder(self) -> Decoder | None:
        # RFC 7578 section 4.8: not in forms.
        encoding = "" if self._is_form_data else self.headers.get(CONTENT_ENCODING, "").strip().lower()
        return None if encoding in ("", "identity") else part_decoder(encoding)

    def _decoded(self, data: bytes, decoder: Decoder | None) -> Iterator[bytes]:
        """Iterate over the pieces; an empty one tells only that it has taken a while."""
        plain = transfer_decode(data, self._transfer_encoding)
        if decoder is None:
            yield plain
            return
        try:
            for start in range(0, len(plain), _FED):
                decoder.feed(plain[start : start + _FED])
                while piece := decoder.take(self._max_decompress_size):
                    yield piece
                yield b""
        except CodingError as exc:
            raise self._bad_data(exc) from None

    def _decoded_whole(self, data: bytes) -> Iterator[bytes]:
        decoder = self._new_decoder()
        yield from self._decoded(data, decoder)
        self._finish_decoding(decoder)

    def _finish_decoding(self, decoder: Decoder | None) -> None:
        """Raise if the part has ended in the middle of its compressed data."""
        if decoder is not None:
            try:
                decoder.finish()
            except CodingError as exc:
                raise self._bad_data(exc) from None

    def _bad_data(self, error: CodingError) -> MultipartError:
        return MultipartError(f"bad {self.headers[CONTENT_ENCODING]} data in a part: {error}")

    def decode(self, data: bytes | bytearray) -> bytes:
        """Return `data`, all of what was read of the part, without its transfer encoding and its compression.

        Raises `max_size_error_cls` for more than `client_max_size` bytes, `UnknownEncodingError` (a RuntimeError, answered
        with 400), and `MultipartError` for data that is not in the encoding.
        """
        decoded = bytearray()
        for piece in self._decoded_whole(bytes(data)):
            self._add(decoded, piece)
        return bytes(decoded)

    def decode_iter(self, data: bytes | bytearray) -> AsyncIterator[bytes]:
        """Iterate over `data` decoded, in pieces of bounded size; call it with one chunk of `read_chunk` after the other.

        Raises as `decode`, but knows no limit for the sum of the pieces.  That compressed data is cut short is
        what the `read_chunk` behind the last one says.
        """
        return _Pieces(self._decoded_next(bytes(data)))

    def _decoded_next(self, data: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            self._decoder = self._new_decoder()
        yield from self._decoded(data, self._decoder)

    # -- header ----------------------------------------------------------------------------------------------------

    def get_charset(self, default: str) -> str:
        """Return the charset that the part's Content-Type names, else what the form's _charset_ field says, else `default`."""
        parameters = parse_media_type(self.headers.get(CONTENT_TYPE)).parameters
        return parameters.get("charset") or self._default_charset or default

    @cached_property
    def _parameters(self) -> Mapping[str, str]:
        return read_disposition(self.headers.get(CONTENT_DISPOSITION)).parameters

    @cached_property
    def name(self) -> str | None:
        """The name of the field, from Content-Disposition; None if it tells none, or is malformed."""
        return parameter_of(self._parameters, "name")

    @cached_property
    def filename(self) -> str | None:
        """The name of the file, from Content-Disposition, just as the client sent it; None if it tells none.

        Never make it part of a path: it may say ``../../etc/passwd``.
        """
        return parameter_of(self._parameters, "filename")
