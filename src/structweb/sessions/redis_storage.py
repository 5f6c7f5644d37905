"""Sessions in Redis, through coredis: on asyncio and trio."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from structweb.sessions.records import KeyFactory, RecordStorage, random_key
from structweb.sessions.storage import StorageOptions, StorageUnavailable, log

try:
    import coredis
    from coredis.exceptions import RedisError
    from coredis.tokens import PureToken
except ImportError as _missing:
    raise ImportError("structweb.sessions.redis_storage needs coredis: pip install 'structweb[redis]'") from _missing


class RedisStorage(RecordStorage):
    """Keeps sessions in Redis, where all workers find them.

    `redis_pool` is a client of coredis; the application enters it (``async with``) for as long as it runs.  Give it a
    `stream_timeout`: this class adds none.  Raises TypeError for another client.
    """

    def __init__(
        self,
        redis_pool: "coredis.Redis[str] | coredis.Redis[bytes]",
        *,
        key_factory: KeyFactory = random_key,
        **options: Unpack[StorageOptions],
    ) -> None:
        super().__init__(key_factory=key_factory, **options)
        if not isinstance(redis_pool, coredis.Redis):
            raise TypeError(f"expected a coredis.Redis, which works on asyncio and trio, got {redis_pool!r}")
        self._redis = redis_pool

    async def _read(self, record: str) -> str | None:
        with _answering():
            found = await self._redis.get(record)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else found

    async def _write(self, record: str, text: str, max_age: int | None, *, only_existing: bool) -> bool:
        with _answering():
            if max_age is not None and max_age <= 0:  # Redis takes no such age
                return bool(await self._redis.delete([record])) or not only_existing
            done = await self._redis.set(record, text, condition=PureToken.XX if only_existing else None, ex=max_age)
        return bool(done)

    async def _remove(self, record: str) -> None:
        with _answering():
            await self._redis.delete([record])


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as exc:  # TimeoutError is an OSError
        log.error("Redis does not keep sessions: %r", exc)
        raise StorageUnavailable(text="503: the sessions are unavailable") from exc
