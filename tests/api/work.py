"""What a worker does to a job, without a worker."""

import hashlib
from pathlib import Path
from typing import Any

from httpx2 import Client

from core.storage import Storage
from db import lifecycle, reporting
from db.engine import Database
from db.models import Job
from db.repositories import models
from db.repositories.artifacts import NewArtifact
from db.repositories.models import NewModel
from tests.api.requests import job_request


def queue_job(client: Client, folder: Path, **fields: Any) -> str:
    """Id of a new job."""
    answer = client.post("/v1/jobs", json=job_request(client, folder, **fields))
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def claim(database: Database) -> Job:
    with database.transaction() as connection:
        job = lifecycle.claim(connection, "cpu", "worker", 60)
    assert job is not None
    return job


def fail(database: Database, job: Job) -> lifecycle.Reason:
    reason: lifecycle.Reason = {"code": "diverged", "class": "user", "message": "the loss is not finite"}
    with database.transaction() as connection:
        lifecycle.fail(connection, job.id, job.attempt, reason)
    return reason


def report_metrics(database: Database, job: Job, step: int, **values: float) -> None:
    with database.transaction() as connection:
        reporting.report_metrics(connection, job.id, job.attempt, step, values)


def succeed(database: Database, storage: Storage, job: Job, files: dict[str, bytes], tmp_path: Path) -> None:
    """End a job with these artifacts."""
    artifacts = []
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        key = f"jobs/{job.id}/artifacts/{job.attempt}/{name}"
        storage.put(key, path)
        digest = hashlib.sha256(content).hexdigest()
        media_type = "application/json" if name.endswith(".json") else "application/octet-stream"
        artifacts.append(NewArtifact(name, len(content), digest, media_type, key))
    with database.transaction() as connection:
        original = models.find(connection, job.model_id)
        assert original is not None
        lifecycle.succeed(
            connection,
            job.id,
            job.attempt,
            verdict="met",
            result={"metric": "accuracy", "before": 0.9, "after": 0.88, "retention": 0.98},
            model=NewModel(f"mdl_{'a' * 32}", "result", "0" * 64, 1, [], original.facts, job.id),
            artifacts=artifacts,
        )
