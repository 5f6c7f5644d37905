"""Sessions in memcached, through pymemcache in worker threads: on asyncio and trio."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol, TypeVar, Unpack

from anyio import to_thread

from structweb.sessions.records import KeyFactory, RecordStorage, random_key
from structweb.sessions.storage import StorageOptions, StorageUnavailable, log

try:
    from pymemcache.client.base import PooledClient
    from pymemcache.exceptions import MemcacheError, MemcacheUnexpectedCloseError
except ImportError as _missing:
    raise ImportError(
        "structweb.sessions.memcached_storage needs pymemcache: pip install 'structweb[memcached]'"
    ) from _missing

T = TypeVar("T")

#: What a connection raises that memcached has ended.  One that cannot be made raises something else.
_ENDED: Final = (MemcacheUnexpectedCloseError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)

#: Longer ages are taken for a time since 1970.
_LONGEST_AGE: Final = 30 * 24 * 60 * 60


class MemcachedClient(Protocol):
    """What is asked of a client; every one of pymemcache's has it."""

    def get(self, key: str) -> object:
        """Return a value, None if there is none."""

    def set(self, key: str, value: bytes, *, expire: int, noreply: bool) -> object:
        """Write a value."""

    def replace(self, key: str, value: bytes, *, expire: int, noreply: bool) -> object:
        """Write a value that is there already; tell whether it was."""

    def delete(self, key: str, *, noreply: bool) -> object:
        """Delete a value."""


class MemcachedStorage(RecordStorage):
    """Keeps sessions in memcached, where all workers find them, until it needs the room.

    `memcached_conn` is a client of pymemcache: a `PooledClient` works in several threads at once, as many as its
    `max_pool_size` says, others in one after the other.  Give it a `connect_timeout` and a `timeout`: this class adds
    none.  Raises TypeError for another client.
    """

    def __init__(
        self,
        memcached_conn: MemcachedClient,
        *,
        key_factory: KeyFactory = random_key,
        **options: Unpack[StorageOptions],
    ) -> None:
        super().__init__(key_factory=key_factory, **options)
        if not all(callable(getattr(memcached_conn, name, None)) for name in ("get", "set", "replace", "delete")):
            raise TypeError(f"expected a client of pymemcache, got {memcached_conn!r}")
        self.conn = memcached_conn
        # Beyond that a pool makes nobody wait: it raises.
        self._turn = threading.Semaphore(_threads(memcached_conn))

    async def _read(self, record: str) -> str | None:
        found = await self._ask(partial(self.conn.get, record))
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else None

    async def _write(self, record: str, text: str, max_age: int | None, *, only_existing: bool) -> bool:
        write = self.conn.replace if only_existing else self.conn.set
        expire = 0 if max_age is None else (max_age or -1)
        if expire > _LONGEST_AGE:
            expire += int(time.time())
        return bool(await self._ask(partial(write, record, text.encode(), expire=expire, noreply=False)))

    async def _remove(self, record: str) -> bool:
        return bool(await self._ask(partial(self.conn.delete, record, noreply=False)))

    async def _ask(self, call: Callable[[], T]) -> T:
        try:
            # Whoever is cancelled does not wait for the answer.
            return await to_thread.run_sync(self._in_turn, call, abandon_on_cancel=True)
        except (MemcacheError, OSError) as exc:
            log.error("memcached does not keep sessions: %r", exc)
            raise StorageUnavailable(text="503: the sessions are unavailable") from exc

    def _in_turn(self, call: Callable[[], T]) -> T:
        with self._turn:
            for _ in range(_kept(self.conn)):
                # memcached has ended it since it was used last: it was started again, or has an idle_timeout.
                with suppress(*_ENDED):
                    return call()
            return call()


def _threads(client: object) -> int:
    """Return in how many threads at once a client works."""
    if isinstance(client, PooledClient):
        return int(client.client_pool.max_size)
    if getattr(client, "use_pooling", False) is True:  # a HashClient
        return getattr(client, "default_kwargs", {}).get("max_pool_size") or 2**31
    return 1


def _kept(client: object) -> int:
    """Return how many connections a client may have kept from the last time."""
    return len(client.client_pool.free) if isinstance(client, PooledClient) else 1
