"""Typed keys and the chain of states (W-187, W-188)."""

from collections.abc import Iterable

import pytest

from structweb._web.keys import AppKey, ChainMapProxy, RequestKey, ResponseKey

MODULE_KEY = AppKey("module_key", int)


def test_a_key_is_equal_to_itself_only():
    first, second = AppKey("same", int), AppKey("same", int)
    assert first == first  # noqa: PLR0124 - that is what is tested
    assert first != second
    assert len({first, second, first}) == 2


@pytest.mark.parametrize("kind", [AppKey, RequestKey, ResponseKey])
def test_repr_names_module_and_type(kind):
    assert repr(kind("k", int)) == f"<{kind.__name__}({__name__}.k, type=int)>"
    assert (
        repr(kind("k", pytest.MonkeyPatch)) == f"<{kind.__name__}({__name__}.k, type=_pytest.monkeypatch.MonkeyPatch)>"
    )
    assert repr(kind("k")) == f"<{kind.__name__}({__name__}.k, type=<<Unknown>>)>"


def test_a_subscript_gives_the_type_of_what_is_no_class():
    assert repr(AppKey[list[int]]("k")) == f"<AppKey({__name__}.k, type=list[int])>"
    assert repr(AppKey[Iterable[str]]("k")) == f"<AppKey({__name__}.k, type=collections.abc.Iterable[str])>"
    assert repr(AppKey("k", list[int])) == f"<AppKey({__name__}.k, type=list[int])>"


def test_the_module_is_the_one_that_makes_the_key():
    assert repr(MODULE_KEY) == f"<AppKey({__name__}.module_key, type=int)>"


def test_keys_sort_by_name_and_before_anything_else():
    a, b = AppKey("a", int), RequestKey("b", int)
    assert sorted(["text", b, a]) == [a, b, "text"]
    assert sorted([b, "text", a]) == [a, b, "text"]
    assert a < b
    assert b > a
    assert not a > b


def test_the_first_state_wins():
    inner, outer = {"a": 1, MODULE_KEY: 2}, {"a": 10, "b": 20}
    chain = ChainMapProxy([inner, outer])
    assert chain["a"] == 1
    assert chain[MODULE_KEY] == 2
    assert chain["b"] == 20
    assert chain.get("b") == 20
    assert chain.get("c") is None
    assert chain.get("c", 5) == 5
    with pytest.raises(KeyError):
        chain["c"]


def test_a_chain_is_a_read_only_mapping():
    chain = ChainMapProxy([{"a": 1}, {"a": 10, "b": 20}])
    assert len(chain) == 2
    assert set(chain) == {"a", "b"}
    assert "b" in chain
    assert "c" not in chain
    assert dict(chain.items()) == {"a": 1, "b": 20}
    assert bool(chain)
    assert not ChainMapProxy([{}, {}])
    assert repr(chain) == "ChainMapProxy({'a': 1}, {'a': 10, 'b': 20})"
    with pytest.raises(TypeError):
        chain["a"] = 2  # type: ignore[index]


def test_a_chain_cannot_be_subclassed():
    with pytest.raises(TypeError, match="class Mine"):
        type("Mine", (ChainMapProxy,), {})
