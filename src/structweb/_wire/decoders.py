"""Decoders of content codings that never give more at once than they are asked for: a bomb costs time, no memory."""

import zlib
from abc import ABC, abstractmethod
from typing import Any, Final

from structweb._wire.codings import ContentCoding, coding_module

# RFC 9659: what every decoder of the web must take, and no more; zstd itself would take 128 MiB.
_ZSTD_WINDOW_LOG: Final = 23


class CodingError(ValueError):
    """The bytes are not what their content coding says."""


class Decoder(ABC):
    """Decodes one body: `feed` it encoded bytes, then `take` until nothing comes, and feed it again.

    At the end of the bytes, call `finish`: it complains if something is missing.
    """

    __slots__ = ("_fed", "_pending")

    def __init__(self) -> None:
        self._pending = b""
        self._fed = False

    def feed(self, data: bytes) -> None:
        """Take encoded bytes, once `take` returned nothing."""
        if data:
            self._pending = self._pending + data if self._pending else data
            self._fed = True

    @abstractmethod
    def take(self, limit: int) -> bytes:
        """Return about `limit` decoded bytes at most; b"" if it needs more to decode.  Raises `CodingError`."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether what was fed is complete, and all of it was taken."""

    def finish(self) -> None:
        """Raise `CodingError` if the bytes ended in the middle.  No bytes at all are an empty body."""
        if self._fed and not self.ended:
            raise CodingError("compressed data ended before its end")


class _ZlibDecoder(Decoder):
    """gzip (of any number of members), and deflate with or without the zlib header that it should have."""

    __slots__ = ("_engine", "_gzip", "_held")

    def __init__(self, *, gzip: bool) -> None:
        super().__init__()
        self._gzip = gzip
        self._engine: Any = None  # Any: the type of zlib.decompressobj() has no public name
        # Whether the last step may have left decoded bytes inside.
        self._held = False

    def take(self, limit: int) -> bytes:
        while self._pending or self._held:
            engine = self._engine
            if engine is None or engine.eof:
                engine = self._begin()
                if engine is None:
                    break
            try:
                out: bytes = engine.decompress(self._pending, limit)
            except zlib.error as exc:
                raise CodingError(f"compressed data is corrupt: {exc}") from exc
            self._held = len(out) == limit and not engine.eof
            self._pending = engine.unused_data if engine.eof else engine.unconsumed_tail
            if out:
                return out
        return b""

    def _begin(self) -> Any:  # Any: as above
        """Return the engine for what begins here; None if nothing does."""
        if self._engine is None:
            # Its first byte tells zlib's header: no encoder begins raw deflate like that.
            raw = not self._gzip and self._pending[0] & 0x0F != 8
            wbits = 16 + zlib.MAX_WBITS if self._gzip else -zlib.MAX_WBITS if raw else zlib.MAX_WBITS
        else:
            self._pending = self._pending.lstrip(b"\0") if self._gzip else self._pending  # padding, as gzip(1) has it
            if not self._pending:
                return None
            if not self._gzip:
                raise CodingError("there are bytes behind the end of the compressed data")
            wbits = 16 + zlib.MAX_WBITS
        self._engine = zlib.decompressobj(wbits)
        return self._engine

    @property
    def ended(self) -> bool:
        return self._engine is not None and self._engine.eof and not self._pending


class _BrotliDecoder(Decoder):
    __slots__ = ("_engine", "_error", "_held")

    def __init__(self) -> None:
        super().__init__()
        module = coding_module(ContentCoding.br)
        self._engine = module.Decompressor()
        self._held = False
        self._error: type[Exception] = module.error

    def take(self, limit: int) -> bytes:
        engine = self._engine
        while True:
            if not engine.can_accept_more_data():
                data = b""
            elif self._pending:
                data, self._pending = self._pending, b""
            elif self._held:  # it takes more, and may still have some: also the end of a body that fills its last step
                data = b""
            else:
                return b""
            try:
                out: bytes = engine.process(data, output_buffer_limit=limit)
            except self._error as exc:
                raise CodingError(f"compressed data is corrupt: {exc}") from exc
            self._held = len(out) >= limit and not engine.is_finished()
            if out:
                return out

    @property
    def ended(self) -> bool:
        return bool(self._engine.is_finished()) and not self._pending


class _ZstdDecoder(Decoder):
    """Any number of frames."""

    __slots__ = ("_engine", "_module")

    def __init__(self) -> None:
        super().__init__()
        self._module = coding_module(ContentCoding.zstd)
        self._engine: Any = None  # Any: a third-party class

    def take(self, limit: int) -> bytes:
        module = self._module
        while True:
            engine = self._engine
            if engine is None or engine.eof:
                if not self._pending:
                    return b""
                options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
                engine = self._engine = module.ZstdDecompressor(options=options)
            data = b""
            if engine.needs_input:
                if not self._pending:
                    return b""
                data, self._pending = self._pending, b""
            try:
                out: bytes = engine.decompress(data, limit)
            except module.ZstdError as exc:
                raise CodingError(f"compressed data is corrupt: {exc}") from exc
            if engine.eof:
                self._pending = engine.unused_data
            if out:
                return out

    @property
    def ended(self) -> bool:
        return self._engine is not None and bool(self._engine.eof) and not self._pending


def make_decoder(coding: ContentCoding) -> Decoder:
    """Return a decoder.  Raises `MissingCodingError` if its package is not installed, ValueError for identity."""
    match coding:
        case ContentCoding.gzip | ContentCoding.deflate:
            return _ZlibDecoder(gzip=coding is ContentCoding.gzip)
        case ContentCoding.br:
            return _BrotliDecoder()
        case ContentCoding.zstd:
            return _ZstdDecoder()
    raise ValueError("identity is no compression: expected another coding")
