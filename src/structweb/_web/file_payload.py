"""Files as bodies: read in worker threads, closed when they are sent, or when that fails."""

import codecs
import io
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, TypeVar

from structweb._web.headers import CONTENT_DISPOSITION
from structweb._web.payload import Payload, PayloadWriter, StringPayload, payload_type, text_encoding

T = TypeVar("T")

#: Bytes that are read at once: few hops to a worker thread, and little memory.
CHUNK: Final = 2**18


async def _in_thread(call: Callable[[], T]) -> T:
    """Return what `call` returns in a worker thread; a cancellation waits for it, so that nobody uses a closed file."""
    from anyio import to_thread  # payloads are importable where no event loop is installed

    return await to_thread.run_sync(call)


def _file_name(file: object) -> str | None:
    name = getattr(file, "name", None)
    # A descriptor has a number for a name, a temporary file sometimes "<fdopen>".
    return Path(name).name if isinstance(name, str) and name and name[0] != "<" and name[-1] != ">" else None


def _size_below(file: Any) -> int:  # Any: as IOBasePayload takes them
    """Return the size of the file behind a descriptor.  Raises OSError if reading gives others than its bytes."""
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if not isinstance(raw, io.FileIO | SpooledTemporaryFile):
        raise OSError(f"not a plain file: {file!r}")  # one that decompresses has the descriptor of what is compressed
    return os.fstat(file.fileno()).st_size


class IOBasePayload(Payload):
    """A file that is open for reading bytes, from its position to its end.

    Its type is guessed from its name, and it is saved under that name: `disposition` is ``attachment``.
    """

    def __init__(
        self,
        value: IO[Any],  # Any: bytes here, text in a subclass
        disposition: str | None = "attachment",
        *args: Any,  # Any: as Payload takes them
        **kwargs: Any,  # Any: the same
    ) -> None:
        if kwargs.get("filename") is None:
            kwargs["filename"] = _file_name(value)
        super().__init__(value, *args, **kwargs)
        if self._filename is not None and disposition is not None and CONTENT_DISPOSITION not in self._headers:
            self.set_content_disposition(disposition, filename=self._filename)
        self._start: int | None = None

    @property
    def size(self) -> int | None:
        """The bytes from where the file stood to its end, when first asked; None for a pipe, a `gzip` file and the like.

        What was told once holds, though the file may grow: it stands in a head that was sent.
        """
        if self._size is None:
            start = self._find_start()
            try:
                self._size = None if start is None else max(0, _size_below(self._value) - start)
            except (OSError, AttributeError, ValueError):  # no descriptor, or closed
                return None
        return self._size

    def _find_start(self) -> int | None:
        """Return the position where the body begins; None if there are no positions."""
        if self._start is None:
            try:
                self._start = self._value.tell()
            except (OSError, AttributeError, ValueError):
                return None
        return self._start

    def _rewind(self) -> None:
        start = self._find_start()
        if start is not None and self._value.seekable():
            self._value.seek(start)

    def _read(self, size: int) -> bytes:
        """Return at most about `size` bytes; b"" at the end.  Runs in a worker thread."""
        data: bytes | None = self._value.read(size)
        return data or b""

    def _read_first(self, size: int) -> bytes:
        self._rewind()
        return self._read(size)

    async def write(self, writer: PayloadWriter) -> None:
        """Write the file, in pieces of 256 KiB."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: PayloadWriter, content_length: int | None) -> None:
        """Write at most `content_length` bytes of the file.

        No more than `size` either: a file that grows meanwhile would outgrow the length that was announced.  Raises
        EOFError for a file that is cut meanwhile: where no length was announced, nobody could tell.
        """
        sizes = [size for size in (self.size, content_length) if size is not None]
        left = min(sizes) if sizes else None
        read = self._read_first
        while left is None or left > 0:
            wanted = CHUNK if left is None else min(CHUNK, left)
            piece = await _in_thread(lambda: read(wanted))  # noqa: B023 - it has run when the next round begins
            read = self._read
            if not piece:
                if left is not None and self.size is not None:
                    raise EOFError(f"{self._value!r} was cut while it was sent, {left} bytes are missing")
                break
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            await writer.write(piece)

    def _read_everything(self) -> bytes:
        self._rewind()
        data: bytes = self._value.read()
        return data

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return all bytes of the file, read in a worker thread."""
        return await _in_thread(self._read_everything)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the file as text.  It is read here and now: not for use in an event loop."""
        return self._read_everything().decode(encoding, errors)

    async def close(self) -> None:
        """Close the file."""
        self._consumed = True
        self._value.close()  # here: for a file that was read, it does not wait, and clean-up cannot be cancelled


@payload_type(io.StringIO)
class StringIOPayload(StringPayload):
    """The text of a StringIO, from its position."""

    def __init__(self, value: io.StringIO, *args: Any, **kwargs: Any) -> None:  # Any: as StringPayload takes them
        super().__init__(value.read(), *args, **kwargs)


@payload_type(io.TextIOBase)
class TextIOPayload(IOBasePayload):
    """A text file, encoded as `encoding` or the charset of `content_type` say, else as UTF-8.

    If the file is in that encoding, its bytes are sent as they are, line ends included, with their length.
    """

    def __init__(
        self,
        value: Any,  # Any: a text file, and IO[Any] above
        *args: Any,  # Any: as IOBasePayload takes them
        encoding: str | None = None,
        content_type: str | None = None,
        **kwargs: Any,  # Any: the same
    ) -> None:
        encoding, content_type = text_encoding(encoding, content_type)
        self._text = value
        as_it_is = _same_bytes(value, encoding)
        super().__init__(
            value.buffer if as_it_is else value, *args, encoding=encoding, content_type=content_type, **kwargs
        )
        self._as_it_is = as_it_is
        self._encoder = codecs.getincrementalencoder(encoding)()
        if as_it_is:
            self._start = value.tell()

    @property
    def size(self) -> int | None:
        """The length of the file from its position, if it is in the encoding asked for; else None."""
        return super().size if self._as_it_is else None

    def _rewind(self) -> None:
        super()._rewind()
        self._encoder.reset()

    def _read(self, size: int) -> bytes:
        if self._as_it_is:
            return super()._read(size)
        text: str = self._value.read(size)
        return self._encoder.encode(text) if text else b""  # not "": it may have a byte order mark

    def _read_everything(self) -> bytes:
        self._rewind()
        return b"".join(iter(lambda: self._read(CHUNK), b""))

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the text in the payload's encoding, read in a worker thread."""
        return await _in_thread(self._read_everything)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text.  It is read here and now: not for use in an event loop."""
        return self._read_everything().decode(self._encoding or encoding, errors)

    async def close(self) -> None:
        """Close the file."""
        self._consumed = True
        self._text.close()


def _same_bytes(file: object, encoding: str) -> bool:
    """Tell whether the bytes below a text file are its text in `encoding`, from where it stands."""
    if not isinstance(file, io.TextIOWrapper) or file.encoding.lower() != encoding.lower():
        return False
    try:
        # A larger number is no position but the state of a decoder.
        return file.seekable() and file.tell() < 2**63
    except (OSError, ValueError):
        return False


@payload_type(io.BytesIO)
class BytesIOPayload(IOBasePayload):
    """The bytes of a BytesIO, from its position; never in a thread, and it stays open."""

    _autoclose = True

    @property
    def size(self) -> int:
        """The bytes from where it stood to its end, when first asked."""
        if self._size is None:
            with self._value.getbuffer() as buffer:
                self._size = max(0, len(buffer) - (self._find_start() or 0))
        return self._size

    async def write_with_length(self, writer: PayloadWriter, content_length: int | None) -> None:
        """Write at most `content_length` bytes."""
        left = self.size if content_length is None else min(self.size, content_length)
        self._rewind()
        while left > 0 and (piece := self._value.read(min(CHUNK, left))):
            left -= len(piece)
            await writer.write(piece)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the bytes."""
        return self._read_everything()

    async def close(self) -> None:
        """Do nothing: memory needs no closing, and the caller may want to read it again."""


@payload_type((io.BufferedReader, io.BufferedRandom))
class BufferedReaderPayload(IOBasePayload):
    """A file, as ``open(..., "rb")`` returns it."""


# Behind the others, which are more precise about what a file is.
payload_type(io.IOBase)(IOBasePayload)
