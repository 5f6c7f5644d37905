"""Sessions in Redis, through coredis: on asyncio and trio."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Protocol, Unpack

from structweb.sessions.records import KeyFactory, RecordStorage, random_key
from structweb.sessions.redis_native import NativeRedis, is_native
from structweb.sessions.storage import StorageOptions, StorageUnavailable, log

try:
    import coredis
    from coredis.exceptions import RedisError
    from coredis.tokens import PureToken
except ImportError as _missing:
    raise ImportError("structweb.sessions.redis_storage needs coredis: pip install 'structweb[redis]'") from _missing


class AsyncioRedis(Protocol):
    """A `redis.asyncio.Redis`, told from others when it is used."""

    def get(self, name: str, /) -> Awaitable[str | bytes | None]:
        """Return a value."""


class RedisStorage(RecordStorage):
    """Keeps sessions in Redis, where all workers find them.

    `redis_pool` is a client of coredis; the application enters it (``async with``) for as long as it runs.  Give it a
    `stream_timeout`: this class adds none.  On asyncio it may be a client of redis.asyncio instead: on trio each request
    for a session then raises RuntimeError.  Raises TypeError for another client.
    """

    def __init__(
        self,
        redis_pool: "coredis.Redis[str] | coredis.Redis[bytes] | AsyncioRedis",
        *,
        key_factory: KeyFactory = random_key,
        **options: Unpack[StorageOptions],
    ) -> None:
        super().__init__(key_factory=key_factory, **options)
        self._redis: coredis.Redis[str] | coredis.Redis[bytes] | NativeRedis
        if isinstance(redis_pool, coredis.Redis):
            self._redis = redis_pool
        elif is_native(redis_pool):
            self._redis = NativeRedis(redis_pool)
        else:
            raise TypeError(
                f"expected a coredis.Redis, which works on asyncio and trio, or a redis.asyncio.Redis, got {redis_pool!r}"
            )

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

    async def _remove(self, record: str) -> bool:
        with _answering():
            return bool(await self._redis.delete([record]))


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as exc:  # TimeoutError is an OSError
        log.error("Redis does not keep sessions: %r", exc)
        raise StorageUnavailable(text="503: the sessions are unavailable") from exc
