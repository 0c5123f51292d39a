"""Fixtures for tests of workers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from core.storage import Storage
from db.engine import Database
from tests.worker.service import Service

MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a model of four layers and of a dataset."""
    from tests.compression.jobs import make_spec  # imports torch

    steps = [{"method": "theseus", "successor_layers": 2}]
    spec = make_spec(tmp_path_factory.mktemp("inputs"), steps)
    return spec.model, spec.dataset


@pytest.fixture
def make_service(inputs: tuple[Path, Path], tmp_path: Path) -> Iterator[MakeService]:
    """Makes a service on a database, by default with short times; changes are to its settings."""
    opened = []

    def make(database_url: str, **changes: Any) -> Service:
        quick = {"lease_seconds": 2, "renew_seconds": 0.5, "cancel_grace_seconds": 1, "poll_seconds": 0.1}
        settings = Settings(data=tmp_path / "data", database=database_url, threads=1, **(quick | changes))
        service = Service(settings, Database(database_url), Storage(settings.storage))
        opened.append(service.database)
        service.add_inputs(*inputs)
        return service

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def service(make_service: MakeService, sqlite_url: str) -> Service:
    return make_service(sqlite_url)
