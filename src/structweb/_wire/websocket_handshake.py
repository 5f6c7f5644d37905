"""The opening handshake of a WebSocket (RFC 6455 section 4), as header fields in and header fields out, for both sides."""

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from structweb._wire.events import HeaderBlock
from structweb._wire.websocket_deflate import (
    NAME,
    DeflateParameters,
    check_answer,
    choose_offer,
    make_offer,
    parse_extensions,
)

#: 13 is the RFC; 8 and 7 are drafts with the same frames, which aiohttp takes, too.
VERSIONS: Final = ("13", "8", "7")

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Fields = list[tuple[str, str]]


class HandshakeError(Exception):
    """A handshake that fails: a server answers `status` with `fields` and `message`, a client gives up."""

    def __init__(self, message: str, *, status: int = 400, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.fields = tuple(fields)


class Accepted(NamedTuple):
    """A handshake that succeeded."""

    #: What the answer with status 101 carries: all that a WebSocket needs.  Empty on the client's side.
    fields: Fields
    #: The subprotocol that both sides speak, if any.
    protocol: str | None
    #: What to make the wire with; None for no compression.
    deflate: DeflateParameters | None
    #: The subprotocols that the client offered, in its order.
    offered: tuple[str, ...]


class HandshakeRequest(NamedTuple):
    """What a client asks: `fields` go into its GET request beside Host."""

    fields: Fields
    key: bytes
    protocols: tuple[str, ...]
    #: The largest window offered for compression, as its number of bits; 0 for no offer.
    window_bits: int


def accept_key(key: bytes) -> str:
    """Return what a server answers to a Sec-WebSocket-Key."""
    # SHA-1 is what RFC 6455 has: it proves that the server knows the protocol, nothing else.
    return base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest()).decode("ascii")


def _values(block: HeaderBlock, name: bytes) -> list[bytes]:
    return [value for key, value in block.raw if key.lower() == name]


def _list(block: HeaderBlock, name: bytes) -> str:
    """Return a list field as one line (RFC 9110 section 5.3), its odd bytes as characters that no token has."""
    return ",".join(value.decode("latin-1") for value in _values(block, name))


def _window_bits(compress: bool | int) -> int:
    if compress is True:
        return 15
    if compress and not 9 <= compress <= 15:
        raise ValueError(f"compress must be a bool or the bits of a window, 9 to 15, got {compress!r}")
    return int(compress)


def accept_handshake(block: HeaderBlock, *, protocols: Sequence[str] = (), compress: bool | int = True) -> Accepted:
    """Return the answer to a request for a WebSocket; `compress` may be the bits of the largest window to use.

    Raises HandshakeError, whatever is wrong.  Any method will do, as with aiohttp: that is the router's business.
    """
    key = _check_request(block)
    names = [name.strip(" \t") for name in _list(block, b"sec-websocket-protocol").split(",")]
    offered = tuple(name for name in names if name)
    protocol = next((name for name in offered if name in protocols), None)
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    deflate = None
    window_bits = _window_bits(compress)
    if window_bits:
        chosen = choose_offer(_list(block, b"sec-websocket-extensions"), window_bits)
        if chosen is not None:
            deflate, line = chosen
            fields.append(("Sec-WebSocket-Extensions", line))
    if protocol is not None:
        fields.append(("Sec-WebSocket-Protocol", protocol))
    return Accepted(fields, protocol, deflate, offered)


def _check_request(block: HeaderBlock) -> bytes:
    upgrade = block.upgrade
    if upgrade is None:
        connection = _list(block, b"connection")
        if not _values(block, b"upgrade"):
            raise HandshakeError("expected a WebSocket handshake, got a request without Upgrade")
        raise HandshakeError(f"expected HTTP/1.1 and 'Connection: Upgrade', got {connection!r}")
    if "websocket" not in [token.strip(" \t") for token in upgrade.split(",")]:
        raise HandshakeError(f"expected 'Upgrade: websocket', got {upgrade!r}")
    version = _list(block, b"sec-websocket-version")
    if version not in VERSIONS:
        raise HandshakeError(
            f"expected a Sec-WebSocket-Version of {', '.join(VERSIONS)}, got {version!r}",
            fields=[("Sec-WebSocket-Version", ", ".join(VERSIONS))],
        )
    keys = _values(block, b"sec-websocket-key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise HandshakeError(f"expected one Sec-WebSocket-Key of 16 bytes in base64, got {keys!r}")
    return keys[0]


def request_handshake(
    *, protocols: Sequence[str] = (), compress: bool | int = True, key: bytes | None = None
) -> HandshakeRequest:
    """Return what a client asks a server with; keep it for `check_response`.

    Raises ValueError for subprotocols that are no tokens, or not unique.
    """
    if len(set(protocols)) < len(protocols) or not all(_NAME.fullmatch(name) for name in protocols):
        raise ValueError(f"subprotocols must be tokens (RFC 9110 section 5.6.2), each once, got {protocols!r}")
    key = base64.b64encode(os.urandom(16)) if key is None else key
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key.decode("ascii")),
        ("Sec-WebSocket-Version", "13"),
    ]
    window_bits = _window_bits(compress)
    if window_bits:
        fields.append(("Sec-WebSocket-Extensions", make_offer(window_bits)))
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    return HandshakeRequest(fields, key, tuple(protocols), window_bits)


def check_response(request: HandshakeRequest, status: int, fields: Sequence[tuple[bytes, bytes]]) -> Accepted:
    """Return what client and server agreed on (RFC 6455 section 4.1).  Raises HandshakeError if they did not."""
    block = HeaderBlock(tuple(fields))
    if status != 101:
        raise HandshakeError(f"expected status 101, got {status}", status=status)
    if _list(block, b"upgrade").lower() != "websocket":
        raise HandshakeError(f"expected 'Upgrade: websocket', got {_list(block, b'upgrade')!r}")
    options = [option.strip(" \t").lower() for option in _list(block, b"connection").split(",")]
    if "upgrade" not in options:
        raise HandshakeError(f"expected 'Connection: Upgrade', got {_list(block, b'connection')!r}")
    accept = _list(block, b"sec-websocket-accept")
    if accept != accept_key(request.key):
        raise HandshakeError(f"expected Sec-WebSocket-Accept: {accept_key(request.key)}, got {accept!r}")
    protocol = _list(block, b"sec-websocket-protocol") or None
    if protocol is not None and protocol not in request.protocols:
        raise HandshakeError(f"expected a subprotocol out of {request.protocols}, got {protocol!r}")
    return Accepted([], protocol, _agreed(request, _list(block, b"sec-websocket-extensions")), request.protocols)


def _agreed(request: HandshakeRequest, header: str) -> DeflateParameters | None:
    if not header:
        return None
    extensions = list(parse_extensions(header))
    if request.window_bits and len(extensions) == 1:
        name, parameters = extensions[0]
        if name == NAME and parameters is not None:
            agreed = check_answer(dict(parameters), request.window_bits)
            if agreed is not None:
                return agreed
    raise HandshakeError(f"expected extensions that were offered, got {header!r}")
