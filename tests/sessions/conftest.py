"""The servers that keep sessions: one start of each for all tests."""

import pytest

from tests.servers import memcached_server, redis_server


@pytest.fixture(scope="session")
def redis():
    with redis_server() as path:
        yield path


@pytest.fixture(scope="session")
def memcached():
    with memcached_server() as address:
        yield address
