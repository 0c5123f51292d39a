"""The service as users run it: every part a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from plankwright.discovery import KEY_FILE, Server
from tests.services import free_port
from tests.worker.service import wait_until

ROOT = Path(__file__).parents[2]


def environment(**variables: object) -> dict[str, str]:
    """That of the tests, without what they may have been told of another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLANKWRIGHT_")}
    told = {f"PLANKWRIGHT_{name.upper()}": str(value) for name, value in variables.items()}
    return kept | {"OMP_NUM_THREADS": "1", "PLANKWRIGHT_THREADS": "1"} | told


@dataclass
class Embedded:
    """`plankwright serve`."""

    process: subprocess.Popen[str]
    server: Server
    data: Path
    log: Path


@contextmanager
def embedded_service(folder: Path, **settings: object) -> Iterator[Embedded]:
    data, log = folder / "data", folder / "serve.log"
    command = [sys.executable, "-m", "plankwright", "serve", "--port", "0", "--data", str(data)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment(**settings), stdout=subprocess.PIPE, stderr=stream, text=True
        )
    try:
        assert process.stdout is not None
        ready, _, url = process.stdout.readline().strip().partition(" ")
        assert ready == "ready", log.read_text()
        yield Embedded(process, Server(url, (data / KEY_FILE).read_text().strip()), data, log)
    finally:
        process.terminate()
        process.communicate(timeout=90)


@contextmanager
def distributed_service(folder: Path, database_url: str, redis_url: str) -> Iterator[Server]:
    """API, worker on Celery and sweeper over PostgreSQL and Redis, as in docker-compose.yml."""
    port, log = free_port(), folder / "service.log"
    told = environment(data=folder / "data", database=database_url, redis=redis_url)
    api = ["-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port), "--log-level", "warning"]
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        stream = stack.enter_context(log.open("ab"))
        for module in (api, ["-m", "worker.app"], ["-m", "worker.sweep"]):
            process = subprocess.Popen(
                [sys.executable, *module], env=told, cwd=ROOT, stdout=stream, stderr=stream
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        key = subprocess.run(
            [sys.executable, "-m", "api.keys", "create", "test"],
            env=told,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        wait_until(lambda: _is_ready(url), 60, log.read_text)
        yield Server(url, key)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").is_success
    except httpx2.TransportError:
        return False


def plankwright(
    server: Server | None, *arguments: object, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    told = environment(server=server.url, api_key=server.key) if server else environment()
    command = [sys.executable, "-m", "plankwright", *map(str, arguments)]
    return subprocess.run(
        command, env=told, capture_output=True, text=True, check=False, timeout=240, **options
    )
