"""The API as a process of its own, as it runs in production."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
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


@contextmanager
def serving(data: Path, database_url: str) -> Iterator[Server]:
    """Run uvicorn on a folder and a database that has the schema, until the end of the block."""
    settings = Settings.model_validate({"data": data, "database": database_url, "redis": None})
    database, port = Database(database_url), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port)),
            *("--log-level", "warning", "--timeout-graceful-shutdown", "1"),
        ],
        env=os.environ
        | {"PLANKWRIGHT_DATA": str(data), "PLANKWRIGHT_DATABASE": database_url, "PLANKWRIGHT_REDIS": ""},
        stderr=subprocess.DEVNULL,
    )
    headers = {"Authorization": f"Bearer {create_key(database, 'test')}"}
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            _wait_until_ready(client, process)
            yield Server(settings, psutil.Process(process.pid), database, Storage(settings.storage), client)
    finally:
        process.terminate()
        process.wait(10)
        database.close()


def _wait_until_ready(client: httpx2.Client, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended at once"
        try:
            if client.get("/readyz").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server is not ready")
