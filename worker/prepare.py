"""Lays out what the compression process needs: files only."""

from collections.abc import Sequence
from pathlib import Path

import structlog

from compression.spec import Plan, RunSpec, Runtime
from core.digests import describe_file
from core.settings import Settings
from core.storage import Storage
from db.models import Checkpoint, Job

log = structlog.get_logger(__name__)


def prepare(
    storage: Storage, settings: Settings, job: Job, checkpoints: Sequence[Checkpoint], folder: Path
) -> Path:
    """Bring models and datasets into the folder and write the spec. Returns its path.

    Of `checkpoints`, newest first, the first that is sound is gone on from.

    Raises:
        FileNotFoundError: a model or a dataset is not in the storage.
    """
    storage.fetch(f"models/{job.model_id}", folder / "model")
    storage.fetch(f"datasets/{job.dataset_id}", folder / "dataset")
    plan = Plan.model_validate(job.plan)
    models, datasets = (
        {id: folder / id for id in named.values()} for named in (plan.other_models, plan.other_datasets)
    )
    for kind, places in (("models", models), ("datasets", datasets)):
        for id, place in places.items():
            storage.fetch(f"{kind}/{id}", place)
    cache = settings.data.absolute() / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    sound = (storage.path(row.key) for row in checkpoints if _is_sound(storage, row))
    runtime = Runtime(
        threads=settings.threads,
        device="cpu" if settings.queue == "cpu" else "cuda",
        cache=cache,
        resume_from=next(sound, None),
        checkpoint_seconds=settings.checkpoint_seconds,
        job_id=job.id,
        job_name=job.name,
        attempt=job.attempt,
    )
    spec = RunSpec(
        model=folder / "model",
        dataset=folder / "dataset",
        plan=plan,
        models=models,
        datasets=datasets,
        runtime=runtime,
    )
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json(), "utf-8")
    return path


def _is_sound(storage: Storage, checkpoint: Checkpoint) -> bool:
    path = storage.path(checkpoint.key)
    sound = path.is_file() and describe_file(path)["sha256"] == checkpoint.sha256
    if not sound:
        log.warning("checkpoint_damaged", job_id=checkpoint.job_id, key=checkpoint.key)
    return sound
