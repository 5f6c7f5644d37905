"""Compressed bodies of responses: who gets which coding, and the work off the loop."""

from typing import TYPE_CHECKING

import anyio
from anyio import CapacityLimiter, to_thread
from multidict import CIMultiDict

from structweb._web.headers import (
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    vary_on,
)
from structweb._wire.codings import Bytes, ContentCoding, choose_coding, coding_module, make_encoder
from structweb._wire.reply import bodiless

if TYPE_CHECKING:
    from structweb._server.exchange import Exchange
    from structweb._web.request import BaseRequest


def _encode(coding: ContentCoding, strategy: int | None, data: Bytes) -> bytes:
    encoder = make_encoder(coding, strategy)
    return encoder.compress(data) + encoder.finish()


class CompressedWriter:
    """Compresses pieces of one body and sends them, in the order in which they are written.

    A client can decode each piece when it has it: what an application writes is not kept back for a better ratio.
    """

    __slots__ = ("_broken", "_encoder", "_limit", "_limiter", "_lock")

    def __init__(
        self, coding: ContentCoding, strategy: int | None, limit: int, limiter: CapacityLimiter | None
    ) -> None:
        self._encoder = make_encoder(coding, strategy)
        self._limit = limit
        self._limiter = limiter
        self._lock = anyio.Lock()
        self._broken = False

    def _compress(self, data: Bytes) -> bytes:
        return self._encoder.compress(data) + self._encoder.flush()

    async def write(self, exchange: "Exchange", data: Bytes) -> None:
        """Compress and send a piece."""
        if not len(data):
            return
        async with self._lock:
            self._check()
            # The encoder counts these bytes as sent from here on.  If they are not, nobody could decode what follows.
            self._broken = True
            size = data.nbytes if isinstance(data, memoryview) else len(data)
            if size > self._limit:
                packed = await to_thread.run_sync(self._compress, data, limiter=self._limiter)
            else:
                packed = self._compress(data)
            await exchange.write(packed)
            self._broken = False

    async def finish(self, exchange: "Exchange") -> None:
        """Send the end of the compressed data."""
        async with self._lock:
            self._check()
            self._broken = True
            await exchange.write(self._encoder.finish())

    def _check(self) -> None:
        if self._broken:
            raise RuntimeError(
                "cannot write: an earlier write of this compressed body failed or was cancelled half-way"
            )


class CompressedBody:
    """The part of a response that negotiates and compresses.  Nothing happens unless `enable_compression` is called."""

    _headers: CIMultiDict[str] | None
    _status: int
    _compression: bool = False
    _compression_force: ContentCoding | None = None
    _compression_strategy: int | None = None
    _compressed_writer: CompressedWriter | None = None
    _zlib_executor_size: int = 4096
    _zlib_executor: CapacityLimiter | None = None

    @property
    def compression(self) -> bool:
        """Whether `enable_compression` was called: the body gets compressed if the client takes a coding."""
        return self._compression

    def enable_compression(self, force: ContentCoding | None = None, strategy: int | None = None) -> None:
        """Compress the body, in the coding that Accept-Encoding likes best; or in `force`, whatever the client takes.

        Call it before `prepare`.  Without `force` the response gets Vary: Accept-Encoding, and a strong ETag becomes
        a weak one.  Bodies that have a Content-Encoding already, and parts of bodies, are sent as they are.
        `strategy` is one of zlib's, for gzip and deflate.  Raises AssertionError for a `force` that is no
        `ContentCoding`, ImportError if what it needs is not installed.
        """
        if force is not None:
            if not isinstance(force, ContentCoding):
                raise AssertionError(f"force must be a ContentCoding or None, got {force!r}")
            if force in (ContentCoding.br, ContentCoding.zstd):
                coding_module(force)
        self._compression = True
        self._compression_force = force
        self._compression_strategy = strategy

    def _settle_coding(self, request: "BaseRequest") -> ContentCoding | None:
        """Return the coding for the body, and have the headers say it; None for a body that goes as it is."""
        headers = self.headers
        if CONTENT_ENCODING in headers or CONTENT_RANGE in headers or self._status == 206:
            return None
        coding = self._compression_force
        if coding is None:
            coding = choose_coding(request.headers.getall(ACCEPT_ENCODING, ()))
            vary_on(headers, "Accept-Encoding")
            if coding is not ContentCoding.identity:
                _weaken_etag(headers)
        if coding is ContentCoding.identity or bodiless("GET", self._status):
            return None
        headers[CONTENT_ENCODING] = coding.value
        headers.popall(CONTENT_LENGTH, None)
        return coding

    if TYPE_CHECKING:

        @property
        def headers(self) -> CIMultiDict[str]: ...

    async def _start_compression(self, request: "BaseRequest") -> None:
        """Settle the coding; the body is going to be written piece by piece."""
        coding = self._settle_coding(request)
        if coding is not None:
            self._compressed_writer = CompressedWriter(
                coding, self._compression_strategy, self._zlib_executor_size, self._zlib_executor
            )

    async def _compress_whole(self, coding: ContentCoding, body: Bytes) -> bytes:
        if len(body) <= self._zlib_executor_size:
            return _encode(coding, self._compression_strategy, body)
        return await to_thread.run_sync(_encode, coding, self._compression_strategy, body, limiter=self._zlib_executor)


def _weaken_etag(headers: CIMultiDict[str]) -> None:
    """Make a strong ETag weak: another coding has other bytes (RFC 9110 section 8.8.3.3)."""
    etag = headers.get(ETAG)
    if etag is not None and etag.startswith('"'):
        headers[ETAG] = f"W/{etag}"
