"""A client of the real API, and impatience."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from api.app import create_app
from api.keys.service import create_key
from core.settings import Settings
from plankwright import transport
from plankwright.client import Plankwright
from plankwright.discovery import Server


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the one who runs the tests has set, or has running, is not theirs."""
    for name in ("PLANKWRIGHT_SERVER", "PLANKWRIGHT_API_KEY", "PLANKWRIGHT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)


@pytest.fixture
def server(sqlite_template: Path, tmp_path: Path) -> Iterator[Server]:
    """The real API on a real socket; no worker runs."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copyfile(sqlite_template, data / "plankwright.db")
    app = create_app(Settings(data=data, database=None, redis=None))
    key = create_key(app.state.context.database, "test")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Server(f"http://127.0.0.1:{port}", key)
    server.should_exit = True
    thread.join()


@pytest.fixture
def service(server: Server) -> Iterator[Plankwright]:
    with Plankwright(server.url, server.key) as client:
        yield client
