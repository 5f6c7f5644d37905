"""The mapping of a request, and of a response, in which handlers and middlewares keep what they know."""

import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any, ClassVar, TypeVar, overload

from structweb._web.keys import BaseKey, NotAppKeyWarning

T = TypeVar("T")


class State(MutableMapping[str | BaseKey[Any], Any]):  # Any: each key has its own type
    """A mapping with typed keys.  Always true, and equal to itself only: what it belongs to is more than its items."""

    #: The class of the keys, for the advice in the warning.
    _key_class: ClassVar[type[BaseKey[Any]]] = BaseKey  # Any: a class of keys of any type
    #: The text keys that were warned of, by requests and by responses.
    _warned_keys: ClassVar[set[object]]

    # Made when something is put in: most requests and responses never have any.
    _state: dict[str | BaseKey[Any], Any] | None = None  # Any: as above

    @overload
    def __getitem__(self, key: BaseKey[T]) -> T: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...  # Any: a str key says nothing of its value

    def __getitem__(self, key: str | BaseKey[Any]) -> Any:  # Any: see the overloads
        if self._state is None:
            raise KeyError(key)
        return self._state[key]

    @overload
    def __setitem__(self, key: BaseKey[T], value: T) -> None: ...

    @overload
    def __setitem__(self, key: str, value: Any) -> None: ...  # Any: a str key says nothing of its value

    def __setitem__(self, key: str | BaseKey[Any], value: Any) -> None:  # Any: see the overloads
        if not isinstance(key, self._key_class) and key not in self._warned_keys:
            self._warned_keys.add(key)
            warnings.warn(
                f"use a web.{self._key_class.__name__} as key, so that type checkers know the value's type; got {key!r}",
                NotAppKeyWarning,
                stacklevel=2,
            )
        if self._state is None:
            self._state = {}
        self._state[key] = value

    def __delitem__(self, key: str | BaseKey[Any]) -> None:  # Any: a key of any type
        if self._state is None:
            raise KeyError(key)
        del self._state[key]

    def __len__(self) -> int:
        return 0 if self._state is None else len(self._state)

    def __iter__(self) -> Iterator[str | BaseKey[Any]]:  # Any: keys of any type
        return iter(self._state or ())

    def __contains__(self, key: object) -> bool:
        return self._state is not None and key in self._state

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __bool__(self) -> bool:
        return True
