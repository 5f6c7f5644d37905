"""A session: what is remembered of one client, from request to request."""

import time
from collections.abc import Iterator, MutableMapping
from typing import Any, TypedDict


class SessionData(TypedDict, total=False):
    """What a storage keeps of a session: when it was created or last changed (seconds since 1970), and its items."""

    created: int
    session: dict[str, Any]  # Any: what users store, as far as the encoder takes it


class Session(MutableMapping[str, Any]):  # Any: what users store
    """A dict for one client.  Setting and deleting items marks it changed; a change inside of a value needs `changed()`.

    `identity` is what the storage knows it by, None for a new session.  `data` that is older than `max_age` seconds is
    dropped.
    """

    def __init__(self, identity: object, *, data: SessionData | None, new: bool, max_age: int | None = None) -> None:
        empty = data is not None and not data
        self._changed = False
        self._mapping: dict[str, Any] = {}  # Any: what users store
        self._identity: object = None if empty else identity
        self._new = new or empty
        self._max_age = max_age
        self._retired: list[object] = []
        now = int(time.time())
        created = data.get("created") if data else None
        expired = max_age is not None and now - (created or 0) > max_age
        self._created = now if self._new or created is None else created
        if data and not expired:
            self._mapping.update(data.get("session") or {})

    def __repr__(self) -> str:
        # Not its items: sessions hold what logs must not.
        return f"<{type(self).__name__} [new:{self.new}, changed:{self._changed}, created:{self.created}]>"

    @property
    def new(self) -> bool:
        """Whether the client came without a session that could be read."""
        return self._new

    @property
    def identity(self) -> object:
        """What the storage knows the session by; None for a new one, and for all that live in cookies."""
        return self._identity

    @property
    def created(self) -> int:
        """When it was created, or an item was last set or deleted: seconds since 1970."""
        return self._created

    @property
    def empty(self) -> bool:
        """Whether it holds nothing."""
        return not self._mapping

    @property
    def max_age(self) -> int | None:
        """How many seconds the client and the storage shall keep it; None: as long as the browser runs."""
        return self._max_age

    @max_age.setter
    def max_age(self, value: int | None) -> None:
        self._max_age = value

    def changed(self) -> None:
        """Have it saved though no item was set or deleted."""
        self._changed = True

    def invalidate(self) -> None:
        """Drop all items; the client is told to forget its cookie, and the storage forgets its record."""
        self._changed = True
        self._mapping = {}

    def renew(self) -> None:
        """Keep the items, under a new identity: at login, so that nobody knows it who knew it before (fixation).

        The old identity is good for nothing once the session has been saved.  Sessions that live in cookies have no
        identity: an old cookie stays readable until its `max_age`.
        """
        if self._identity is not None:
            self._retired.append(self._identity)
        self._identity = None
        self._created = int(time.time())
        self._changed = True

    def set_new_identity(self, identity: object) -> None:
        """Choose the identity of a new session.  Raises RuntimeError for one that is not new: see `renew()`."""
        if not self._new:
            raise RuntimeError(
                "the identity of a session that is not new cannot be set: session.renew() gives it another"
            )
        self._identity = identity

    def __len__(self) -> int:
        return len(self._mapping)

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping)

    def __contains__(self, key: object) -> bool:
        return key in self._mapping

    def __getitem__(self, key: str) -> Any:  # Any: what users store
        return self._mapping[key]

    def __setitem__(self, key: str, value: Any) -> None:  # Any: what users store
        self._mapping[key] = value
        self._touch()

    def __delitem__(self, key: str) -> None:
        del self._mapping[key]
        self._touch()

    def _touch(self) -> None:
        self._changed = True
        self._created = int(time.time())
