"""Compressed request bodies, decoded while they are read."""

from typing import TYPE_CHECKING, Final

from anyio.lowlevel import checkpoint

from structweb._web.errors import HTTPUnsupportedMediaType
from structweb._wire.codings import ContentCoding, MissingCodingError, available_codings, known_coding
from structweb._wire.decoders import CodingError, Decoder, make_decoder
from structweb._wire.events import HeaderBlock, Refusal
from structweb._wire.limits import Limits

if TYPE_CHECKING:
    from structweb._server.body import Body

#: About as many decoded bytes are made at once; a reader that stops has cost no more memory than that.
STEP: Final = 2**16
# A bomb decodes without ever waiting for the network: after as many steps others get their turn.
_FAIR_SHARE: Final = 4
# Bytes decoded in a row if nothing comes out: empty frames of zstd are 8 bytes, and each takes some microseconds.
_FED: Final = 2**14


def body_coding(block: HeaderBlock) -> ContentCoding | None:
    """Return the coding of a request body; None for one that is to be read as it comes."""
    for name, value in block.raw:
        if len(name) == 16 and name.lower() == b"content-encoding":
            return known_coding(value.decode("latin-1"))
    return None


class DecodedBody:
    """What a compressed body decodes to; reads like a `Body`."""

    __slots__ = ("_body", "_coding", "_decoder", "_ended", "_fruitless", "_raw", "_steps", "_unfed", "raw_bytes")

    #: The bytes that arrived so far, compressed.
    raw_bytes: int

    def __init__(self, body: "Body", coding: ContentCoding) -> None:
        self._body = body
        self._coding = coding
        self._decoder: Decoder | None = None
        self._ended = False
        # Whether nobody is interested in the meaning any more.
        self._raw = False
        self._steps = 0
        # What has arrived and the decoder has not got yet.
        self._unfed = b""
        # Whether nothing has come out of what it got last.
        self._fruitless = False
        self.raw_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the end was reached, and everything before it handed out."""
        return self._ended

    @property
    def chunk_ends(self) -> tuple[()]:
        """Nowhere: where a chunk ends, nothing of what it decodes to need end."""
        return ()

    @property
    def limits(self) -> Limits:
        """The connection's limits."""
        return self._body.limits

    def stop_decoding(self) -> None:
        """Hand out the rest as it comes, for throwing it away."""
        self._raw = True

    async def receive(self) -> bytes:
        """Return the next decoded bytes, at most about `STEP`; b"" at the end.

        Raises `Refusal` for data that is corrupt or ends too early, HTTPUnsupportedMediaType if nothing here decodes
        it, and what `Body.receive` raises.
        """
        body = self._body
        while not self._ended:
            piece = b"" if self._raw else await self._take()
            if piece:
                self._ended = body.done and not self._unfed and self._decoder is not None and self._decoder.ended
                return piece
            if self._raw or not self._unfed:
                self._unfed = b"" if body.done else await body.receive()
                self.raw_bytes += len(self._unfed)
            if self._raw:
                data, self._unfed = self._unfed, b""
                self._ended = not data
                return data
            self._feed(self._unfed[:_FED])
            self._unfed = self._unfed[_FED:]
        return b""

    async def _take(self) -> bytes:
        decoder = self._started_decoder()
        self._steps += 1
        if self._steps >= _FAIR_SHARE:
            self._steps = 0
            await checkpoint()
        try:
            piece = decoder.take(STEP)
        except CodingError as exc:
            raise self._refusal(exc) from exc
        if piece:
            self._fruitless = False
        elif self._fruitless:
            self._steps = _FAIR_SHARE
        return piece

    def _feed(self, data: bytes) -> None:
        decoder = self._started_decoder()
        decoder.feed(data)
        self._fruitless = True
        if not data:
            self._ended = True
            try:
                decoder.finish()
            except CodingError as exc:
                raise self._refusal(exc) from exc

    def _refusal(self, error: CodingError) -> Refusal:
        return Refusal(400, f"Malformed request body, Content-Encoding {self._coding.value}: {error}")

    def _started_decoder(self) -> Decoder:
        if self._decoder is None:
            self._decoder = self._make_decoder()
        return self._decoder

    def _make_decoder(self) -> Decoder:
        try:
            return make_decoder(self._coding)
        except MissingCodingError as exc:
            accepted = ", ".join(coding.value for coding in available_codings())
            raise HTTPUnsupportedMediaType(
                text=f"Content-Encoding {self._coding.value} is not supported", headers={"Accept-Encoding": accepted}
            ) from exc
