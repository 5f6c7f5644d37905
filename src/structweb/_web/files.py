"""Responses that are files: `FileResponse`."""

import os
import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from anyio import CancelScope, to_thread
from multidict import CIMultiDict, istr

from structweb._web.headers import (
    CONTENT_TYPE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    LooseHeaders,
)
from structweb._web.representation import Representation, error_status, open_file
from structweb._web.streaming import Bytes, Stage, StreamResponse
from structweb._wire.codings import ContentCoding, Encoder, make_encoder
from structweb._wire.conditional import Outcome
from structweb._wire.ranges import ByteRange, select_ranges
from structweb._wire.reply import bodiless

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.request import BaseRequest

#: Bytes of a file that are in memory at a time where the kernel cannot send it by itself.
CHUNK_SIZE: Final = 256 * 1024

ACCEPT_ENCODING: Final = istr("Accept-Encoding")
ACCEPT_RANGES: Final = istr("Accept-Ranges")
CONTENT_ENCODING: Final = istr("Content-Encoding")
CONTENT_RANGE: Final = istr("Content-Range")
VARY: Final = istr("Vary")

_CONDITIONS: Final = (IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE)


def _compress_part(encoder: Encoder, found: Representation, offset: int, size: int) -> tuple[int, bytes]:
    """Read and compress a part of a file; return how much was read, and what came out.  Blocks: for worker threads."""
    size = min(size, found.size - offset)
    if found.file is None:
        data = (found.content or b"")[offset : offset + size]
    else:
        data = os.pread(found.file.fileno(), size, offset)
    return len(data), encoder.compress(data)


class FileResponse(StreamResponse):
    """A response whose body is a file, sent by `prepare`: all of it, the ranges asked for, or that nothing changed.

    A ``.br`` or ``.gz`` file beside it goes in its place to clients that take it; with `enable_compression` and
    without such a file, it is compressed on the way, in worker threads, and there are no ranges of it then.  404 if there is no such file, 403 if
    it is no regular one or may not be read.  What waits for the disk does so in worker threads.
    """

    # What was found already, by whoever made the response.
    _found: Representation | None = None
    _follow: bool = True
    # Whether somebody looked at the file just now: then opening it again needs no disk.
    _warm: bool = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        chunk_size: int = CHUNK_SIZE,
        status: int = 200,
        reason: str | None = None,
        headers: LooseHeaders | None = None,
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._path = os.fsdecode(path)
        self._chunk_size = chunk_size

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields.  What the file and the server say is there once the response is being prepared."""
        headers = self._headers
        if headers is None:
            sent = self._stage is Stage.SENT and self._found is not None
            headers = self._headers = CIMultiDict(self._found.fields if sent and self._found else ())
        return headers

    async def prepare(self, request: "BaseRequest") -> Self | None:
        """Send the file, all of it.  A second call does nothing.

        Raises as `StreamResponse.prepare` and `write` do, and OSError for a file that turns out to be unreadable.
        """
        if self._stage is not Stage.UNSENT:
            self._check_same(request)
            return None
        found = self._found
        if found is not None:
            await self._send_found(request, found)
            return self
        accept_encoding = ", ".join(request.headers.getall(ACCEPT_ENCODING, ()))
        find = partial(open_file, self._path, accept_encoding, follow=self._follow, head_only=request.method == "HEAD")
        try:
            # The thread cannot be cancelled: the file that it opens comes back in any case.
            found = find() if self._warm else await to_thread.run_sync(find)
        except (OSError, ValueError) as exc:
            status = error_status(exc)
            if status is None:
                raise
            self._set_status(status, None)
            await self._send_whole(request, b"", 0)
            return self
        try:
            await self._send_found(request, found)
        finally:
            await self._close(found)
        return self

    async def write_eof(self, data: Bytes = b"") -> None:
        """Do nothing: `prepare` has sent everything.  Raises RuntimeError if it has failed, or was cancelled, half-way."""
        if self._stage is Stage.STARTED:
            raise RuntimeError("cannot end the response: sending its file has failed or was cancelled half-way")
        await super().write_eof(data)

    async def _close(self, found: Representation) -> None:
        if found.file is None:
            return
        if self._warm:
            # It was opened here, without a wait; and what was only read has nothing to write back.
            found.file.close()
            return
        with CancelScope(shield=True):
            await to_thread.run_sync(found.file.close)

    async def _send_found(self, request: "BaseRequest", found: Representation) -> None:
        asked = request.headers
        if (
            self._headers is None
            and found.content is not None
            and self._status == 200
            and not self._chunked
            and self._cookies is None
            and not self._compression
            and not request._has_prepare_hook
            and RANGE not in asked
            and not any(name in asked for name in _CONDITIONS)
        ):
            await self._send_as_it_is(request._exchange, found, found.content)
            return
        outcome = Outcome.PROCEED
        if 200 <= self._status < 300:
            fields = {name.lower(): ", ".join(asked.getall(name)) for name in _CONDITIONS if name in asked}
            outcome = found.validators.outcome(request.method, fields) if fields else outcome
        if outcome is Outcome.FAILED:
            self._set_status(412, None)
            await self._send_whole(request, b"", 0)
            return
        self._tell(found)
        coding = self._settle_coding(request) if self._compression and found.size else None
        if outcome is Outcome.NOT_MODIFIED:
            self._set_status(304, None)
            self.headers.popall(CONTENT_TYPE, None)
            if coding is not None:
                self.headers.popall(CONTENT_ENCODING, None)
            await self._send_whole(request, b"", 0)
            return
        if coding is not None:
            await self._send_compressed(request, found, coding)
            return
        await self._send_pieces(request, found, self._choose(request, found))

    async def _send_as_it_is(self, exchange: "Exchange", found: Representation, content: bytes) -> None:
        """Send a small file to whom it may: the fields are the same each time, and so is their encoding."""
        self._exchange, self._found = exchange, found
        if self._keep_alive is False:
            exchange.keep_alive = False
        self._stage = Stage.SENT
        try:
            await exchange.respond(200, self._reason, found.fields, content)
        except BaseException:
            if not exchange.started:
                self._stage = Stage.UNSENT
            raise

    def _tell(self, found: Representation) -> None:
        """Put what the file says of itself among the headers."""
        headers = self.headers
        for name, value in found.fields:
            if name == CONTENT_TYPE:
                headers.setdefault(name, value)
            elif name != VARY:
                headers[name] = value
            elif value.lower() not in ", ".join(headers.getall(VARY, ())).lower():
                headers.add(name, value)

    def _choose(self, request: "BaseRequest", found: Representation) -> Sequence[bytes | ByteRange]:
        """Return what is sent, in order: parts of the file, and what stands between them.  Sets status and headers."""
        size = found.size
        whole = (ByteRange(0, size),) if size else ()
        asked = request.headers
        if request.method != "GET" or not 200 <= self._status < 300 or RANGE not in asked:
            return whole
        if not found.validators.allow_range(asked.get(IF_RANGE)):
            return whole
        ranges = select_ranges(", ".join(asked.getall(RANGE)), size)
        if ranges is None:
            return whole
        headers = self.headers
        if not ranges:
            self._set_status(416, None)
            headers[CONTENT_RANGE] = f"bytes */{size}"
            headers.popall(CONTENT_TYPE, None)  # of a body that is not sent
            headers.popall(CONTENT_ENCODING, None)
            return ()
        self._set_status(206, None)
        if len(ranges) == 1:
            headers[CONTENT_RANGE] = ranges[0].content_range(size)
            return ranges
        boundary = secrets.token_hex(16)
        pieces: list[bytes | ByteRange] = []
        for part in ranges:
            start = "\r\n" if pieces else ""
            lines = (
                f"{start}--{boundary}",
                f"Content-Type: {headers[CONTENT_TYPE]}",
                f"Content-Range: {part.content_range(size)}",
            )
            pieces += ["\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape"), part]
        pieces.append(f"\r\n--{boundary}--\r\n".encode())
        headers[CONTENT_TYPE] = f"multipart/byteranges; boundary={boundary}"
        return pieces

    async def _send_pieces(
        self, request: "BaseRequest", found: Representation, pieces: Sequence[bytes | ByteRange]
    ) -> None:
        length = sum(len(piece) if isinstance(piece, bytes) else piece.stop - piece.start for piece in pieces)
        content = found.content
        if content is None and not pieces:
            content = b""
        if not self._chunked and (content is not None or bodiless(request.method, self._status)):
            whole = b"" if content is None else content
            body = b"".join(piece if isinstance(piece, bytes) else whole[piece.start : piece.stop] for piece in pieces)
            await self._send_whole(request, body, length)
            return
        if not self._chunked:
            self.content_length = length
        exchange = await self._make_ready(request)
        await self._start(exchange)
        for piece in pieces:
            if isinstance(piece, bytes):
                await exchange.write(piece)
            elif content is not None:
                await exchange.write(content[piece.start : piece.stop])
            elif found.file is not None:
                await exchange.send_file(
                    found.file.fileno(),
                    piece.start,
                    piece.stop - piece.start,
                    piece=self._chunk_size,
                    in_kernel=not os.environ.get("AIOHTTP_NOSENDFILE"),
                )
        await exchange.finish()
        self._stage = Stage.SENT

    async def _start_compression(self, request: "BaseRequest") -> None:
        """Do nothing: what there is to settle was settled when the file was found."""

    async def _send_compressed(self, request: "BaseRequest", found: Representation, coding: ContentCoding) -> None:
        """Send all of the file in a coding.  A range would be one of the compressed bytes, which differ each time."""
        self.headers.popall(ACCEPT_RANGES, None)
        if found.content is not None and not self._chunked:
            body = await self._compress_whole(coding, found.content)
            await self._send_whole(request, body, len(body))
            return
        self.content_length = None
        exchange = await self._make_ready(request)
        await self._start(exchange)
        if not bodiless(request.method, self._status):
            encoder = make_encoder(coding, self._compression_strategy)
            offset = 0
            while offset < found.size:
                step = partial(_compress_part, encoder, found, offset, self._chunk_size)
                taken, packed = await to_thread.run_sync(step, limiter=self._zlib_executor)
                if not taken:
                    raise EOFError(
                        f"{found.path!r} was cut while it was sent: {found.size} bytes expected, got {offset}"
                    )
                offset += taken
                await exchange.write(packed)
            await exchange.write(encoder.finish())
        await exchange.finish()
        self._stage = Stage.SENT

    async def _send_whole(self, request: "BaseRequest", body: bytes, length: int) -> None:
        """Send a body that is in memory; `length` is what Content-Length says."""
        self._chunked = False
        self.content_length = length
        exchange = await self._make_ready(request)
        if bodiless(exchange.head.method, self._status):
            body = b""
        self._stage = Stage.SENT
        try:
            await exchange.respond(self._status, self._reason, list(self.headers.items()), body, stamp=False)
        except BaseException:
            if not exchange.started:
                self._stage = Stage.UNSENT
            raise
