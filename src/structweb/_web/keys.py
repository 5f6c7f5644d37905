"""Typed keys for the state of applications, requests and responses, and a read-only chain of such states."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar, get_args, overload

T = TypeVar("T")
D = TypeVar("D")


class BaseKey(Generic[T]):
    """A key that is equal to itself only, with a name for people and a type for type checkers.

    The type is the second argument, or, for what is no class, a subscript: ``AppKey[list[int]]("scores")``.
    """

    __slots__ = ("__orig_class__", "_name", "_t")

    # `typing` sets it on what a subscripted class makes.
    __orig_class__: type[object]

    def __init__(self, name: str, t: type[T] | None = None) -> None:
        self._name = f"{_defining_module()}.{name}"
        self._t = t

    def __lt__(self, other: object) -> bool:
        if isinstance(other, BaseKey):
            return self._name < other._name
        return True  # keys sort before everything else, so that states with mixed keys can be sorted

    def __gt__(self, other: object) -> bool:
        return isinstance(other, BaseKey) and self._name > other._name

    def __repr__(self) -> str:
        meant: object = self._t
        if meant is None and hasattr(self, "__orig_class__"):
            meant = get_args(self.__orig_class__)[0]
        return f"<{type(self).__name__}({self._name}, type={_type_name(meant)})>"


class AppKey(BaseKey[T]):
    """A key of an Application's state: ``app[key] = value``."""

    __slots__ = ()


class RequestKey(BaseKey[T]):
    """A key of a Request's state: ``request[key] = value``."""

    __slots__ = ()


class ResponseKey(BaseKey[T]):
    """A key of a Response's state: ``response[key] = value``."""

    __slots__ = ()


class NotAppKeyWarning(UserWarning):
    """A state was given a str key where a typed key would tell type checkers more.

    Applications warn each time; requests and responses once for each key.
    """


def _defining_module() -> str:
    """Return the name of the module whose code makes the key."""
    frame = sys._getframe(1)  # the documented way to the caller; `inspect` only wraps it
    while frame.f_back is not None and frame.f_globals.get("__name__") in {__name__, "typing"}:
        frame = frame.f_back
    name: str = frame.f_globals.get("__name__", "<unknown>")
    return name


def _type_name(meant: object) -> str:
    if meant is None:
        return "<<Unknown>>"
    if isinstance(meant, type) and not get_args(meant):
        return meant.__qualname__ if meant.__module__ == "builtins" else f"{meant.__module__}.{meant.__qualname__}"
    return repr(meant)


class ChainMapProxy(Mapping[str | AppKey[Any], Any]):  # Any: each key has its own type
    """Several states as one, read-only: the first that has a key wins.

    `Request.config_dict` is one: the innermost application first, the root application last.
    """

    __slots__ = ("_maps",)

    def __init__(self, maps: Iterable[Mapping[str | AppKey[Any], Any]]) -> None:  # Any: see the class
        self._maps = tuple(maps)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError(f"ChainMapProxy cannot be subclassed, got class {cls.__name__}")

    @overload
    def __getitem__(self, key: AppKey[T]) -> T: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...  # Any: a str key says nothing of its value

    def __getitem__(self, key: str | AppKey[Any]) -> Any:  # Any: see the overloads
        for state in self._maps:
            if key in state:
                return state[key]
        raise KeyError(key)

    @overload  # type: ignore[override]  # a Mapping knows nothing of typed keys
    def get(self, key: AppKey[T], default: None = None) -> T | None: ...

    @overload
    def get(self, key: AppKey[T], default: D) -> T | D: ...

    @overload
    def get(self, key: str, default: Any = None) -> Any: ...  # Any: a str key says nothing of its value

    def get(self, key: str | AppKey[Any], default: Any = None) -> Any:  # Any: see the overloads
        """Return the value of the first state that has `key`, else `default`."""
        for state in self._maps:
            if key in state:
                return state[key]
        return default

    def __len__(self) -> int:
        return len(set().union(*self._maps))

    def __iter__(self) -> Iterator[str | AppKey[Any]]:  # Any: keys of every type
        merged: dict[str | AppKey[Any], None] = {}  # Any: as above
        for state in self._maps:
            merged.update(dict.fromkeys(state))
        return iter(merged)

    def __contains__(self, key: object) -> bool:
        return any(key in state for state in self._maps)

    def __repr__(self) -> str:
        return f"ChainMapProxy({', '.join(map(repr, self._maps))})"
