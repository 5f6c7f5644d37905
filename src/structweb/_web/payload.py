"""Bodies of responses that are more than bytes."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from structweb._wire.media_type import OCTET_STREAM

if TYPE_CHECKING:
    from structweb._web.streaming import StreamResponse


class Payload(ABC):
    """A body that writes itself."""

    #: The Content-Type of a response that has none of its own.
    content_type: str = OCTET_STREAM
    #: Header fields for the response, unless it has them.
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    @abstractmethod
    def size(self) -> int | None:
        """The length in bytes; None if it is not known beforehand."""

    @abstractmethod
    async def write(self, writer: "StreamResponse") -> None:
        """Write everything to `writer`."""

    @abstractmethod
    async def close(self) -> None:
        """Release what the payload holds, written or not.  Idempotent."""


class AsyncIterablePayload(Payload):
    """The pieces that an async iterable gives; an async generator is closed after the last one, or before."""

    def __init__(self, pieces: AsyncIterable[bytes | bytearray | memoryview]) -> None:
        self._pieces = pieces

    @property
    def size(self) -> int | None:
        """None: nobody knows."""
        return None

    async def write(self, writer: "StreamResponse") -> None:
        """Write piece after piece.  Raises TypeError for one that is not bytes-like."""
        async for piece in self._pieces:
            await writer.write(piece)

    async def close(self) -> None:
        """Close the generator, if it is one."""
        aclose = getattr(self._pieces, "aclose", None)
        if aclose is not None:
            await aclose()


def as_payload(body: object) -> Payload:
    """Return the payload for a body that is no bytes and no text.  Raises ValueError for a type that has none."""
    if isinstance(body, Payload):
        return body
    if isinstance(body, AsyncIterable):
        return AsyncIterablePayload(body)
    raise ValueError(
        f"Unsupported body type {type(body).__name__}: "
        "expected bytes, bytearray, memoryview, str, an async iterable of bytes, or a Payload"
    )
