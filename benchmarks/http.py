"""The API under load: polling beside a bare FastAPI handler, large uploads and downloads beside sha256sum, memory.

    python -m benchmarks.http [--only polling] [--seconds 5] [--gibibytes 2]

One uvicorn worker, PostgreSQL, and the client, all on the same machine.
"""

import subprocess
import tarfile
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, TypeVar

import psutil
import typer

from benchmarks.load import Load, download, poll, saturate, upload
from benchmarks.results import RESULTS, ResultsOption, Row, Target, record
from db import lifecycle
from db.migrate import migrate
from tests.api.large import enlarge
from tests.api.requests import csv_rows, job_request
from tests.api.serving import Server, serving, uvicorn
from tests.checkpoints import make_tiny_checkpoint
from tests.services import postgres_server

JOBS = 1000
ROUNDS = 3
RATE = 200
MEBIBYTE = 1 << 20

T = TypeVar("T")


class Part(StrEnum):
    POLLING = "polling"
    TRANSFER = "transfer"
    MEMORY = "memory"


def main(
    only: Annotated[list[Part], typer.Option(help="Parts to measure.")] = list(Part),  # noqa: B006
    seconds: Annotated[float, typer.Option(min=1, help="Of each round of polling.")] = 5,
    gibibytes: Annotated[float, typer.Option(help="Size of the model that is sent.")] = 2,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure the API and write results/http.json."""
    with tempfile.TemporaryDirectory() as name, postgres_server() as postgres:
        folder = Path(name)
        migrate(postgres.url)
        checkpoint = make_tiny_checkpoint(folder / "tiny", layers=4)
        with serving(folder / "data", postgres.url) as server:
            if Part.MEMORY in only:
                _measure_memory(server, checkpoint, results)
            if Part.POLLING in only:
                _measure_polling(server, checkpoint, seconds, results)
            if Part.TRANSFER in only:
                large = enlarge(checkpoint, folder / "large", int(gibibytes * 2**30))
                _measure_transfer(server, large, results)


def _measure_polling(server: Server, checkpoint: Path, seconds: float, results: Path) -> None:
    url, key = str(server.client.base_url), _key(server)
    body = job_request(server.client, checkpoint)
    first = server.client.post("/v1/jobs", json=body).json()
    with server.database.transaction() as connection:
        inputs = {"model_id": body["model"], "dataset_id": body["dataset"], "plan": first["plan"]}
        jobs = [lifecycle.create_job(connection, name="job", **inputs) for _ in range(JOBS)]
    paths = [f"/v1/jobs/{job.id}" for job in jobs]
    with (
        record("http", Part.POLLING, "Polling one job, GET /v1/jobs/{id}", results) as draft,
        uvicorn("benchmarks.bare:app", environment={}) as (bare, bare_url),
    ):
        pairs = []
        for _ in range(ROUNDS):
            of_bare = saturate(bare_url, paths, key, bare, seconds)
            of_api = saturate(url, paths, key, server.process, seconds)
            pairs.append((of_bare, of_api))
            draft.rows += [_load_row("bare FastAPI handler", of_bare), _load_row("API", of_api)]
        steady = poll(url, paths, key, server.process, 4 * seconds, RATE)
        draft.rows.append(_load_row(f"API at {RATE} requests a second", steady))
        ratio = median(api.requests_per_second / bare.requests_per_second for bare, api in pairs)
        draft.targets += [
            Target(
                what="requests per second beside the bare handler", measured=round(ratio, 3), at_least=0.4
            ),
            Target(
                what=f"p99 at {RATE} requests a second",
                measured=round(steady.percentile(0.99), 1),
                at_most=50,
                unit="ms",
            ),
        ]
        draft.notes.append(f"32 connections, {JOBS} jobs by turns, {ROUNDS} rounds of {seconds:g} s each")


def _load_row(name: str, load: Load) -> Row:
    return {
        "what": name,
        "requests/s": round(load.requests_per_second),
        "server CPU, µs per request": round(1e6 * load.cpu_seconds),
        "p50, ms": round(load.percentile(0.5), 1),
        "p99, ms": round(load.percentile(0.99), 1),
    }


def _measure_transfer(server: Server, model: Path, results: Path) -> None:
    weights, archive = model / "model.safetensors", model.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(model, "model")
    size = weights.stat().st_size
    forms = {
        "upload as files": [("files", path) for path in sorted(model.iterdir())],
        "upload as tar": [("file", archive)],
    }
    watch = Watch(server.process)
    taken: dict[str, list[float]] = defaultdict(list)
    with record("http", Part.TRANSFER, f"Transfer of a model of {size / 2**30:.0f} GiB", results) as draft:
        for _ in range(ROUNDS):
            for name, form in forms.items():
                _, seconds = timed(lambda: subprocess.check_output(["sha256sum", weights]))
                taken["sha256sum"].append(seconds)
                with watch:
                    location, seconds = timed(partial(_send, server, form))
                taken[name].append(seconds)
                with watch:
                    _, seconds = timed(partial(_fetch, server, f"{location}/files/{weights.name}"))
                taken["download"].append(seconds)
                assert server.client.delete(location).status_code == 204
        reference = median(taken["sha256sum"])
        for name, times in taken.items():
            seconds = median(times)
            draft.rows.append(
                {
                    "what": name,
                    "seconds": round(seconds, 2),
                    "MB/s": round(size / seconds / 1e6),
                    "beside sha256sum": round(seconds / reference, 2),
                    "rounds": len(times),
                }
            )
            if name != "sha256sum":
                draft.targets.append(
                    Target(what=f"{name}, times sha256sum", measured=round(seconds / reference, 2), at_most=2)
                )
        grown = round(watch.most_grown / MEBIBYTE, 1)
        draft.targets.append(Target(what="API memory grows by", measured=grown, at_most=64, unit="MiB"))
        draft.notes.append(
            "medians; files by sendfile to the API, discarded by the client when they come back"
        )


def _send(server: Server, form: list[tuple[str, Path]]) -> str:
    """Returns the location of the model."""
    head = upload(str(server.client.base_url), "/v1/models", _key(server), form)
    assert head.startswith("HTTP/1.1 201"), head
    return next(line.split()[1] for line in head.splitlines() if line.lower().startswith("location:"))


def _fetch(server: Server, path: str) -> None:
    download(str(server.client.base_url), path, _key(server))


def _measure_memory(server: Server, checkpoint: Path, results: Path) -> None:
    with record("http", Part.MEMORY, "Memory of the API process", results) as draft:

        def note(after: str) -> None:
            draft.rows.append(
                {"after": after, "resident, MiB": round(server.process.memory_info().rss / MEBIBYTE)}
            )

        note("its start")
        job = server.client.post("/v1/jobs", json=job_request(server.client, checkpoint)).json()
        note("a model, a dataset and a job")
        rows = [("train", ("train.csv", csv_rows(100_000))), ("validation", ("v.csv", csv_rows(1000)))]
        assert server.client.post("/v1/datasets", files=rows).status_code == 201
        note("a dataset of 100,000 rows")
        load = saturate(
            str(server.client.base_url), [f"/v1/jobs/{job['id']}"], _key(server), server.process, 2
        )
        note(f"{2 * load.requests_per_second:.0f} polls")
        highest = max(int(str(row["resident, MiB"])) for row in draft.rows)
        draft.targets.append(Target(what="API process, resident", measured=highest, at_most=200, unit="MiB"))


class Watch:
    """Notes by how much a process grows while something is done."""

    def __init__(self, process: psutil.Process) -> None:
        self.most_grown = 0
        self._process = process

    def __enter__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, args=[self._process.memory_info().rss])
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self, before: int) -> None:
        while not self._done.wait(0.02):
            self.most_grown = max(self.most_grown, self._process.memory_info().rss - before)


def timed(do: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    result = do()
    return result, time.perf_counter() - began


def _key(server: Server) -> str:
    return server.client.headers["authorization"].removeprefix("Bearer ")


if __name__ == "__main__":
    typer.run(main)
