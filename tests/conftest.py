"""Databases and brokers. `database_url` runs a test on SQLite and on PostgreSQL."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import redis

from db.engine import Database
from db.migrate import migrate
from tests.services import PostgresDatabases, postgres_server, redis_server

Backend = Literal["sqlite", "postgres"]


def pytest_collection_finish() -> None:
    """What torch and the tests have made stays for good: looking through it for garbage takes a quarter of the time."""
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[PostgresDatabases]:
    with postgres_server() as server:
        yield PostgresDatabases.on(server)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A new SQLite database with the schema."""
    path = tmp_path / "plankwright.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """A new PostgreSQL database with the schema."""
    with postgres_databases.new() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new database with the schema, of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    with redis_server() as server:
        yield server.url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """A broker without messages."""
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushall()
    return redis_server_url
