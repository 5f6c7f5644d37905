"""A client of redis.asyncio in the place of one of coredis: on asyncio only."""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from structweb._server.native import on_asyncio, run_native

T = TypeVar("T")


def is_native(client: object) -> bool:
    """Tell whether `client` is one of redis.asyncio, which whoever made it has imported."""
    module = sys.modules.get("redis.asyncio")
    return module is not None and isinstance(client, module.Redis)


class NativeRedis:
    """What is asked of coredis, asked of redis.asyncio; a cancellation reaches that once, as it expects.

    What redis.asyncio raises comes as ConnectionError.  Raises RuntimeError where asyncio does not run.
    """

    def __init__(self, client: Any) -> None:  # Any: redis-py need not be installed
        self._client = client
        self._error: type[Exception] = sys.modules["redis.exceptions"].RedisError

    async def get(self, name: str) -> str | bytes | None:
        """Return a value, None if there is none."""
        found: str | bytes | None = await self._ask(partial(self._client.get, name))
        return found

    async def set(self, name: str, value: str, *, condition: object, ex: int | None) -> bool:
        """Write a value for `ex` seconds; with a condition (XX) only if it is there; tell whether it was written."""
        return bool(await self._ask(partial(self._client.set, name, value, ex=ex, xx=condition is not None)))

    async def delete(self, names: list[str]) -> int:
        """Delete values; return how many there were."""
        return int(await self._ask(partial(self._client.delete, *names)))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        if not on_asyncio():
            raise RuntimeError(
                "a client of redis.asyncio works on asyncio only: on trio, RedisStorage needs a coredis.Redis"
            )

        async def ask_redis() -> T:
            return await call()

        try:
            return await run_native(ask_redis)
        except self._error as exc:
            raise ConnectionError(f"redis.asyncio: {exc}") from exc
