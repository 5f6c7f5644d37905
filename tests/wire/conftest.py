"""The wire's tests need no event loop; the long comparison runs only when asked for: ``pytest -m fuzz``."""

import hypothesis
import pytest

# As in tests/conftest.py, which a run of the wire alone (nox -s wire) does not see.
hypothesis.settings.register_profile("structweb", deadline=None, derandomize=True)
hypothesis.settings.load_profile("structweb")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fuzz: a long comparison of generated inputs; runs with -m fuzz only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "fuzz" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("fuzz") is not None]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
