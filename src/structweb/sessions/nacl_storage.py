"""Sessions that nobody but the server can read: NaCl's SecretBox, of the package `pynacl`."""

import binascii
from collections.abc import Sequence
from typing import Unpack

from structweb.sessions.sealed import SealedCookieStorage
from structweb.sessions.session import Session
from structweb.sessions.storage import StorageOptions

try:
    from nacl.encoding import Base64Encoder
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox
except ImportError as _missing:
    raise ImportError("structweb.sessions.nacl_storage needs pynacl: pip install 'structweb[nacl]'") from _missing


class NaClCookieStorage(SealedCookieStorage):
    """Keeps a session in its cookie, encrypted with a SecretBox and a random nonce.

    `secret_key` has 32 bytes; of a list of keys the first one encrypts and all decrypt.  Raises ValueError for a key of
    another length, and for none.
    """

    def __init__(self, secret_key: bytes | Sequence[bytes], **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        keys = [secret_key] if isinstance(secret_key, bytes | bytearray) else secret_key
        self._boxes = [SecretBox(bytes(key)) for key in keys]
        if not self._boxes:
            raise ValueError("expected one or more keys of 32 bytes")

    def empty_session(self) -> Session:
        """Return an empty session."""
        return self._fresh()

    def _seal(self, text: str) -> str:
        return self._boxes[0].encrypt(text.encode(), encoder=Base64Encoder).decode()

    def _open(self, cookie: str) -> str | None:
        for box in self._boxes:
            try:
                return box.decrypt(cookie.encode("utf-8", "surrogateescape"), encoder=Base64Encoder).decode()
            except (binascii.Error, CryptoError, ValueError, TypeError):
                continue  # the key of another one, or no cookie of ours at all
        return None
