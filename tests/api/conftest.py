"""The real application on a database of each kind, and a real checkpoint to send to it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Context
from api.keys.service import create_key
from core.settings import Settings
from tests.checkpoints import make_tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 4 layers with two labels."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"), layers=4)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data=tmp_path / "data", database=SecretStr(database_url), redis=None)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def context(app: FastAPI) -> Context:
    return context_of(app)


@pytest.fixture
def key(context: Context) -> str:
    return create_key(context.database, "test")


@pytest.fixture
def client(app: FastAPI, key: str) -> Iterator[TestClient]:
    """Sends the key with every request."""
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One application on SQLite for all tests of a module: for requests that are refused and change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copyfile(sqlite_template, folder / "plankwright.db")
    app = create_app(Settings(data=folder, database=None, redis=None))
    key = create_key(context_of(app).database, "test")
    with TestClient(app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def context_of(app: FastAPI) -> Context:
    context: Context = app.state.context
    return context
