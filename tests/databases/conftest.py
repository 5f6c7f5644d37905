"""Tests with databases start real servers, and take seconds: they run only when asked for, ``pytest -m databases``."""

import pytest

from tests.servers import postgres_server, redis_server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "databases: needs Redis and PostgreSQL; runs with -m databases only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "databases" in config.getoption("markexpr"):
        return
    slow = [item for item in items if item.get_closest_marker("databases") is not None]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def redis():
    """The socket of a Redis."""
    with redis_server() as path:
        yield path


@pytest.fixture(scope="session")
def postgres():
    """The folder of a PostgreSQL's socket."""
    with postgres_server() as folder:
        yield folder
