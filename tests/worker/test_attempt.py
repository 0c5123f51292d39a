"""Attempts with a stand-in for the compression process."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from db import lifecycle
from db.engine import Database
from db.lifecycle import Loss
from db.models import Job, JobState
from db.repositories import artifacts, checkpoints, metrics, models
from tests.worker.fixtures import MakeService
from tests.worker.service import DATASET_ID, STAND_IN, Deed, Service, wait_until
from worker.attempt import Worker


@contextmanager
def worker_for(service: Service) -> Iterator[Worker]:
    database = Database(service.settings.database_url)
    worker = Worker(service.settings, database, STAND_IN)
    try:
        yield worker
    finally:
        worker.close()
        database.close()


def work(service: Service, job: Job) -> Job:
    with worker_for(service) as worker:
        worker.work()
    return service.job(job.id)


@contextmanager
def working(service: Service) -> Iterator[Worker]:
    """A worker at work beside the test; what it does is over at the end."""
    with worker_for(service) as worker:
        thread = threading.Thread(target=worker.work)
        thread.start()
        try:
            yield worker
        finally:
            worker.drain.set()
            thread.join()


def reasons(service: Service, job: Job, type: str) -> list[str]:
    return [event.message for event in service.events(job.id, type)]


def scratch_is_clean(service: Service) -> bool:
    return not list((service.settings.data / "scratch").glob("*/job_*"))


def stand_in_at_work() -> psutil.Process:
    started = psutil.Process().children()
    return next(process for process in started if process.is_running() and STAND_IN[1] in process.cmdline())


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def test_a_job_is_run_and_published(make_service: MakeService, database_url: str) -> None:
    service = make_service(database_url)
    job = work(service, service.add_job(steps=3, checkpoint_every=1))
    assert job.state is JobState.SUCCEEDED
    assert job.verdict == "met"
    assert job.result == {"metric": "accuracy", "before": 0.9, "after": 0.88, "retention": 0.978}
    assert job.progress == {"step": 3, "total": 3, "fraction": 1.0, "eta_seconds": None}
    with service.database.reading() as connection:
        assert metrics.series(connection, job.id) == {"loss": [(1, 1.0), (2, 0.5), (3, 1 / 3)]}
        made = artifacts.of_job(connection, job.id)
        result = models.find(connection, job.result_model_id or "")
    assert [artifact.name for artifact in made] == ["logs.txt", "report.json"]
    for artifact in made:
        assert service.storage.path(artifact.key).stat().st_size == artifact.size
    assert result is not None
    assert (result.name, result.source_job_id) == (job.name, job.id)
    assert result.facts["layers"] == 4
    stored = {path.name for path in service.storage.path(f"models/{result.id}").iterdir()}
    assert {file["name"] for file in result.files} == stored >= {"config.json", "model.safetensors"}
    phases = [event.data["phase"] for event in service.events(job.id, "phase")]
    assert phases == ["fetch", "compress", "export", "publish"]
    assert not service.storage.path(f"jobs/{job.id}/checkpoints").exists()
    assert scratch_is_clean(service)


def test_a_worker_takes_job_after_job(service: Service) -> None:
    ids = [service.add_job().id for _ in range(3)]
    with worker_for(service) as worker:
        worker.work()
    assert {service.job(id).state for id in ids} == {JobState.SUCCEEDED}


@pytest.mark.parametrize(
    ("deed", "code", "reason_class", "words"),
    [
        ("fail", "diverged", "user", "not finite"),
        ("exit 65", "invalid_input", "user", "at fault"),
    ],
)
def test_a_failure_says_why(service: Service, deed: str, code: str, reason_class: str, words: str) -> None:
    job = work(service, service.add_job(Deed(step=2, do=deed)))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.reason is not None
    assert (job.reason["code"], job.reason["class"]) == (code, reason_class)
    assert words in job.reason["message"]
    assert "from step 0" in service.log(job.id)
    assert scratch_is_clean(service)


@pytest.mark.parametrize(("deed", "words"), [("die", "SIGKILL"), ("exit 1", "exit code 1")])
def test_a_process_that_dies_thrice_is_a_failure(service: Service, deed: str, words: str) -> None:
    other = service.add_job(Deed(step=2, do=deed, attempts=[1, 2, 3]))
    job = work(service, other)
    assert (job.state, job.attempt, job.lost_workers) == (JobState.FAILED, 3, 3)
    assert job.reason is not None
    assert job.reason["code"] == "worker_lost_repeatedly"
    assert words in job.reason["message"]
    assert len(service.events(job.id, "requeued")) == 2


def test_a_process_that_dies_goes_on_from_its_checkpoint(service: Service) -> None:
    created = service.add_job(Deed(step=5, do="die"), steps=8, checkpoint_every=2)
    job = work(service, created)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert [line for line in service.log(job.id).splitlines() if line.startswith("from")] == [
        "from step 0",
        "from step 4",
    ]


def test_a_stop_that_nobody_asked_for_is_not_counted(service: Service) -> None:
    job = work(service, service.add_job(Deed(step=2, do="exit 75", attempts=[1, 2, 3, 4])))
    assert (job.state, job.attempt, job.lost_workers) == (JobState.SUCCEEDED, 5, 0)


def test_a_silent_process_is_stalled(make_service: MakeService, sqlite_url: str) -> None:
    service = make_service(sqlite_url, stalled_seconds=1)
    job = work(service, service.add_job(Deed(step=2, do="hang")))
    assert (job.state, job.attempt, job.lost_workers) == (JobState.SUCCEEDED, 2, 1)
    assert service.events(job.id, "requeued")[0].data["loss"] == "stalled"


def test_lines_that_are_no_events_change_nothing(service: Service) -> None:
    assert work(service, service.add_job(Deed(step=2, do="babble"))).state is JobState.SUCCEEDED


def test_a_process_that_is_faster_than_its_worker_may_have_removed_a_checkpoint(service: Service) -> None:
    job = service.add_job(Deed(step=2, do="outrun the worker"), checkpoint_every=3)
    assert work(service, job).state is JobState.SUCCEEDED
    assert len(service.events(job.id, "checkpoint")) == 1


@pytest.mark.parametrize("deed", ["none", "hang"])
def test_a_cancelled_job_stops_within_five_seconds(
    make_service: MakeService, database_url: str, deed: str
) -> None:
    service = make_service(database_url, cancel_grace_seconds=2.5)
    job = service.add_job(Deed(step=3, do=deed), steps=10000, seconds_per_step=0.05)
    with working(service):
        service.wait_for_event(job.id, "metric", count=2)
        process = stand_in_at_work()
        asked = time.monotonic()
        with service.database.transaction() as connection:
            assert lifecycle.cancel(connection, job.id).state is JobState.CANCELLING
        service.wait_for_state(job.id, [JobState.CANCELLED])
        assert time.monotonic() - asked < 5
        assert not process.is_running()
    assert scratch_is_clean(service)
    with service.database.transaction() as connection:
        assert lifecycle.retry(connection, job.id).state is JobState.QUEUED


def test_a_job_cancelled_before_a_worker_comes_never_starts(service: Service) -> None:
    job = service.add_job()
    with service.database.transaction() as connection:
        assert lifecycle.cancel(connection, job.id).state is JobState.CANCELLED
    assert work(service, job).attempt == 0


def test_what_a_process_has_started_ends_with_it(service: Service) -> None:
    job = work(service, service.add_job(Deed(step=2, do="spawn")))
    pid = int(service.log(job.id).split("offspring ")[1].split()[0])
    wait_until(lambda: not alive(pid), 5)


def test_a_drained_worker_gives_its_job_back_with_a_checkpoint(service: Service) -> None:
    job = service.add_job(steps=10000, seconds_per_step=0.02)
    with working(service) as worker:
        service.wait_for_event(job.id, "metric", count=2)
        worker.drain.set()
        service.wait_for_state(job.id, [JobState.QUEUED])
    assert service.job(job.id).lost_workers == 0
    with service.database.reading() as connection:
        assert len(checkpoints.newest_first(connection, job.id)) == 1


def test_a_drained_worker_does_not_wait_for_ever(make_service: MakeService, sqlite_url: str) -> None:
    service = make_service(sqlite_url, drain_grace_seconds=0.5)
    job = service.add_job(Deed(step=3, do="hang"))
    with working(service) as worker:
        service.wait_for_event(job.id, "metric", count=2)
        worker.drain.set()
        assert service.wait_for_state(job.id, [JobState.QUEUED], seconds=5).lost_workers == 0


def test_an_attempt_that_was_replaced_stops_and_leaves_nothing(service: Service) -> None:
    job = service.add_job(steps=10000, seconds_per_step=0.02)
    with working(service):
        service.wait_for_event(job.id, "metric", count=2)
        process = stand_in_at_work()
        with service.database.transaction() as connection:
            lifecycle.lose(connection, job.id, 1, Loss.WORKER_LOST, "silence")
            lifecycle.cancel(connection, job.id)
        wait_until(lambda: not process.is_running() and scratch_is_clean(service), 5)
    assert service.job(job.id).state is JobState.CANCELLED


def test_a_job_cancelled_while_it_is_published_leaves_no_files(service: Service) -> None:
    job = service.add_job()
    with service.database.transaction() as connection:
        claimed = lifecycle.claim(connection, "cpu", "worker", 60)
        assert claimed is not None
        lifecycle.cancel(connection, job.id)
    before = {path.name for path in service.storage.path("models").iterdir()}
    with worker_for(service) as worker:
        worker.run(claimed)
    assert service.job(job.id).state is JobState.CANCELLED
    assert {path.name for path in service.storage.path("models").iterdir()} == before
    assert not service.storage.path(f"jobs/{job.id}/artifacts/1").exists()


def test_a_missing_input_is_said_to_be_missing(service: Service) -> None:
    created = service.add_job()
    service.storage.delete(f"datasets/{DATASET_ID}")
    job = work(service, created)
    assert job.state is JobState.FAILED
    assert job.reason is not None
    assert job.reason["code"] == "input_missing"
    assert DATASET_ID in job.reason["message"]


def test_a_worker_survives_its_own_errors(service: Service) -> None:
    spoilt, sound = service.add_job(Deed(step=2, do="spoil the result", attempts=[1, 2, 3])), None
    with worker_for(service) as worker:
        worker.work()
        sound = service.add_job()
        worker.work()
    failed = service.job(spoilt.id)
    assert failed.state is JobState.FAILED
    assert failed.reason is not None
    assert failed.reason["code"] == "worker_lost_repeatedly"
    assert service.job(sound.id).state is JobState.SUCCEEDED


def test_the_log_can_be_read_while_the_job_runs(service: Service) -> None:
    job = service.add_job(steps=10000, seconds_per_step=0.02)
    with working(service):
        service.wait_for_event(job.id, "metric")
        assert "from step 0" in service.log(job.id)


def test_the_process_gets_no_credentials(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANKWRIGHT_DATABASE", "postgresql://user:secret@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    job = work(service, service.add_job(Deed(step=1, do="show environment")))
    line = next(line for line in service.log(job.id).splitlines() if line.startswith("{"))
    environment = json.loads(line)
    assert "secret" not in line
    assert set(environment) <= {
        "PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM",
        "OMP_NUM_THREADS", "PYTHONPATH", "PYTHONSAFEPATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
    }  # fmt: skip
    assert environment["OMP_NUM_THREADS"] == "1"
    assert Path(environment["HOME"]).is_relative_to(service.settings.data / "scratch")


def test_a_database_that_drops_its_connections_costs_nothing(
    make_service: MakeService, postgres_url: str
) -> None:
    service = make_service(postgres_url, lease_seconds=20)
    job = service.add_job(steps=100, seconds_per_step=0.02, checkpoint_every=10)
    with working(service), psycopg.connect(postgres_url, autocommit=True) as server:
        service.wait_for_event(job.id, "claimed")
        for _ in range(3):
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(0.7)
        service.database.close()  # its connections are gone as well
        service.wait_for_state(job.id, [JobState.SUCCEEDED])
    assert service.job(job.id).attempt == 1
    with service.database.reading() as connection:
        assert len(metrics.series(connection, job.id)["loss"]) == 100
