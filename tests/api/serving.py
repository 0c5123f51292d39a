"""Applications as processes of their own, as they run in production."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from api.keys.service import create_key
from core.settings import Settings
from core.storage import Storage
from db.engine import Database
from tests.services import free_port


@dataclass(frozen=True, slots=True)
class Server:
    settings: Settings
    process: psutil.Process
    database: Database
    storage: Storage
    client: httpx2.Client
    """Sends a key with every request."""

    @property
    def port(self) -> int:
        port = self.client.base_url.port
        assert port is not None
        return port


@contextmanager
def serving(data: Path, database_url: str) -> Iterator[Server]:
    """The API on a folder and a database that has the schema, until the end of the block."""
    settings = Settings.model_validate({"data": data, "database": database_url, "redis": None})
    database = Database(database_url)
    headers = {"Authorization": f"Bearer {create_key(database, 'test')}"}
    environment = {
        "PLANKWRIGHT_DATA": str(data),
        "PLANKWRIGHT_DATABASE": database_url,
        "PLANKWRIGHT_REDIS": "",
    }
    with (
        uvicorn("--factory", "api.app:create_app", environment=environment) as (process, url),
        httpx2.Client(base_url=url, headers=headers, timeout=60) as client,
    ):
        yield Server(settings, process, database, Storage(settings.storage), client)
    database.close()


@contextmanager
def uvicorn(*arguments: str, environment: Mapping[str, str]) -> Iterator[tuple[psutil.Process, str]]:
    """One uvicorn process that answers, and its URL."""
    port = free_port()
    options = ("--port", str(port), "--log-level", "warning", "--timeout-graceful-shutdown", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *arguments, *options],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/livez", process)
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended at once"
        try:
            httpx2.get(url)
            return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")
