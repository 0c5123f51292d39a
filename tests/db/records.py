"""Rows that tests start from."""

from sqlalchemy import Connection

from core.settings import Queue
from db import lifecycle
from db.engine import Database
from db.models import Job
from db.repositories import datasets, models
from db.repositories.artifacts import NewArtifact
from db.repositories.datasets import NewDataset
from db.repositories.models import NewModel

MODEL_ID, DATASET_ID = "mdl_1", "ds_1"


def add_inputs(database: Database) -> None:
    """A model and a dataset, of which only the rows exist."""
    with database.transaction() as connection:
        models.add(connection, new_model(MODEL_ID))
        datasets.add(connection, NewDataset(DATASET_ID, "reviews", "0" * 64, 10, {}))


def new_model(id: str) -> NewModel:
    return NewModel(id, "bert", "0" * 64, 10, [{"name": "config.json", "size": 10, "sha256": "0" * 64}], {})


def new_job(connection: Connection, *, queue: Queue = "cpu", auto_start: bool = True) -> Job:
    return lifecycle.create_job(
        connection,
        name="half depth",
        model_id=MODEL_ID,
        dataset_id=DATASET_ID,
        plan={"seed": 42},
        queue=queue,
        auto_start=auto_start,
    )


def succeed(connection: Connection, job: Job) -> Job:
    artifact = NewArtifact("report.json", 2, "0" * 64, "application/json", f"jobs/{job.id}/report.json")
    return lifecycle.succeed(
        connection,
        job.id,
        job.attempt,
        verdict="met",
        result={"metric": "accuracy", "before": 0.9, "after": 0.88, "retention": 0.98},
        model=new_model(f"mdl_of_{job.id}"),
        artifacts=[artifact],
    )
