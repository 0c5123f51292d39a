"""Stores what a job has made, so that one transaction can show it all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from compression.checkpoints.inspection import checkpoint_files, inspect_checkpoint
from core.digests import describe_file, digest_of
from core.ids import new_id
from core.storage import Storage, log_key
from db.models import Job
from db.repositories.artifacts import NewArtifact
from db.repositories.models import NewModel

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown; charset=utf-8",
    ".tar": "application/x-tar",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Published:
    """Files in the storage that no row names yet."""

    model: NewModel
    artifacts: list[NewArtifact]


def publish(storage: Storage, job: Job, out: Path) -> Published:
    """Store `out/artifacts` with the log, and `out/model` as a model of its own; all of it or nothing."""
    model_id = new_id("mdl")
    shutil.copyfile(storage.path(log_key(job.id)), out / "artifacts" / "logs.txt")
    try:
        artifacts = [
            _store_artifact(storage, path, f"jobs/{job.id}/artifacts/{job.attempt}/{path.name}")
            for path in sorted((out / "artifacts").iterdir())
            if path.is_file() and not path.is_symlink()
        ]
        return Published(_store_model(storage, job, out / "model", model_id), artifacts)
    except BaseException:
        withdraw(storage, job, model_id)
        raise


def withdraw(storage: Storage, job: Job, model_id: str) -> None:
    """Remove what was stored for nothing: the job was cancelled, or is another attempt's."""
    storage.delete(f"jobs/{job.id}/artifacts/{job.attempt}")
    storage.delete(f"models/{model_id}")


def remove_leftovers(storage: Storage, job: Job) -> None:
    """Remove what a job that succeeded needs no more: checkpoints, and files of attempts that died publishing."""
    storage.delete(f"jobs/{job.id}/checkpoints")
    for attempt in range(1, job.attempt):
        storage.delete(f"jobs/{job.id}/artifacts/{attempt}")


def _store_artifact(storage: Storage, path: Path, key: str) -> NewArtifact:
    file = describe_file(path)
    storage.put(key, path)
    media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    return NewArtifact(path.name, file["size"], file["sha256"], media_type, key)


def _store_model(storage: Storage, job: Job, folder: Path, model_id: str) -> NewModel:
    facts = inspect_checkpoint(folder)
    files = [describe_file(folder / name, name) for name in checkpoint_files(folder)]
    for file in files:
        storage.put(f"models/{model_id}/{file['name']}", folder / file["name"])
    return NewModel(
        id=model_id,
        name=job.name,
        sha256=digest_of(files),
        bytes=sum(file["size"] for file in files),
        files=[dict(file) for file in files],
        facts=facts.model_dump(mode="json"),
        source_job_id=job.id,
    )
