"""Sessions that everybody can read, and nobody can change."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Unpack

from structweb.sessions.sealed import SealedCookieStorage
from structweb.sessions.storage import StorageOptions


class SignedCookieStorage(SealedCookieStorage):
    """Keeps a session in its cookie, signed with HMAC-SHA256 (RFC 2104): its client can read it, but not change it.

    `secret_key` has 32 bytes or more; of several, the first one signs and all are good.  Raises ValueError for a key
    that is shorter, and for none.
    """

    def __init__(self, secret_key: bytes | Sequence[bytes], **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self._keys = [bytes(secret_key)] if isinstance(secret_key, bytes | bytearray) else list(secret_key)
        if not self._keys or any(len(key) < 32 for key in self._keys):
            raise ValueError("expected one or more keys of at least 32 bytes: secrets.token_bytes(32) makes one")

    def _seal(self, text: str) -> str:
        payload = base64.urlsafe_b64encode(text.encode()).decode()
        return f"{payload}.{self._signature(self._keys[0], payload)}"

    def _open(self, cookie: str) -> str | None:
        # No payload has a dot, but a name may: the first one ends the payload, or names could reach into it.
        payload, _, signature = cookie.partition(".")
        sent = signature.encode("utf-8", "surrogateescape")
        if not any(hmac.compare_digest(self._signature(key, payload).encode(), sent) for key in self._keys):
            return None
        try:
            return base64.urlsafe_b64decode(payload).decode()
        except (binascii.Error, ValueError):
            return None

    def _signature(self, key: bytes, payload: str) -> str:
        # The name is signed, too: a cookie of another storage with the same key is none of this one.
        message = f"{self.cookie_name}.{payload}".encode("utf-8", "surrogateescape")
        return base64.urlsafe_b64encode(hmac.digest(key, message, hashlib.sha256)).decode().rstrip("=")
