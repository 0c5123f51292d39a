from pathlib import Path

import pytest

from compression.spec import RunSpec
from core.digests import describe_file
from db import lifecycle, reporting
from db.models import Job
from db.repositories import checkpoints
from db.repositories.checkpoints import NewCheckpoint
from tests.worker.service import Service
from worker.prepare import prepare


@pytest.fixture
def job(service: Service) -> Job:
    service.add_job()
    with service.database.transaction() as connection:
        job = lifecycle.claim(connection, "cpu", "worker", 60)
    assert job is not None
    return job


def prepared(service: Service, job: Job, folder: Path) -> RunSpec:
    folder.mkdir()
    with service.database.reading() as connection:
        saved = checkpoints.newest_first(connection, job.id)
    path = prepare(service.storage, service.settings, job, saved, folder)
    return RunSpec.model_validate_json(path.read_bytes())


def store_checkpoint(service: Service, job: Job, name: str, folder: Path) -> Path:
    key = f"jobs/{job.id}/checkpoints/1-{name}.safetensors"
    source = folder / name
    source.write_text(name)
    service.storage.put(key, source)
    source.unlink()
    file = describe_file(service.storage.path(key))
    with service.database.transaction() as connection:
        new = NewCheckpoint(name, key, file["size"], file["sha256"])
        reporting.report_checkpoint(connection, job.id, 1, new)
    return service.storage.path(key)


def test_the_spec_names_files_that_are_there(service: Service, job: Job, tmp_path: Path) -> None:
    spec = prepared(service, job, tmp_path / "attempt")
    assert (spec.model / "config.json").is_file()
    assert (spec.dataset / "train.parquet").is_file()
    assert spec.plan.model_dump(mode="json") == job.plan
    assert (spec.runtime.device, spec.runtime.attempt, spec.runtime.resume_from) == ("cpu", 1, None)


def test_the_newest_checkpoint_that_is_sound_is_gone_on_from(
    service: Service, job: Job, tmp_path: Path
) -> None:
    older, newer = (store_checkpoint(service, job, name, tmp_path) for name in ("9", "10"))
    assert prepared(service, job, tmp_path / "first").runtime.resume_from == newer
    newer.write_text("damaged")
    assert prepared(service, job, tmp_path / "second").runtime.resume_from == older
    older.unlink()
    assert prepared(service, job, tmp_path / "third").runtime.resume_from is None
