"""Workers and their processes killed, stopped and drained, with both dispatchers."""

import signal
import sqlite3
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from compression.spec import RunSpec, Runtime
from core.digests import describe_file
from db import lifecycle
from db.models import JobState
from db.repositories import artifacts, checkpoints
from tests.faults.fleet import Fleet, WorkerProcess, gone
from tests.worker.service import Service, plan_for, wait_until

EPOCHS = 60
"""Of 48 steps each: long enough to be killed three times, also where 300 take a second."""


def starts(service: Service, job_id: str) -> list[int]:
    """The step that each attempt began with."""
    lines = service.log(job_id).splitlines()
    return [int(line.removeprefix("from step ")) for line in lines if line.startswith("from step")]


def all_gone(processes: list[psutil.Process]) -> bool:
    return all(map(gone, processes))


def at_work(workers: list[WorkerProcess]) -> WorkerProcess:
    """The one beside whose process at work the next one is waiting."""
    (worker,) = (worker for worker in workers if len(worker.children) > 1)
    return worker


def wait_for_checkpoint_of(service: Service, job_id: str, attempt: int) -> None:
    def written() -> bool:
        with service.database.reading() as connection:
            newest = checkpoints.newest_first(connection, job_id)
        return bool(newest) and newest[0].attempt == attempt

    wait_until(written, 60)


STAND_IN_FILES = {"logs.txt", "report.json"}
"""The artifacts of a job whose compression process is a stand-in."""


def succeeded_once(service: Service, job_id: str, attempt: int) -> set[str]:
    """One success, one set of artifacts, one model: nothing is there of other attempts. Returns the artifacts."""
    job = service.job(job_id)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, attempt)
    assert len(service.events(job_id, "succeeded")) == 1
    with service.database.reading() as connection:
        made = [artifact.key for artifact in artifacts.of_job(connection, job_id)]
    folder = service.storage.path(f"jobs/{job_id}/artifacts")
    stored = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(made) == sorted(f"jobs/{job_id}/artifacts/{name}" for name in stored)
    assert {path.name for path in folder.iterdir()} == {str(attempt)}
    models = {path.name for path in service.storage.path("models").iterdir()}
    assert models == {"mdl_1", job.result_model_id}
    return {name.removeprefix(f"{attempt}/") for name in stored}


def each_attempt_went_on(service: Service, job_id: str) -> None:
    """No attempt began before the newest checkpoint that it could have."""
    saved, began_after = 0, list[int]()
    for event in service.events(job_id, "claimed", "checkpoint", "metric"):
        if event.type == "claimed":
            began_after.append(saved)
        elif event.type == "checkpoint":
            saved = int(event.data["name"].split("-")[1])
        else:
            assert event.data["step"] > began_after[-1]
    assert all(began_after[1:])


@pytest.fixture(scope="session")
def undisturbed_weights(inputs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of what the engine makes of the job when nobody disturbs it."""
    from tests.compression.jobs import run_to_end  # imports torch

    folder = tmp_path_factory.mktemp("undisturbed")
    spec = RunSpec(
        model=inputs[0], dataset=inputs[1], plan=plan_for(*inputs, EPOCHS), runtime=Runtime(threads=1)
    )
    run_to_end(spec, folder / "out")
    return describe_file(folder / "out" / "model" / "model.safetensors")["sha256"]


def test_a_job_whose_process_worker_and_both_are_killed_ends_with_the_same_weights(
    fleet: Fleet, undisturbed_weights: str
) -> None:
    service = fleet.service
    workers = [fleet.start_worker(real=True) for _ in range(3)]  # two to be killed and one that ends the job
    job = service.add_job(epochs=EPOCHS)
    for attempt, victims in enumerate(("process", "worker", "both"), start=1):
        service.wait_for_event(job.id, "claimed", count=attempt)
        wait_for_checkpoint_of(service, job.id, attempt)
        worker = at_work(workers)
        processes = worker.children
        if victims == "process":
            processes[0].kill()
            continue
        if victims == "both":
            for process in processes:
                process.kill()
        worker.kill()
        workers.remove(worker)
        wait_until(partial(all_gone, processes), 5)
    done = service.wait_for_state(job.id, [JobState.SUCCEEDED], 120)
    files = succeeded_once(service, job.id, attempt=4)
    assert files >= {"model.tar", "report.html", "report.json", "predictions.jsonl", "SHA256SUMS"}
    each_attempt_went_on(service, job.id)
    weights = service.storage.path(f"models/{done.result_model_id}/model.safetensors")
    assert describe_file(weights)["sha256"] == undisturbed_weights


def freeze(worker: WorkerProcess, service: Service) -> None:
    """Stop a worker, but not within a transaction on SQLite, whose one lock nobody could take from it."""
    while True:
        worker.send(signal.SIGSTOP)
        if service.settings.database_url.startswith("postgres"):
            return
        with (
            closing(sqlite3.connect(service.settings.database_url.removeprefix("sqlite:///"), 0)) as database,
            suppress(sqlite3.OperationalError),
        ):
            database.execute("BEGIN IMMEDIATE")
            return
        worker.send(signal.SIGCONT)
        time.sleep(0.05)


def test_a_stopped_worker_that_wakes_up_late_changes_nothing(fleet: Fleet) -> None:
    service = fleet.service
    zombie = fleet.start_worker()
    job = service.add_job(steps=150, seconds_per_step=0.03, checkpoint_every=10)
    service.wait_for_event(job.id, "checkpoint")
    freeze(zombie, service)
    fleet.start_worker()
    service.wait_for_event(job.id, "claimed", count=2)
    zombie.send(signal.SIGCONT)
    service.wait_for_state(job.id, [JobState.SUCCEEDED])
    assert succeeded_once(service, job.id, attempt=2) == STAND_IN_FILES
    assert [event.data["attempt"] for event in service.events(job.id, "claimed", "succeeded")] == [1, 2, 2]
    other = service.add_job()
    service.wait_for_state(other.id, [JobState.SUCCEEDED])


def test_a_worker_that_shall_stop_gives_its_job_to_another(fleet: Fleet) -> None:
    service = fleet.service
    first = fleet.start_worker()
    job = service.add_job(steps=60, seconds_per_step=0.03)
    service.wait_for_event(job.id, "metric", count=2)
    asked = time.monotonic()
    first.send(signal.SIGTERM)
    assert first.process.wait(timeout=20) == 0
    assert time.monotonic() - asked < 10
    assert service.job(job.id).state is JobState.QUEUED
    fleet.start_worker()
    service.wait_for_state(job.id, [JobState.SUCCEEDED])
    assert succeeded_once(service, job.id, attempt=2) == STAND_IN_FILES
    assert service.job(job.id).lost_workers == 0
    assert starts(service, job.id)[1] > 0


@pytest.mark.parametrize("dispatcher", ["local"], indirect=True)
def test_a_job_that_kills_three_workers_has_failed_and_the_next_one_runs(fleet: Fleet) -> None:
    service = fleet.service
    job = service.add_job(steps=10000, seconds_per_step=0.03)
    for attempt in (1, 2, 3):
        worker = fleet.start_worker()
        service.wait_for_event(job.id, "claimed", count=attempt)
        worker.kill()
    fleet.start_worker()
    failed = service.wait_for_state(job.id, [JobState.FAILED])
    assert failed.reason is not None
    assert failed.reason["code"] == "worker_lost_repeatedly"
    service.wait_for_state(service.add_job().id, [JobState.SUCCEEDED])


@pytest.mark.serial
@pytest.mark.parametrize("dispatcher", ["local"], indirect=True)
def test_a_job_is_cancelled_in_any_phase_within_five_seconds(fleet: Fleet) -> None:
    service = fleet.service
    fleet.start_worker(real=True)
    for phase, sizes in (("fetch", {}), ("compress", {"epochs": EPOCHS}), ("benchmark", {"batch_sizes": 8})):
        job = service.add_job(**sizes)
        service.wait_for_phase(job.id, phase)
        asked = time.monotonic()
        with service.database.transaction() as connection:
            lifecycle.cancel(connection, job.id)
        service.wait_for_state(job.id, [JobState.CANCELLED])
        assert time.monotonic() - asked < 5
