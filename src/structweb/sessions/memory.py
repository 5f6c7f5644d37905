"""Sessions in the memory of the process."""

import time
from typing import Unpack

from structweb.sessions.records import KeyFactory, RecordStorage, random_key
from structweb.sessions.storage import StorageOptions


class InMemoryStorage(RecordStorage):
    """Keeps sessions in this process: gone when it ends, and unknown to its siblings.  For development and tests.

    Records past their `max_age` are dropped as others are written; those without one stay.
    """

    def __init__(self, *, key_factory: KeyFactory = random_key, **options: Unpack[StorageOptions]) -> None:
        super().__init__(key_factory=key_factory, **options)
        self._records: dict[str, tuple[str, float]] = {}

    async def _read(self, record: str) -> str | None:
        text, ends = self._records.get(record, (None, 0.0))
        return text if ends > time.time() else None

    async def _write(self, record: str, text: str, max_age: int | None, *, only_existing: bool) -> bool:
        now = time.time()
        for name in [name for name, (_, ends) in self._records.items() if ends <= now]:
            del self._records[name]
        if only_existing and record not in self._records:
            return False
        self._records[record] = text, float("inf") if max_age is None else now + max_age
        return True

    async def _remove(self, record: str) -> bool:
        _, ends = self._records.pop(record, ("", 0.0))
        return ends > time.time()
