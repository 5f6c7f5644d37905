"""Signals and frozen lists (W-010, X-40)."""

from collections.abc import Awaitable

import pytest

from structweb._web.signal import FrozenList, Signal

pytestmark = pytest.mark.anyio


async def test_receivers_run_one_by_one_in_order():
    signal: Signal[str] = Signal("owner")
    calls = []

    @signal
    async def first(word: str) -> None:
        calls.append(("first", word))

    @signal
    async def second(word: str) -> None:
        calls.append(("second", word))

    signal.freeze()
    await signal.send("hello")
    assert calls == [("first", "hello"), ("second", "hello")]


async def test_keyword_arguments_reach_receivers():
    signal = Signal(None)
    got = []

    async def receiver(*args: object, **kwargs: object) -> None:
        got.append((args, kwargs))

    signal.append(receiver)
    signal.freeze()
    await signal.send(1, key=2)
    assert got == [((1,), {"key": 2})]


async def test_the_first_exception_ends_the_round():
    signal: Signal[[]] = Signal(None)
    calls = []

    async def fail() -> None:
        raise LookupError("first")

    async def never() -> None:
        calls.append("never")

    signal.extend([fail, never])
    signal.freeze()
    with pytest.raises(LookupError, match="first"):
        await signal.send()
    assert calls == []


async def test_plain_functions_may_return_an_awaitable_or_none():
    signal: Signal[str] = Signal(None)
    calls = []

    async def close(word: str) -> None:
        calls.append(word)

    def returns_none(word: str) -> None:
        calls.append(f"plain {word}")

    signal.append(lambda word: close(word.lower()))
    signal.append(returns_none)
    signal.freeze()
    await signal.send("Bye")
    assert calls == ["bye", "plain Bye"]


async def test_a_receiver_that_returns_something_else_is_named():
    signal: Signal[[]] = Signal(None)

    def odd() -> Awaitable[object]:
        return 42  # type: ignore[return-value]

    signal.append(odd)
    signal.freeze()
    with pytest.raises(TypeError, match=r"awaitable or None, got 42 from <function .*odd"):
        await signal.send()


async def test_sending_before_freezing_is_an_error():
    with pytest.raises(RuntimeError, match="Cannot send non-frozen signal"):
        await Signal(None).send()


def test_what_cannot_be_called_is_no_receiver():
    async def start(app: object) -> None:
        """Never called."""

    signal: Signal[str] = Signal("owner")
    with pytest.raises(
        TypeError, match=r"receiver must be a function, got <coroutine .*: do not call .*start, the sig"
    ):
        signal.append(start(None))  # type: ignore[arg-type]  # is what it tests
    with pytest.raises(TypeError, match=r"receiver must be a function, got 5$"):
        signal.insert(0, 5)  # type: ignore[arg-type]  # as above
    assert list(signal) == []


def test_the_decorator_returns_the_receiver():
    signal: Signal[[]] = Signal(None)

    async def receiver() -> None: ...

    assert signal(receiver) is receiver
    assert signal == [receiver]


def test_repr_names_owner_and_receivers():
    signal: Signal[[]] = Signal("owner")
    assert repr(signal) == "<Signal owner='owner', frozen=False, []>"


def test_a_frozen_list_refuses_every_change():
    numbers = FrozenList([1, 2])
    assert not numbers.frozen
    numbers.append(3)
    numbers[0] = 0
    del numbers[1]
    assert numbers == [0, 3]
    numbers.freeze()
    assert numbers.frozen
    for change in (
        lambda: numbers.append(4),
        lambda: numbers.insert(0, 4),
        numbers.clear,
        lambda: numbers.__setitem__(0, 4),
        lambda: numbers.__delitem__(0),
        lambda: numbers.extend([4]),
        lambda: numbers.remove(0),
    ):
        with pytest.raises(RuntimeError, match="Cannot modify frozen list"):
            change()
    assert list(numbers) == [0, 3]
    assert numbers[0:1] == [0]
    assert repr(numbers) == "<FrozenList(frozen=True, [0, 3])>"


def test_only_a_frozen_list_has_a_hash():
    numbers = FrozenList([1])
    with pytest.raises(RuntimeError, match="hash"):
        hash(numbers)
    numbers.freeze()
    assert hash(numbers) == hash(FrozenListOf(1))
    assert numbers != 1


def FrozenListOf(*items: int) -> FrozenList[int]:  # noqa: N802 - reads like the class
    made = FrozenList(items)
    made.freeze()
    return made
