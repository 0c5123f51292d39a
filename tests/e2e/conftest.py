"""A tiny model, a few rows, and the services that serve them."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plankwright.discovery import Server
from tests.checkpoints import make_tiny_checkpoint
from tests.e2e.services import Embedded, distributed_service, embedded_service, plankwright


@dataclass(frozen=True)
class Inputs:
    model: Path
    train: Path
    validation: Path

    @property
    def arguments(self) -> list[object]:
        """Of `plankwright compress`."""
        return [self.model, "--train", self.train, "--validation", self.validation]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A BERT of four layers, and rows for it."""
    from tests.compression.jobs import write_rows  # imports torch

    folder = tmp_path_factory.mktemp("inputs")
    model = make_tiny_checkpoint(folder / "my-bert", layers=4)
    train = write_rows(folder / "train.jsonl", 96, seed=1)
    return Inputs(model, train, write_rows(folder / "validation.jsonl", 32, seed=2))


@dataclass(frozen=True)
class Result:
    done: subprocess.CompletedProcess[str]
    out: Path


QUICK = ["--layers", 2, "--epochs", 1, "--set", "training.batch_size=8", "--seed", 7]


def compress(server: Server, inputs: Inputs, out: Path) -> Result:
    """Half the model, with a constraint that is kept."""
    arguments = [*inputs.arguments, *QUICK, "--constraint", "max_size_ratio=0.99", "--out", out]
    return Result(plankwright(server, "compress", *arguments), out)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with embedded_service(tmp_path_factory.mktemp("embedded")) as service:
        yield service


@pytest.fixture(scope="session")
def embedded_result(embedded: Embedded, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What came back from the embedded server; not to be changed."""
    return compress(embedded.server, inputs, tmp_path_factory.mktemp("result") / "out")


@pytest.fixture
def distributed_result(postgres_url: str, redis_url: str, inputs: Inputs, tmp_path: Path) -> Result:
    """What came back from API, worker and sweeper over PostgreSQL, Redis and Celery."""
    with distributed_service(tmp_path, postgres_url, redis_url) as server:
        return compress(server, inputs, tmp_path / "out")


@pytest.fixture(params=["embedded", "distributed"])
def result(request: pytest.FixtureRequest) -> Result:
    result: Result = request.getfixturevalue(f"{request.param}_result")
    return result
