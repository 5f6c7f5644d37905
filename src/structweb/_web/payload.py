"""Bodies of responses, and parts of multipart ones, that write themselves; and the registry of who makes them."""

import json
import mimetypes
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, Final, Protocol, TypeVar

from multidict import CIMultiDict

from structweb._web.content import StreamReader
from structweb._web.headers import CONTENT_DISPOSITION, CONTENT_TYPE, LooseHeaders
from structweb._wire.disposition import format_disposition
from structweb._wire.media_type import OCTET_STREAM, parse_media_type

Bytes = bytes | bytearray | memoryview
P = TypeVar("P", bound="type[Payload]")

#: A body of bytes that is larger than this one is better given as a file or a stream.
LARGE_BYTES: Final = 2**20


class PayloadWriter(Protocol):
    """What a payload is written to: a `StreamResponse`, or a part of a multipart body."""

    async def write(self, data: Bytes, /) -> None:
        """Take a piece; wait while the receiver is slow."""


class Order(Enum):
    """When a payload type is asked whether a value is its own."""

    normal = "normal"
    try_first = "try_first"
    try_last = "try_last"


class _Unset(Enum):
    """No argument: None is one."""

    UNSET = "unset"


_UNSET: Final = _Unset.UNSET
# What isinstance() takes: a type, abstract ones as well, or a tuple of them.
_Types = type | tuple[type, ...]


class Payload(ABC):
    """A body that writes itself.

    Subclasses say how in `write` (and `decode`); `register_payload` has `Response(body=...)` make them.  Whoever gets a
    payload writes it at most once, and closes it in any case.
    """

    _default_content_type: str = OCTET_STREAM
    _size: int | None = None
    _consumed: bool = False
    _autoclose: bool = False

    def __init__(
        self,
        value: Any,  # Any: each payload type has its own
        headers: LooseHeaders | None = None,
        content_type: str | _Unset | None = _UNSET,
        filename: str | None = None,
        encoding: str | None = None,
        **kwargs: object,
    ) -> None:
        self._value = value
        self._filename = filename
        self._encoding = encoding
        if content_type is _UNSET or content_type is None:
            guessed = None if filename is None else mimetypes.guess_type(filename)[0]
            content_type = guessed or self._default_content_type
        self._headers: CIMultiDict[str] = CIMultiDict({CONTENT_TYPE: content_type})
        if headers is not None:
            self._headers.update(headers)

    @property
    def size(self) -> int | None:
        """The length in bytes; None if it is not known beforehand."""
        return self._size

    @property
    def filename(self) -> str | None:
        """The name of the file that it is; None if it is none."""
        return self._filename

    @property
    def headers(self) -> CIMultiDict[str]:
        """The header fields for a response or part that has none of that name itself."""
        return self._headers

    @property
    def encoding(self) -> str | None:
        """The charset of text; None for bytes."""
        return self._encoding

    @property
    def content_type(self) -> str:
        """The Content-Type, with its parameters."""
        return self._headers[CONTENT_TYPE]

    @property
    def consumed(self) -> bool:
        """Whether it was written, and cannot be written again."""
        return self._consumed

    @property
    def autoclose(self) -> bool:
        """Whether it holds nothing that must be closed."""
        return self._autoclose

    def set_content_disposition(
        self,
        disptype: str,
        quote_fields: bool = True,
        _charset: str = "utf-8",
        **params: str,
    ) -> None:
        """Set Content-Disposition: ``attachment; filename="..."``.  Raises ValueError for what is no token."""
        self._headers[CONTENT_DISPOSITION] = format_disposition(disptype, params, quote=quote_fields, charset=_charset)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the value as text.  Raises TypeError unless a subclass says how."""
        raise TypeError(f"{type(self).__name__} does not say how to decode it")

    @abstractmethod
    async def write(self, writer: PayloadWriter) -> None:
        """Write everything to `writer`."""

    async def write_with_length(self, writer: PayloadWriter, content_length: int | None) -> None:
        """Write at most `content_length` bytes to `writer`; everything for None."""
        if content_length is None:
            await self.write(writer)
            return
        left = content_length

        class Limited:
            """Passes on the bytes that are still allowed."""

            async def write(self, data: Bytes, /) -> None:
                nonlocal left
                piece = data[:left]
                left -= len(piece)
                if piece:
                    await writer.write(piece)

        await self.write(Limited())

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the value as bytes."""
        encoding = self._encoding or encoding
        return self.decode(encoding, errors).encode(encoding)

    async def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what the payload holds, written or not.  Idempotent."""


class PayloadRegistry:
    """Knows which payload type makes a body of a value."""

    __slots__ = ("_registrations",)

    def __init__(self) -> None:
        self._registrations: dict[Order, list[tuple[type[Payload], _Types]]] = {order: [] for order in Order}

    def register(self, factory: "type[Payload]", type: _Types, *, order: Order = Order.normal) -> None:
        """Have `factory` make payloads of values of `type`, which may be a tuple of types."""
        if not isinstance(order, Order):
            raise ValueError(f"order must be an Order, got {order!r}")
        isinstance(None, type)  # complains here, not at the first request
        self._registrations[order].append((factory, type))

    def find(self, data: object) -> "Callable[..., Payload] | None":
        """Return what makes a payload of `data`; None if nothing does."""
        for order in (Order.try_first, Order.normal, Order.try_last):
            for factory, types in self._registrations[order]:
                if isinstance(data, types):
                    return factory
        return None

    def get(self, data: Any, *args: Any, **kwargs: Any) -> Payload:  # Any: as the payload types take them
        """Return a payload of `data`, or `data` if it is one.  Raises LookupError if nothing makes one."""
        if isinstance(data, Payload):
            return data
        factory = self.find(data)
        if factory is not None:
            return factory(data, *args, **kwargs)
        raise LookupError(f"no payload type is registered for {type(data).__name__}")


PAYLOAD_REGISTRY: Final = PayloadRegistry()


def get_payload(data: Any, *args: Any, **kwargs: Any) -> Payload:  # Any: as the payload types take them
    """Return a payload of `data`, made with the further arguments.  Raises LookupError if nothing makes one."""
    return PAYLOAD_REGISTRY.get(data, *args, **kwargs)


def register_payload(factory: type[Payload], type: _Types, *, order: Order = Order.normal) -> None:
    """Have `factory` make bodies of values of `type`."""
    PAYLOAD_REGISTRY.register(factory, type, order=order)


class payload_type:  # noqa: N801 - aiohttp's name
    """A decorator of payload types: ``@payload_type(Table)`` has the class make bodies of tables."""

    def __init__(self, type: _Types, *, order: Order = Order.normal) -> None:
        self.type = type
        self.order = order

    def __call__(self, factory: P) -> P:
        """Register the class."""
        register_payload(factory, self.type, order=self.order)
        return factory


def as_payload(body: object) -> Payload:
    """Return the payload of a body that is no bytes and no text.  Raises ValueError for a type that has none."""
    if isinstance(body, Payload):
        return body
    factory = PAYLOAD_REGISTRY.find(body)
    if factory is not None:
        return factory(body)
    raise ValueError(
        f"Unsupported body type {type(body).__name__}: expected bytes, bytearray, memoryview, str, a file, "
        "an async iterable of bytes, a Payload, or a type known to register_payload"
    )


@payload_type((bytes, bytearray, memoryview))
class BytesPayload(Payload):
    """Bytes in memory.  More than 1 MiB of them is a ResourceWarning: a stream would not hold them all at once.

    Raises TypeError for a value that is not bytes-like.
    """

    _autoclose = True

    def __init__(self, value: Bytes, *args: Any, **kwargs: Any) -> None:  # Any: as Payload takes them
        if not isinstance(value, Bytes):
            raise TypeError(f"value must be bytes, bytearray or memoryview, got {type(value).__name__}")
        super().__init__(value, *args, **kwargs)
        self._size = value.nbytes if isinstance(value, memoryview) else len(value)
        if self._size > LARGE_BYTES:
            message = f"a body of {self._size} bytes is held in memory as a whole: give a file or an async iterable"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as text."""
        return bytes(self._value).decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the bytes."""
        return bytes(self._value)

    async def write(self, writer: PayloadWriter) -> None:
        """Write the bytes in one piece."""
        await writer.write(self._value)

    async def write_with_length(self, writer: PayloadWriter, content_length: int | None) -> None:
        """Write at most `content_length` of the bytes."""
        await writer.write(
            self._value if content_length is None else memoryview(self._value).cast("B")[:content_length]
        )


def text_encoding(encoding: str | None, content_type: str | None) -> tuple[str, str]:
    """Return the encoding and the Content-Type of text, each of which may tell the other."""
    if encoding is None and content_type is not None:
        encoding = parse_media_type(content_type).parameters.get("charset")
    encoding = encoding or "utf-8"
    return encoding, content_type or f"text/plain; charset={encoding}"


@payload_type(str)
class StringPayload(BytesPayload):
    """Text, encoded as `encoding` or the charset of `content_type` say, else as UTF-8."""

    def __init__(
        self,
        value: str,
        *args: Any,  # Any: as Payload takes them
        encoding: str | None = None,
        content_type: str | None = None,
        **kwargs: Any,  # Any: the same
    ) -> None:
        encoding, content_type = text_encoding(encoding, content_type)
        super().__init__(value.encode(encoding), *args, encoding=encoding, content_type=content_type, **kwargs)


class JsonPayload(BytesPayload):
    """A value as JSON."""

    def __init__(
        self,
        value: Any,  # Any: JSON has values of many types
        encoding: str = "utf-8",
        content_type: str = "application/json",
        dumps: Callable[[Any], str] = json.dumps,  # Any: the same
        *args: Any,  # Any: as Payload takes them
        **kwargs: Any,  # Any: the same
    ) -> None:
        data = dumps(value).encode(encoding)
        super().__init__(data, *args, content_type=content_type, encoding=encoding, **kwargs)


class JsonBytesPayload(BytesPayload):
    """A value as JSON, by an encoder that makes bytes."""

    def __init__(
        self,
        value: Any,  # Any: JSON has values of many types
        dumps: Callable[[Any], bytes],  # Any: the same
        content_type: str = "application/json",
        *args: Any,  # Any: as Payload takes them
        **kwargs: Any,  # Any: the same
    ) -> None:
        super().__init__(dumps(value), *args, content_type=content_type, encoding="utf-8", **kwargs)


@payload_type(AsyncIterable, order=Order.try_last)
class AsyncIterablePayload(Payload):
    """The pieces that an async iterable gives; an async generator is closed after the last one, or before.

    Raises TypeError for a value of another type.
    """

    _autoclose = True

    def __init__(self, value: AsyncIterable[Bytes], *args: Any, **kwargs: Any) -> None:  # Any: as Payload takes them
        if not isinstance(value, AsyncIterable):
            raise TypeError(f"value must be an async iterable, got {type(value).__name__}")
        super().__init__(value, *args, **kwargs)
        self._pieces: AsyncIterator[Bytes] = aiter(value)
        self._cached: bytes | None = None
        self._aclose: Callable[[], Awaitable[object]] | None = getattr(self._pieces, "aclose", None)

    async def write(self, writer: PayloadWriter) -> None:
        """Write piece after piece; nothing the second time.  Raises TypeError for one that is not bytes-like."""
        if self._cached is not None:
            await writer.write(self._cached)
        elif not self._consumed:
            self._consumed = True
            async for piece in self._pieces:
                await writer.write(piece)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return all pieces as one; they are kept, and can be written afterwards."""
        if self._cached is None:
            pieces = [] if self._consumed else [piece async for piece in self._pieces]
            self._cached = b"".join(pieces)
        return self._cached

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the pieces as text, once `as_bytes` has kept them.  Raises TypeError before."""
        if self._cached is None:
            raise TypeError("an async iterable can be decoded only after as_bytes() was awaited")
        return self._cached.decode(encoding, errors)

    async def close(self) -> None:
        """Close the generator, if it is one."""
        self._consumed = True
        aclose, self._aclose = self._aclose, None
        if aclose is not None:
            await aclose()


@payload_type(StreamReader)
class StreamReaderPayload(AsyncIterablePayload):
    """The body of a request, sent as it arrives."""

    def __init__(self, value: StreamReader, *args: Any, **kwargs: Any) -> None:  # Any: as Payload takes them
        super().__init__(value.iter_any(), *args, **kwargs)
