"""`make compose-smoke`: brings the compose stack up, runs one small job through it, takes it down with its data.

COMPOSE_OVERRIDE may name one more compose file, for what only this machine needs.
"""

import csv
import os
import random
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoModelForSequenceClassification

from plankwright import Plankwright
from plankwright.downloads import unpack
from tests.checkpoints import make_tiny_checkpoint
from tests.services import free_port

ROOT = Path(__file__).parent.parent
HEALTHY_SECONDS = 180
JOB_SECONDS = 300


class Stack:
    """The services of docker-compose.yml, under a project name, a port and secrets of their own."""

    def __init__(self) -> None:
        override = os.environ.get("COMPOSE_OVERRIDE")
        files = [str(ROOT / "docker-compose.yml"), *([str(Path(override).absolute())] if override else [])]
        self._command = [*_compose_command(), "--project-name", "plankwright-smoke"]
        self._command += [option for file in files for option in ("--file", file)]
        port = free_port()
        self._environment = os.environ | {
            "POSTGRES_PASSWORD": secrets.token_hex(16),
            "REDIS_PASSWORD": secrets.token_hex(16),
            "PLANKWRIGHT_PORT": str(port),
        }
        self.url = f"http://127.0.0.1:{port}"

    def compose(self, *arguments: str) -> None:
        done = subprocess.run([*self._command, *arguments], env=self._environment, cwd=ROOT, check=False)
        if done.returncode:
            raise SystemExit(f"compose-smoke: `compose {' '.join(arguments)}` failed, see above")

    def inside(self, service: str, *arguments: str) -> str:
        """What a command prints that is run in a service's container."""
        return self._output(*self._command, "exec", "-T", service, *arguments).strip()

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            self.compose("up", "--detach", "--build")
            self._wait_until_healthy()
            yield
        except BaseException:
            self.compose("ps")
            self.compose("logs", "--no-color", "--tail=60")
            raise
        finally:
            self.compose("down", "--volumes")

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while states := self._health() - {"healthy"}:
            if "unhealthy" in states or time.monotonic() > deadline:
                raise SystemExit("compose-smoke: not every service has become healthy, see above")
            time.sleep(1)

    def _health(self) -> set[str]:
        containers = self._output(*self._command, "ps", "--quiet").split()
        health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"
        return set(self._output("docker", "inspect", f"--format={health}", *containers).split())

    def _output(self, *command: str) -> str:
        return subprocess.check_output(command, env=self._environment, cwd=ROOT, text=True)


def main() -> None:
    stack = Stack()
    with stack.running(), tempfile.TemporaryDirectory() as folder:
        _check_containers(stack)
        key = stack.inside("api", "python", "-m", "api.keys", "create", "smoke")
        with Plankwright(stack.url, key) as client:
            _run_one_job(client, Path(folder))
    print("compose-smoke: one job went the whole way")


def _compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _succeeds([*command, "version"]):
            break
    else:
        raise SystemExit("compose-smoke: neither `docker compose` nor `docker-compose` is installed here")
    if not _succeeds(["docker", "info"]):
        raise SystemExit("compose-smoke: no Docker engine answers: start one, or set DOCKER_HOST to one")
    return command


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _check_containers(stack: Stack) -> None:
    for service in ("api", "sweeper", "worker"):
        assert stack.inside(service, "id", "-u") != "0", f"{service} runs as root"
    find_torch = "import importlib.util; print(importlib.util.find_spec('torch') is None)"
    assert stack.inside("api", "python", "-c", find_torch) == "True", "the image of the API holds torch"


def _run_one_job(client: Plankwright, folder: Path) -> None:
    model = client.models.upload(make_tiny_checkpoint(folder / "model", layers=2))
    train, validation = _write_rows(folder / "train.csv", 400), _write_rows(folder / "validation.csv", 100)
    dataset = client.datasets.upload(train, validation)
    job = client.jobs.create(model.id, dataset.id, [{"method": "theseus", "successor_layers": 1}])
    job = client.jobs.wait(job.id, timeout=JOB_SECONDS)
    assert job.state == "succeeded", f"the job is {job.state}: {job.reason}\n{client.jobs.logs(job.id)}"
    files = client.jobs.download(job.id, folder / "artifacts")
    compressed = AutoModelForSequenceClassification.from_pretrained(
        unpack(files["model.tar"], folder / "result")
    )
    assert compressed.config.num_hidden_layers == 1, compressed.config


def _write_rows(file: Path, rows: int) -> Path:
    """Sentences whose label is whether they praise."""
    chance = random.Random(file.name)
    words = {"positive": ["great", "good", "fine"], "negative": ["poor", "bad", "awful"]}
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for _ in range(rows):
            label = chance.choice(list(words))
            subject = chance.choice(["movie", "film", "plot", "story"])
            writer.writerow([f"the {subject} is {chance.choice(words[label])}", label])
    return file


if __name__ == "__main__":
    main()
