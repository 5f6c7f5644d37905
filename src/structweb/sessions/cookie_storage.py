"""Sessions that nobody but the server can read: Fernet, of the package `cryptography`."""

import base64
from collections.abc import Sequence
from typing import Unpack

from structweb.sessions.sealed import SealedCookieStorage
from structweb.sessions.storage import StorageOptions

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
except ImportError as _missing:
    raise ImportError(
        "structweb.sessions.cookie_storage needs cryptography: pip install 'structweb[sessions]'"
    ) from _missing

Key = str | bytes | bytearray | Fernet


class EncryptedCookieStorage(SealedCookieStorage):
    """Keeps a session in its cookie, encrypted with Fernet.

    `secret_key` is what ``Fernet.generate_key()`` makes, as str, or the 32 bytes that it stands for, or a `Fernet`.
    Of a list of keys the first one encrypts and all decrypt.  Cookies older than `max_age` seconds are not accepted.
    Raises ValueError for a key of another length, and for none.
    """

    def __init__(self, secret_key: Key | MultiFernet | Sequence[Key], **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        if isinstance(secret_key, MultiFernet):
            self._fernet = secret_key
            return
        keys = [secret_key] if isinstance(secret_key, str | bytes | bytearray | Fernet) else secret_key
        self._fernet = MultiFernet([_fernet(key) for key in keys])

    def _seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def _open(self, cookie: str) -> str | None:
        try:
            return self._fernet.decrypt(cookie.encode("utf-8", "surrogateescape"), ttl=self.max_age).decode()
        except (InvalidToken, UnicodeDecodeError):
            return None


def _fernet(key: Key) -> Fernet:
    if isinstance(key, Fernet):
        return key
    return Fernet(base64.urlsafe_b64encode(key) if isinstance(key, bytes | bytearray) else key)
