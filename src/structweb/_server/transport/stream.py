"""A transport over any anyio byte stream: pipes in memory, or whatever a user brings."""

from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute

from structweb._server.config import ServerConfig
from structweb._server.transport.base import Inbound, TaskStarter, tls_info
from structweb._server.transport.pull import READ_SIZE, PullTransport

#: What a stream raises when its peer is gone, or when it has been closed.
BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)

ATTRIBUTES: Final[dict[str, Any]] = {  # Any: each attribute has its own type
    "peername": SocketAttribute.remote_address,
    "sockname": SocketAttribute.local_address,
    "socket": SocketAttribute.raw_socket,
}


class StreamTransport(PullTransport):
    """Bytes of an anyio stream.  What is written waits for `drain`, since a stream sends only when awaited."""

    __slots__ = ("_pulling", "_sending", "_stream", "_unsent", "_write_failure", "congested")

    def __init__(self, stream: ByteStream, config: ServerConfig, tasks: TaskStarter) -> None:
        super().__init__(config, tasks)
        self._stream = stream
        self._pulling: anyio.CancelScope | None = None
        self._sending: anyio.CancelScope | None = None
        self._unsent = bytearray()
        self._write_failure: Exception | None = None
        self.congested = False

    async def pull(self) -> bytes:
        """Read once."""
        # Not every stream wakes its reader when it is closed from another task; the scope does.
        with anyio.CancelScope() as self._pulling:
            try:
                return await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                return b""
            except BROKEN as exc:
                raise ConnectionResetError(f"the stream broke: {exc!r}") from exc
        if self._interrupted and self._inbound is Inbound.OPEN:
            raise InterruptedError("receive() was interrupted")
        raise ConnectionAbortedError("this side has closed the connection")

    def _interrupt_pull(self) -> None:
        if self._pulling is not None:
            self._pulling.cancel()

    def write(self, data: bytes) -> None:
        """Keep `data` for `drain`."""
        if data and self._write_failure is None and self._inbound is not Inbound.CLOSED:
            self._unsent += data
            self.congested = True

    async def drain(self) -> None:
        """Send what was written.  Raises ConnectionError when the peer is gone."""
        while self._unsent and self._write_failure is None:
            piece = bytes(self._unsent[:READ_SIZE])
            # As in pull: not every stream wakes its writer when it is closed from another task.
            with anyio.CancelScope() as self._sending:
                try:
                    await self._stream.send(piece)
                except BROKEN as exc:
                    self._write_failure = exc
                    self._unsent.clear()
            del self._unsent[: len(piece)]
        self.congested = False
        if self._inbound is Inbound.CLOSED:
            raise ConnectionAbortedError("cannot send: this side has closed the connection")
        if self._write_failure is not None or self._inbound is Inbound.BROKEN:
            raise ConnectionResetError("cannot send: the peer is gone") from self._write_failure

    def unsent(self) -> int:
        """Return how many bytes wait for `drain`."""
        return len(self._unsent)

    async def send_eof(self) -> None:
        """Send what was written, then end our side if the stream can."""
        await self.drain()
        with suppress(NotImplementedError, *BROKEN), anyio.CancelScope() as self._sending:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Send what was written and close the stream."""
        try:
            if self._inbound is not Inbound.CLOSED:
                with suppress(ConnectionError):
                    await self.drain()
                self._stop()
                # TLS waits here for the peer's goodbye: an abort must end that, too.
                with suppress(*BROKEN), anyio.CancelScope() as self._sending:
                    await self._stream.aclose()
        finally:
            self.abort()
            await anyio.aclose_forcefully(self._stream)

    def _stop(self) -> None:
        super()._stop()
        if self._pulling is not None:
            self._pulling.cancel()

    def abort(self, *, truncated: bool = False) -> None:
        """Close what can be closed without waiting; streams that have no `close` need `aclose` as well.

        A stream has no word for a reset, so `truncated` makes no difference.
        """
        self._stop()
        self._unsent.clear()
        if self._sending is not None:
            self._sending.cancel()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: each name has its own type
        """Return what the stream's typed attributes tell, else `default`."""
        if name in ATTRIBUTES:
            return self._stream.extra(ATTRIBUTES[name], default)
        tls = self._stream.extra(TLSAttribute.ssl_object, None)
        return default if tls is None else tls_info(tls, name, default)


def wrap_stream(stream: ByteStream, config: ServerConfig, task_group: TaskStarter) -> StreamTransport:
    """Return a transport over `stream`; its watcher, if one is ever needed, runs in `task_group`."""
    return StreamTransport(stream, config, task_group)
