"""Workers as processes of their own, to be killed."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil
import redis

from core.settings import Settings
from tests.worker.service import Service, wait_until

Dispatcher = Literal["local", "app"]
ROOT = Path(__file__).parents[2]


@dataclass
class WorkerProcess:
    """One worker; it and its compression processes are gone at the end of the test."""

    process: subprocess.Popen[bytes]

    @property
    def children(self) -> list[psutil.Process]:
        """The compression processes, the oldest first: at work, then waiting."""
        return sorted(psutil.Process(self.process.pid).children(), key=psutil.Process.create_time)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Fleet:
    """Starts workers for a service; with Celery also the sweeper, which local workers have in them."""

    service: Service
    dispatcher: Dispatcher
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *, real: bool = False) -> WorkerProcess:
        """Returns once the worker takes jobs. `real`: with the engine, not the stand-in."""
        module = [f"worker.{self.dispatcher}"] if real else ["tests.faults.stand_in_worker", self.dispatcher]
        worker = WorkerProcess(self._start(module))
        wait_until(lambda: len(worker.children) == 1, 60, self.log.read_text)
        return worker

    def start_sweeper(self) -> None:
        if self.dispatcher == "app":
            self._start(["worker.sweep"])

    def _start(self, module: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=os.environ | environment_of(self.service.settings),
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def environment_of(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(exclude_none=True) | {
        "database": settings.database_url,
        "redis": settings.redis_url or "",
    }
    return {f"PLANKWRIGHT_{name.upper()}": str(value) for name, value in values.items()}


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)


def flush(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
