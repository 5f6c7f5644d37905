"""TLS as bytes in, bytes out: what both backends' sockets speak through.

The loops' own TLS is not used: asyncio's takes 256 KiB for each connection, waits at a close for the peer's
answer, and hides how much it still has to send; trio's cannot send without waiting.  Here a write is encrypted
and sent in one go, and the same peer gets the same treatment on every backend.
"""

import ssl
from typing import Final

import anyio

from structweb._server.transport.base import Transport

#: Bytes decrypted in one go; a TLS record holds 16384 at most.
READ_SIZE: Final = 65536


class TlsCodec:
    """The server's side of one TLS connection, without any I/O.

    After each call, take `outgoing` and send it: handshake messages, alerts and encrypted data.
    """

    __slots__ = ("_incoming", "_outgoing", "ended", "tls")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls: ssl.SSLObject = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        #: The peer has said that it sends no more.
        self.ended = False

    def handshake(self, data: bytes) -> bool:
        """Take the peer's bytes, b"" to begin; return whether the handshake is done.  Raises ssl.SSLError."""
        if data:
            self._incoming.write(data)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, data: bytes) -> bytes:
        """Take the peer's bytes and return what they say, b"" when a record is not complete yet.

        Sets `ended` when the peer has said its last.  Raises ssl.SSLError for what is no proper TLS.
        """
        if self.ended:
            return b""  # nothing counts behind the last word
        if data:
            self._incoming.write(data)
        plain = b""
        while True:
            try:
                piece = self.tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                return plain
            except ssl.SSLZeroReturnError:
                piece = b""
            if not piece:
                self.ended = True
                return plain
            plain = plain + piece if plain else piece

    def encrypt(self, data: bytes) -> bytes:
        """Return `data` as TLS records.  Raises ssl.SSLError when the connection broke."""
        if data:
            self.tls.write(data)  # all of it: memory takes any amount
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """Return what tells the peer that we send no more (close_notify), b"" when TLS is beyond that."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # it waits for the peer's own farewell, or broke before: what is to be sent is there
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """Return what has to be sent to the peer by now."""
        return self._outgoing.read()


async def handshake(transport: Transport, context: ssl.SSLContext, timeout: float) -> TlsCodec:
    """Return the TLS state of a connection whose peer has come through the handshake over `transport`.

    The codec may hold bytes that came behind the handshake: decrypt b"" to get them.
    Raises TimeoutError after `timeout` seconds, ssl.SSLError for a peer that cannot agree with us (it has been
    told), ConnectionError for one that left.
    """
    codec = TlsCodec(context)
    with anyio.move_on_after(timeout):
        await _shake_hands(transport, codec)
        return codec
    raise TimeoutError(f"the TLS handshake took longer than {timeout} seconds")


async def _shake_hands(transport: Transport, codec: TlsCodec) -> None:
    data = b""
    while True:
        try:
            done = codec.handshake(data)
        finally:
            if reply := codec.outgoing():
                transport.write(reply)
        if done:
            return
        if transport.congested:
            await transport.drain()
        data = await transport.receive()
        if not data:
            raise ConnectionResetError("the peer left during the TLS handshake")
