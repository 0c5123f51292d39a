from collections.abc import Iterator
from pathlib import Path

import pytest

from core.hints import hint_sender
from db.engine import Database
from tests.faults.fleet import Dispatcher, Fleet
from tests.worker.fixtures import MakeService, inputs, make_service
from tests.worker.service import Service

__all__ = ["inputs", "make_service"]


@pytest.fixture(params=["local", "app"])
def dispatcher(request: pytest.FixtureRequest) -> Dispatcher:
    """Local workers on SQLite, and workers on PostgreSQL that Celery wakes."""
    name: Dispatcher = request.param
    return name


@pytest.fixture
def fleet(
    dispatcher: Dispatcher, make_service: MakeService, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Fleet]:
    local = dispatcher == "local"
    database_url = request.getfixturevalue("sqlite_url" if local else "postgres_url")
    redis_url = None if local else request.getfixturevalue("redis_url")
    made: Service = make_service(
        database_url, redis=redis_url, lease_seconds=3, sweep_seconds=0.5, checkpoint_seconds=0.2
    )
    database = Database(database_url, on_queued=hint_sender(redis_url))
    fleet = Fleet(Service(made.settings, database, made.storage), dispatcher, tmp_path / "workers.log")
    fleet.start_sweeper()
    yield fleet
    fleet.stop()
    database.close()
