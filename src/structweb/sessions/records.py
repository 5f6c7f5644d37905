"""Sessions that live in a record of the server's: their cookie holds the record's key."""

import re
import uuid
from abc import abstractmethod
from collections.abc import Callable
from typing import Final, Unpack

from structweb._web.request import Request
from structweb._web.streaming import StreamResponse
from structweb.sessions.session import Session
from structweb.sessions.storage import AbstractStorage, StorageOptions, log

KeyFactory = Callable[[], str]

#: What a key in a cookie may be: memcached takes no more, and nobody makes others.
_KEY: Final = re.compile(r"[!-~]{1,180}")


def random_key() -> str:
    """Return a key that cannot be guessed: 122 random bits."""
    return uuid.uuid4().hex


class RecordStorage(AbstractStorage):
    """Keeps each session as text in a record, under the cookie's name and a key that the cookie holds."""

    def __init__(self, *, key_factory: KeyFactory = random_key, **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self._key_factory = key_factory

    async def load_session(self, request: Request) -> Session:
        """Return the session whose key is in the cookie; a new one, which gets another key, if there is no such record.

        Raises `StorageUnavailable` if the storage does not answer.
        """
        key = self.load_cookie(request)
        if key is None or not _KEY.fullmatch(key):
            return self._fresh()
        text = await self._read(self._record(key))
        if text is None:
            return self._fresh()
        return Session(key, data=self._decode(text), new=False, max_age=self.max_age)

    async def save_session(self, request: Request, response: StreamResponse, session: Session) -> None:
        """Write the record and set the cookie; delete both for a session that is empty.

        A session that was invalidated or renewed by another request meanwhile stays so: nothing is written.
        Raises `StorageUnavailable` if the storage does not answer, ValueError for a key (of `key_factory`, or set as
        identity) that could not be read from a cookie.
        """
        retired = [str(identity) for identity in session._retired]
        key = None if session.identity is None else str(session.identity)
        if session.empty:
            for old in retired if key is None else [*retired, key]:
                await self._remove(self._record(old))
            self.save_cookie(response, "")
            return
        if key is not None and not session.new:
            written = await self._write(self._record(key), self._text(session), session.max_age, only_existing=True)
            if not written:
                log.info("A session was not saved: its record is gone, by another request or by its age")
                return
        else:
            key = key or self._key_factory()
            if not _KEY.fullmatch(key):
                raise ValueError(f"the key of a session must be 1 to 180 visible characters of ASCII, got {key!r}")
            await self._write(self._record(key), self._text(session), session.max_age, only_existing=False)
        there = [await self._remove(self._record(old)) for old in retired]
        if not session.new and not all(there):
            # Renewed here, and ended by another request meanwhile: what was ended must not go on under another key.
            await self._remove(self._record(key))
            log.info("A session was not renewed: its record is gone, by another request or by its age")
            return
        self.save_cookie(response, key, max_age=session.max_age)

    def _record(self, key: str) -> str:
        return f"{self.cookie_name}_{key}"

    def _text(self, session: Session) -> str:
        return self._encoder(self._get_session_data(session))

    @abstractmethod
    async def _read(self, record: str) -> str | None:
        """Return the text of a record, None if there is none."""

    @abstractmethod
    async def _write(self, record: str, text: str, max_age: int | None, *, only_existing: bool) -> bool:
        """Write a record that lives for `max_age` seconds; tell whether, for one that has to be there already."""

    @abstractmethod
    async def _remove(self, record: str) -> bool:
        """Delete a record; tell whether it was there."""
