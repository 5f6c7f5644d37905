"""The servers of tests with databases: one start of each for all of them."""

import pytest

from tests.servers import postgres_server, redis_server


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
